//! What a status of etcd means.

use std::{error::Error as _, time::Duration};

use tonic::{Code, Status};

use crate::{
    error::{Error, Kind},
    time,
    wire::start,
};

/// When to ask again for what is forbidden.
const FORBIDDEN: Duration = Duration::from_secs(30);
/// Most of a text of etcd that an error shows.
const MAX_TEXT: usize = 256;

/// Whether another token could help. Older servers say by words alone that one is over.
pub(super) fn is_of_token(status: &Status) -> bool {
    status.code() == Code::Unauthenticated || is_reason_of_token(status.message())
}

/// The same for the reason why a watch is refused, which of a token that is over may say less.
pub(super) fn is_reason_of_token(reason: &str) -> bool {
    let of_token =
        ["invalid auth token", "user name is empty", "revision of auth store is old", "auth: "];
    of_token.iter().any(|part| reason.contains(part))
}

/// Whether a watch is refused for what its token allows, or since the token is over: older servers say
/// the same of both.
pub(super) fn is_denied(reason: &str) -> bool {
    is_reason_of_token(reason) || reason.contains("permission denied")
}

/// Whether a lease is not there any more.
pub(super) fn is_of_lease(error: &Error) -> bool {
    error.what().contains("requested lease not found")
}

/// Whether an answer is longer than what is read, so that fewer keys may fit.
pub(super) fn is_too_long(error: &Error) -> bool {
    let of_length = ["message length too large", "a message of "];
    of_length.iter().any(|part| error.what().contains(part))
}

/// Whether another member may do better.
pub(super) fn is_of_member(status: &Status) -> bool {
    use Code::{Aborted, Cancelled, DeadlineExceeded, Internal, Unavailable, Unknown};
    let code = status.code();
    status.source().is_some()
        || matches!(code, Aborted | Cancelled | DeadlineExceeded | Internal | Unavailable | Unknown)
}

pub(super) fn of_status(url: &str, status: Status) -> Error {
    let kind = match status.code() {
        _ if status.source().is_some() => Kind::Connection,
        Code::Unavailable => Kind::Connection,
        Code::DeadlineExceeded => Kind::Timeout,
        Code::OutOfRange | Code::Internal => Kind::Transport,
        Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument => {
            Kind::InvalidConfig
        }
        _ => Kind::Service,
    };
    let error = Error::failed(kind)
        .message(format!("etcd at `{url}`: {}", start(status.message(), MAX_TEXT)));
    match status.code() {
        Code::PermissionDenied => error.retry_in(time::now(), FORBIDDEN),
        _ => error,
    }
}

/// A watch that etcd refused or ended, and why.
pub(super) fn of_reason(url: &str, reason: &str) -> Error {
    let is_denied = is_denied(reason);
    let kind = if is_denied { Kind::InvalidConfig } else { Kind::Service };
    let error = Error::failed(kind)
        .message(format!("etcd at `{url}` ended the watch: {}", start(reason, MAX_TEXT)));
    if is_denied { error.retry_in(time::now(), FORBIDDEN) } else { error }
}

/// An answer that makes no sense, or is over a bound.
pub(super) fn nonsense(url: &str, what: &str) -> Error {
    Error::failed(Kind::Transport).message(format!("etcd at `{url}`: {what}"))
}
