use std::{fmt, sync::Arc};

use super::{config::HttpConfig, pool::Pool};
use crate::{error::Error, guard::Family, telemetry::Stats, transport::counts::Counts};

/// Handle to the settings and counts of an [`HttpTransport`](super::HttpTransport) and its clones.
///
/// # Example
/// ```
/// use tower_upstream::transport::{HttpConfig, HttpTransport, HttpTransportHandle};
///
/// /// What a program keeps, to change it later.
/// struct Upstream {
///     transport: HttpTransportHandle,
/// }
/// let upstream = Upstream { transport: HttpTransport::<u64, u64>::new().handle() };
/// assert_eq!(upstream.transport.config(), HttpConfig::default());
/// ```
#[derive(Clone)]
pub struct HttpTransportHandle {
    family: Arc<Family<Pool, HttpConfig>>,
    counts: Arc<Counts>,
}

impl HttpTransportHandle {
    pub(super) fn new(family: Arc<Family<Pool, HttpConfig>>, counts: Arc<Counts>) -> Self {
        Self { family, counts }
    }

    /// Returns the settings in use.
    pub fn config(&self) -> HttpConfig {
        HttpConfig::clone(&self.family.settings())
    }

    /// Replaces the settings of the transport, for all its members and those to come.
    ///
    /// Calls that have begun keep the settings that they began with. Idle connections are kept, unless
    /// the settings of connections change (`connect_timeout`, `idle_timeout`, `keep_alive`,
    /// `max_connections`, `max_connection_age`, `max_idle_connections`, `max_header_bytes`, `allowed_uids`,
    /// `allow_any_user`): then they close, and the next calls make new ones.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), which names all mistakes at once. The
    /// settings then stay as they are.
    pub fn update(&self, config: &HttpConfig) -> Result<(), Error> {
        config.validate()?;
        self.family.update(config.clone().clamped());
        Ok(())
    }

    /// Returns how many connections are open, or being made, to all members together.
    ///
    /// ```
    /// use tower_upstream::transport::HttpTransport;
    ///
    /// assert_eq!(HttpTransport::<u64, u64>::new().handle().connections(), 0);
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

impl fmt::Debug for HttpTransportHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransportHandle").field("config", &self.family.settings()).finish()
    }
}
