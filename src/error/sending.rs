//! What a socket says that broke in the middle of a request.

use std::{error::Error as StdError, fmt, io};

/// The other end stopped reading before all was written, and no answer came.
///
/// As one that refuses an upload does, if its answer is lost with the connection. So it says nothing of the
/// endpoint: one that is down does not take the next connection.
#[derive(Debug)]
pub(crate) struct BrokeWhileSending(io::ErrorKind);

impl BrokeWhileSending {
    pub(crate) fn error(of: io::ErrorKind) -> io::Error {
        io::Error::new(of, Self(of))
    }

    /// Whether that is what `error` of a connection is about.
    pub(crate) fn is_cause_of(error: &hyper::Error) -> bool {
        let by = error.source().and_then(|error| error.downcast_ref::<io::Error>());
        by.and_then(io::Error::get_ref).is_some_and(|error| error.is::<Self>())
    }
}

impl fmt::Display for BrokeWhileSending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} before all of the request was sent", self.0)
    }
}

impl StdError for BrokeWhileSending {}
