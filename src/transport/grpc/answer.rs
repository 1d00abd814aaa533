//! Reads responses of plugins.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, response::Parts};
use tonic::Status;

use crate::{
    error::{Code, Error, Kind, pushback},
    grpc::{Decode, context, frame},
    plugin::{
        Reply,
        wire::{MAX_TEXT, misread, mistyped, undecodable},
    },
    time,
    transport::http::Received,
    wire::{
        self,
        told::{ending, told},
    },
};

/// Returns the reply in `received`, or the error that it holds or is.
pub(super) fn reply<F, Res>(received: Received) -> Result<Reply<Res>, Error>
where
    F: Decode<Res>,
{
    let message = message(&received.parts, received.trailers.as_deref(), received.body)?;
    let value = F::decode(&message).map_err(|error| {
        let json = error.downcast_ref::<serde_json::Error>();
        if json.is_some_and(serde_json::Error::is_data) { mistyped(error) } else { misread(error) }
    })?;
    Ok(context::read_reply(&received.parts.headers, Reply::new(value)))
}

/// Returns the message in an answer, or the error that it is.
pub(super) fn message(
    parts: &Parts,
    trailers: Option<&HeaderMap>,
    body: Bytes,
) -> Result<Bytes, Error> {
    let of = ending(&parts.headers, &body, trailers);
    let code = of.and_then(wire::grpc_trailer);
    if code.is_some_and(|code| code != 0) {
        return Err(answered(&of.and_then(told).unwrap_or(Status::unknown(""))));
    }
    if parts.status != StatusCode::OK || !wire::is_grpc(&parts.headers) {
        return Err(no_grpc(parts.status, &parts.headers));
    }
    if code.is_none() {
        return Err(undecodable("it has no `grpc-status`"));
    }
    frame::unframe(body).map_err(undecodable)
}

/// What a plugin answers by a status. In the texts of Go's plugin manager.
fn answered(status: &Status) -> Error {
    use tonic::Code as Of;
    let pushed = pushback(status);
    let known = match status.code() {
        // What the libraries make of an error of the plugin that is no status.
        Of::Unknown => Some(Error::failed(Kind::Plugin)),
        code => Error::of_grpc(code as u32, pushed),
    };
    let error = known.unwrap_or(Error::failed(Kind::Transport));
    let what = match status.code() {
        Of::DeadlineExceeded => "request timeout",
        Of::Unavailable => "service unavailable",
        Of::Unauthenticated => "authentication failed",
        Of::PermissionDenied => "permission denied",
        Of::InvalidArgument => "invalid request",
        _ => "",
    };
    let (code, said) = Code::split_off(status.message());
    let what = match what {
        "" => format!("gRPC error [{:?}]", status.code()),
        what => what.to_owned(),
    };
    let message = match said {
        "" => what,
        said => format!("{what}: {}", wire::start(said, MAX_TEXT)),
    };
    let error = error.coded(code).message(message);
    // Whole, for those that look for it.
    error.caused_by(Status::with_details_and_metadata(
        status.code(),
        status.message(),
        Bytes::copy_from_slice(status.details()),
        status.metadata().clone(),
    ))
}

/// An endpoint that says that the time is over, which it was told, is not to blame if that is so by the time
/// that the caller gave.
pub(super) fn blamed(error: Error, is_over_by_caller: impl FnOnce() -> bool) -> Error {
    let says_so = |status: &Status| status.code() == tonic::Code::DeadlineExceeded;
    let is_blameless = error.status().is_some_and(says_so) && is_over_by_caller();
    if is_blameless { error.without_blame() } else { error }
}

/// What is answered by something else, such as a proxy.
fn no_grpc(status: StatusCode, headers: &HeaderMap) -> Error {
    let kind = match status.as_u16() {
        429 => Kind::RateLimited,
        400..=499 => Kind::Plugin,
        _ => Kind::Transport,
    };
    let what = match status {
        StatusCode::UNAUTHORIZED => "authentication failed",
        StatusCode::FORBIDDEN => "permission denied",
        _ => "this is no answer of gRPC",
    };
    let error = Error::failed(kind).message(format!(
        "{what}: its status is {}, and its content type `{}`",
        status.as_u16(),
        headers.get(http::header::CONTENT_TYPE).map_or("".into(), |of| {
            wire::start(&String::from_utf8_lossy(of.as_bytes()), 64).escape_debug().to_string()
        })
    ));
    match wire::retry_after(status, headers) {
        Some(wait) => error.retry_in(time::now(), wait),
        None => error,
    }
}

/// Says which protocol was broken, unless the error has a code that says more.
pub(super) fn coded(error: Error) -> Error {
    let is_plain = error.kind() == Kind::Transport && error.code() == Kind::Transport.code();
    error.coded(is_plain.then_some(Code::TRANSPORT_1302))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_time_that_is_over_is_the_callers_own_and_only_if_it_is() {
        for code in [tonic::Code::DeadlineExceeded, tonic::Code::Unavailable, tonic::Code::Internal]
        {
            for is_over in [false, true] {
                let error = answered(&Status::new(code, ""));
                let counts = error.is_evidence();
                let is_own = is_over && code == tonic::Code::DeadlineExceeded;
                assert!(counts, "{code:?}");
                assert_eq!(blamed(error, || is_over).is_evidence(), !is_own, "{code:?} {is_over}");
            }
        }
    }
}
