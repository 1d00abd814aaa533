use std::{fmt, sync::Arc};

use super::{config::ProcessConfig, plugin::Plugin};
use crate::{error::Error, guard::Family, telemetry::Stats, transport::counts::Counts};

/// Handle to the settings and counts of a [`ProcessTransport`](super::ProcessTransport) and its clones.
///
/// # Example
/// ```
/// use tower_upstream::transport::{ProcessConfig, ProcessTransport, ProcessTransportHandle};
///
/// /// What a program keeps, to change it later.
/// struct Upstream {
///     transport: ProcessTransportHandle,
/// }
/// let upstream = Upstream { transport: ProcessTransport::<u64, u64>::new().handle() };
/// assert_eq!(upstream.transport.config(), ProcessConfig::default());
/// ```
#[derive(Clone)]
pub struct ProcessTransportHandle {
    family: Arc<Family<Plugin, ProcessConfig>>,
    counts: Arc<Counts>,
}

impl ProcessTransportHandle {
    pub(super) fn new(family: Arc<Family<Plugin, ProcessConfig>>, counts: Arc<Counts>) -> Self {
        Self { family, counts }
    }

    /// Returns the settings in use.
    pub fn config(&self) -> ProcessConfig {
        ProcessConfig::clone(&self.family.settings())
    }

    /// Replaces the settings of the transport, for all its members and those to come.
    ///
    /// Calls that have begun keep the settings that they began with. What concerns a process itself, such as
    /// its arguments, takes effect when it is started next.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), which names all mistakes at once. The
    /// settings then stay as they are.
    pub fn update(&self, config: &ProcessConfig) -> Result<(), Error> {
        config.validate()?;
        self.family.update(config.clone().clamped());
        Ok(())
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

impl fmt::Debug for ProcessTransportHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessTransportHandle").field("config", &self.family.settings()).finish()
    }
}
