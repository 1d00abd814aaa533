use std::{error::Error as StdError, fmt, io, time::Duration};

use crate::error::{BoxError, root};

/// Error of a [`TcpConnector`](super::TcpConnector): why a connection could not be made.
///
/// # Example
/// ```
/// use std::{error::Error, iter};
/// use tower_upstream::dial::ConnectError;
///
/// /// Whether a client failed because a connection was not made in time.
/// fn is_connect_timeout(error: &(dyn Error + 'static)) -> bool {
///     iter::successors(Some(error), |&error| error.source())
///         .find_map(|error| error.downcast_ref::<ConnectError>())
///         .is_some_and(ConnectError::is_timeout)
/// }
/// # assert!(!is_connect_timeout(&std::io::Error::other("reset")));
/// ```
#[derive(Debug)]
pub struct ConnectError {
    is_timeout: bool,
    /// Whether the settings of this side are at fault.
    is_of_config: bool,
    /// The time limit, if that is what ended it.
    limit: Option<Duration>,
    source: Option<BoxError>,
}

impl ConnectError {
    /// The whole time was over.
    pub(crate) fn too_late(limit: Duration) -> Self {
        Self { is_timeout: true, is_of_config: false, limit: Some(limit), source: None }
    }

    /// The time of each address was over, or it failed otherwise.
    pub(crate) fn failed(source: impl Into<BoxError>) -> Self {
        let source = source.into();
        let first = root(&*source).downcast_ref::<io::Error>();
        let is_timeout = first.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
        Self { is_timeout, is_of_config: false, limit: None, source: Some(source) }
    }

    /// Nothing was tried, since the settings of this side are of no use.
    #[cfg(feature = "tls")]
    pub(super) fn of_config(source: BoxError) -> Self {
        Self { is_timeout: false, is_of_config: true, limit: None, source: Some(source) }
    }

    #[cfg(feature = "http")]
    pub(crate) fn is_of_config(&self) -> bool {
        self.is_of_config
    }

    /// Returns whether the time was over.
    ///
    /// ```
    /// # use tower_upstream::dial::ConnectError;
    /// fn what_to_change(error: &ConnectError) -> &'static str {
    ///     if error.is_timeout() { "connect_timeout" } else { "the address" }
    /// }
    /// # let _ = what_to_change;
    /// ```
    pub fn is_timeout(&self) -> bool {
        self.is_timeout
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) => write!(f, "cannot connect within {limit:?}"),
            None if self.is_timeout => f.write_str("cannot connect in time"),
            None => f.write_str("cannot connect"),
        }
    }
}

impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
