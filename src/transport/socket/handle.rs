use std::{fmt, sync::Arc};

use super::{config::SocketConfig, pool::Pool};
use crate::{error::Error, guard::Family, telemetry::Stats, transport::counts::Counts};

/// Handle to the settings and counts of a [`SocketTransport`](super::SocketTransport) and its clones.
///
/// # Example
/// ```
/// use tower_upstream::transport::{SocketConfig, SocketTransport, SocketTransportHandle};
///
/// /// What a program keeps, to change it later.
/// struct Upstream {
///     transport: SocketTransportHandle,
/// }
/// let upstream = Upstream { transport: SocketTransport::<u64, u64>::new().handle() };
/// assert_eq!(upstream.transport.config(), SocketConfig::default());
/// ```
#[derive(Clone)]
pub struct SocketTransportHandle {
    family: Arc<Family<Pool, SocketConfig>>,
    counts: Arc<Counts>,
}

impl SocketTransportHandle {
    pub(super) fn new(family: Arc<Family<Pool, SocketConfig>>, counts: Arc<Counts>) -> Self {
        Self { family, counts }
    }

    /// Returns the settings in use.
    pub fn config(&self) -> SocketConfig {
        SocketConfig::clone(&self.family.settings())
    }

    /// Replaces the settings of the transport, for all its members and those to come.
    ///
    /// Calls that have begun keep the settings that they began with. Idle connections are kept, unless
    /// the settings of connections change (`connect_timeout`, `idle_timeout`, `keep_alive`,
    /// `max_connections`, `max_connection_age`, `max_idle_connections`, `allowed_uids`,
    /// `allow_any_user`, `allow_remote`, `token`): then they close, and the next calls make new ones.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), which names all mistakes at once. The
    /// settings then stay as they are.
    pub fn update(&self, config: &SocketConfig) -> Result<(), Error> {
        config.validate()?;
        self.family.update(config.clone().clamped());
        Ok(())
    }

    /// Returns how many connections are open, or being made, to all members together.
    ///
    /// ```
    /// use tower_upstream::transport::SocketTransport;
    ///
    /// assert_eq!(SocketTransport::<u64, u64>::new().handle().connections(), 0);
    /// ```
    pub fn connections(&self) -> usize {
        let pools = self.family.of_members();
        pools.iter().map(|pool| pool.connections().live()).sum()
    }

    /// Returns what happened to calls so far.
    ///
    /// `failed` are the errors that count against their endpoint, and `ignored` the other ones, such as a
    /// deadline that passed. What a plugin answers is no failure. Calls that go well, health checks and
    /// descriptions are not counted.
    pub fn stats(&self) -> Stats {
        self.counts.stats()
    }
}

impl fmt::Debug for SocketTransportHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketTransportHandle").field("config", &self.family.settings()).finish()
    }
}
