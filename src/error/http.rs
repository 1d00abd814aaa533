//! What errors of hyper and of hyper-util's client mean.

use std::error::Error as _;

use hyper_util::client::legacy;

use super::{causes::causes, error::Error, kind::Kind, sending::BrokeWhileSending};

/// Of hyper-util's client, which has no predicate for most of its kinds.
pub(super) fn of_client(error: &legacy::Error) -> Option<Error> {
    if error.is_connect() {
        return Some(Error::not_sent_by_type(Kind::Connection));
    }
    match error.to_string().as_str() {
        "client error (UserUnsupportedRequestMethod)"
        | "client error (UserUnsupportedVersion)"
        | "client error (UserAbsoluteUriRequired)" => Some(Error::blameless(Kind::InvalidConfig)),
        // The connection gave the request back before it wrote any of it.
        "client error (Canceled)" => Some(Error::not_sent_by_type(Kind::Connection)),
        _ => causes(error).find_map(|error| of_connection(error.downcast_ref()?)),
    }
}

/// Of a connection of hyper: what its user did, such as a body that fails. Over HTTP/2 that resets
/// the stream from this side, and the reset is all that is told. And what is of the connection alone.
pub(super) fn of_connection(error: &hyper::Error) -> Option<Error> {
    let of_http2 = error.source().and_then(|error| error.downcast_ref::<h2::Error>());
    let by_user = |of: &h2::Error| of.is_reset() && !of.is_remote() && !of.is_library();
    // The endpoint is well, and complains of what this side sends, such as a head that is too large.
    // That may be another call on the same connection.
    let calms =
        |of: &h2::Error| of.is_remote() && of.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
    // The runtime of the connection has ended, or its task has panicked.
    let was_lost = error.is_user() && error.to_string() == "dispatch task is gone";
    if was_lost || of_http2.is_some_and(calms) || BrokeWhileSending::is_cause_of(error) {
        return Some(Error::failed(Kind::Connection).without_blame());
    }
    let is_callers = error.is_user() || of_http2.is_some_and(by_user);
    is_callers.then(|| Error::failed(Kind::InvalidRequest).without_blame())
}
