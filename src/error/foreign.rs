//! What errors of other crates mean. By their types, so nothing here changes what they say.
//!
//! Only the error of the call itself is looked at, never one somewhere in its sources: a connection
//! that was refused to a client behind the service that was called is no unsent call. And since a
//! service that makes several requests for one call may answer with the error of any of them, a
//! connection that could not be made is unsent only if the service is the client itself, which is for
//! the balancer to confirm.

use std::{any::Any, error::Error as StdError};

#[cfg(feature = "grpc")]
use super::grpc;
#[cfg(feature = "http")]
use super::http;
use super::{
    error::{BoxError, Error},
    kind::Kind,
};

/// Takes over an error that is not ours.
pub(super) fn adopt(error: BoxError) -> Error {
    match recognise(&*error) {
        Some(known) => known.caused_by(error),
        None => Error::failed(Kind::Service).caused_by(error),
    }
}

type DynError = dyn StdError + 'static;

/// The types that are known, each with what it means.
const KNOWN: &[fn(&DynError) -> Option<Error>] = &[
    #[cfg(feature = "tower")]
    |error| error.downcast_ref().map(tower::overloaded),
    #[cfg(feature = "tower")]
    |error| error.downcast_ref().map(tower::elapsed),
    #[cfg(feature = "http")]
    |error| http::of_client(error.downcast_ref()?),
    #[cfg(feature = "http")]
    |error| http::of_connection(error.downcast_ref()?),
    #[cfg(feature = "grpc")]
    |error| grpc::of_channel(error.downcast_ref()?),
    #[cfg(feature = "grpc")]
    |error| grpc::of_status(error.downcast_ref()?),
];

/// The errors that clients answer with before they are boxed.
const UNBOXED: &[fn(&dyn Any) -> Option<&DynError>] = &[
    #[cfg(feature = "http")]
    |error| Some(error.downcast_ref::<hyper_util::client::legacy::Error>()?),
    #[cfg(feature = "http")]
    |error| Some(error.downcast_ref::<hyper::Error>()?),
    #[cfg(feature = "grpc")]
    |error| Some(error.downcast_ref::<tonic::transport::Error>()?),
    #[cfg(feature = "grpc")]
    |error| Some(error.downcast_ref::<tonic::Status>()?),
];

/// What an error is, if its type is known.
pub(super) fn recognise(error: &DynError) -> Option<Error> {
    KNOWN.iter().find_map(|known| known(error))
}

/// The same for one that is not boxed yet.
pub(super) fn recognise_any(error: &dyn Any) -> Option<Error> {
    recognise(UNBOXED.iter().find_map(|unboxed| unboxed(error))?)
}

#[cfg(feature = "tower")]
mod tower {
    use tower::{load_shed::error::Overloaded, timeout::error::Elapsed};

    use super::{Error, Kind};

    /// A service that is not ready was not called.
    pub(super) fn overloaded(_: &Overloaded) -> Error {
        Error::refused(Kind::Overloaded)
    }

    pub(super) fn elapsed(_: &Elapsed) -> Error {
        Error::failed(Kind::Timeout)
    }
}
