//! What errors of other crates mean. By their types, so nothing here changes what they say.
//!
//! Only the error of the call itself is looked at, never one somewhere in its sources: a connection
//! that was refused to a client behind the service that was called is no unsent call.

use std::{any::Any, error::Error as StdError};

use super::{BoxError, Error, Kind};

/// Takes over an error that is not ours.
pub(super) fn adopt(error: BoxError) -> Error {
    match recognise(&*error) {
        Some(known) => {
            let text = format!("{}: {}", known.kind().text(), root(&*error));
            known.message(text).caused_by(error)
        }
        None => Error::failed(Kind::Service).caused_by(error),
    }
}

/// What an error is, if its type is known.
pub(super) fn recognise(error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut known = None;
    #[cfg(feature = "tower")]
    {
        known = known.or_else(|| error.downcast_ref().map(tower::overloaded));
        known = known.or_else(|| error.downcast_ref().map(tower::elapsed));
    }
    #[cfg(feature = "http")]
    {
        known = known.or_else(|| http::of_client(error.downcast_ref()?));
        known = known.or_else(|| http::of_connection(error.downcast_ref()?));
    }
    #[cfg(feature = "grpc")]
    {
        known = known.or_else(|| grpc::of_channel(error.downcast_ref()?));
        known = known.or_else(|| grpc::of_status(error.downcast_ref()?));
    }
    let _ = &mut known;
    known
}

/// The same for one that is not boxed yet.
pub(super) fn recognise_any(error: &dyn Any) -> Option<Error> {
    let mut known: Option<&(dyn StdError + 'static)> = None;
    macro_rules! any_of {
        ($($type:ty),*) => {
            $(known = known.or_else(|| error.downcast_ref::<$type>().map(|error| error as _));)*
        };
    }
    #[cfg(feature = "tower")]
    any_of!(::tower::load_shed::error::Overloaded, ::tower::timeout::error::Elapsed);
    #[cfg(feature = "http")]
    any_of!(hyper_util::client::legacy::Error, hyper::Error);
    #[cfg(feature = "grpc")]
    any_of!(tonic::transport::Error, tonic::Status);
    recognise(known.take()?)
}

/// An error and what caused it, down to the first cause.
pub(crate) fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The first cause of an error.
pub(crate) fn root<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    causes(error).last().unwrap_or(error)
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

#[cfg(feature = "http")]
mod http {
    use hyper_util::client::legacy;

    use super::{Error, Kind, causes};

    /// Of hyper-util's client, which has no predicate for most of its kinds.
    pub(super) fn of_client(error: &legacy::Error) -> Option<Error> {
        if error.is_connect() {
            return Some(Error::not_sent(Kind::Connection));
        }
        match error.to_string().as_str() {
            "client error (UserUnsupportedRequestMethod)"
            | "client error (UserUnsupportedVersion)"
            | "client error (UserAbsoluteUriRequired)" => {
                Some(Error::blameless(Kind::InvalidConfig))
            }
            // The connection gave the request back before it wrote any of it.
            "client error (Canceled)" => Some(Error::not_sent(Kind::Connection)),
            _ => causes(error).find_map(|error| of_connection(error.downcast_ref()?)),
        }
    }

    /// Of a connection of hyper: what its user did, such as a body that fails.
    pub(super) fn of_connection(error: &hyper::Error) -> Option<Error> {
        error.is_user().then(|| Error::failed(Kind::InvalidRequest).without_blame())
    }
}

#[cfg(feature = "grpc")]
mod grpc {
    use std::error::Error as _;

    use super::{Error, Kind, causes};

    pub(super) fn of_channel(error: &tonic::transport::Error) -> Option<Error> {
        let unconnected = causes(error).any(|error| error.is::<tonic::ConnectError>());
        unconnected.then(|| Error::not_sent(Kind::Connection))
    }

    /// Of a generated client, over a channel.
    pub(super) fn of_status(status: &tonic::Status) -> Option<Error> {
        of_channel(status.source()?.downcast_ref()?)
    }
}
