use std::{fmt, sync::Arc};

use super::{config::HttpConfig, pool::Pool};
use crate::{error::Error, guard::Family};

/// Handle of an [`HttpTransport`](super::HttpTransport) and its clones, for changing its settings.
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
pub struct HttpTransportHandle(Arc<Family<Pool, HttpConfig>>);

impl HttpTransportHandle {
    pub(super) fn new(family: Arc<Family<Pool, HttpConfig>>) -> Self {
        Self(family)
    }

    /// Returns the settings in use.
    pub fn config(&self) -> HttpConfig {
        HttpConfig::clone(&self.0.settings())
    }

    /// Replaces the settings of the transport, for all its members and those to come.
    ///
    /// Calls that have begun keep the settings that they began with. Idle connections are kept, unless
    /// the settings of connections change (`connect_timeout`, `idle_timeout`, `max_idle_connections`,
    /// `max_header_bytes`): then they close, and the next calls make new ones.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), which names all mistakes at once. The
    /// settings then stay as they are.
    pub fn update(&self, config: HttpConfig) -> Result<(), Error> {
        config.validate()?;
        self.0.update(config.clamped());
        Ok(())
    }
}

impl fmt::Debug for HttpTransportHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransportHandle").field("config", &self.0.settings()).finish()
    }
}
