//! An error of ours as a response.

use http::{
    HeaderName, HeaderValue, Response,
    header::{CONTENT_TYPE, RETRY_AFTER},
};

use crate::{
    error::{Error, Kind},
    wire,
};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

pub(super) fn http<B>(error: &Error, mut response: Response<B>) -> Response<B> {
    *response.status_mut() = error.http_status();
    if let Some(wait) = error.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, wire::retry_after_value(wait));
    }
    response
}

/// All of it in the headers, as gRPC has it where there is nothing but trailers.
pub(super) fn grpc<B>(
    error: &Error,
    content_type: &HeaderValue,
    mut response: Response<B>,
) -> Response<B> {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type.clone());
    headers.insert(GRPC_STATUS, HeaderValue::from(grpc_status(error)));
    if let Ok(message) = HeaderValue::try_from(error.public_text()) {
        headers.insert(GRPC_MESSAGE, message);
    }
    if let Some(wait) = error.retry_after() {
        let millis = wait.as_nanos().div_ceil(1_000_000);
        headers.insert(GRPC_PUSHBACK, u64::try_from(millis).unwrap_or(u64::MAX).into());
    }
    response
}

/// The codes of gRPC.
fn grpc_status(error: &Error) -> u16 {
    const UNKNOWN: u16 = 2;
    const INVALID_ARGUMENT: u16 = 3;
    const DEADLINE_EXCEEDED: u16 = 4;
    const RESOURCE_EXHAUSTED: u16 = 8;
    const INTERNAL: u16 = 13;
    const UNAVAILABLE: u16 = 14;
    match error.kind() {
        Kind::RateLimited | Kind::Overloaded => RESOURCE_EXHAUSTED,
        Kind::Timeout => DEADLINE_EXCEEDED,
        Kind::InvalidRequest => INVALID_ARGUMENT,
        Kind::InvalidConfig => INTERNAL,
        // What the last attempt says, since it is the latest news.
        Kind::RetryExhausted => error.history().last().map_or(UNAVAILABLE, grpc_status),
        Kind::Plugin | Kind::Service | Kind::Transport => UNKNOWN,
        _ => UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_code() {
        assert_eq!(grpc_status(&Error::refused(Kind::RateLimited)), 8);
        assert_eq!(grpc_status(&Error::refused(Kind::Overloaded)), 8);
        assert_eq!(grpc_status(&Error::refused(Kind::CircuitOpen)), 14);
        assert_eq!(grpc_status(&Error::failed(Kind::Timeout)), 4);
        assert_eq!(grpc_status(&Error::failed(Kind::Service)), 2);
        assert_eq!(grpc_status(&Error::not_sent(Kind::InvalidConfig)), 13);
        let attempts = vec![Error::failed(Kind::Connection)];
        assert_eq!(grpc_status(&Error::exhausted(attempts, Error::failed(Kind::Timeout))), 4);
    }
}
