use std::{fmt, sync::Arc};

use super::{config::GrpcConfig, peer::Peer};
use crate::{error::Error, guard::Family, telemetry::Stats, transport::counts::Counts};

/// Handle to the settings and counts of a [`GrpcTransport`](super::GrpcTransport) and its clones.
///
/// # Example
/// ```
/// use tower_upstream::transport::{GrpcConfig, GrpcTransport, GrpcTransportHandle};
///
/// /// What a program keeps, to change it later.
/// struct Upstream {
///     transport: GrpcTransportHandle,
/// }
/// let upstream = Upstream { transport: GrpcTransport::<u64, u64>::new().handle() };
/// assert_eq!(upstream.transport.config(), GrpcConfig::default());
/// ```
#[derive(Clone)]
pub struct GrpcTransportHandle {
    family: Arc<Family<Peer, GrpcConfig>>,
    counts: Arc<Counts>,
}

impl GrpcTransportHandle {
    pub(super) fn new(family: Arc<Family<Peer, GrpcConfig>>, counts: Arc<Counts>) -> Self {
        Self { family, counts }
    }

    /// Returns the settings in use.
    pub fn config(&self) -> GrpcConfig {
        GrpcConfig::clone(&self.family.settings())
    }

    /// Replaces the settings of the transport, for all its members and those to come.
    ///
    /// Calls that have begun keep the settings that they began with. Connections are made anew only if the
    /// new settings are about them.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), which names all mistakes at once. The
    /// settings then stay as they are.
    pub fn update(&self, config: &GrpcConfig) -> Result<(), Error> {
        config.validate()?;
        self.family.update(config.clone().clamped());
        Ok(())
    }

    /// Returns how many connections are open or being made, to all members: one for each that is in use.
    pub fn connections(&self) -> usize {
        self.family.of_members().iter().map(|peer| peer.pool.live()).sum()
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

impl fmt::Debug for GrpcTransportHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcTransportHandle").field("config", &self.family.settings()).finish()
    }
}
