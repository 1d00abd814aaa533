//! The fields of gRPC, read where an endpoint sends them and written where a client is told.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};

use super::retry_after::MAX_RETRY_AFTER;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// The statuses that this crate tells apart.
pub(crate) mod code {
    pub(crate) const OK: u32 = 0;
    pub(crate) const CANCELLED: u32 = 1;
    pub(crate) const UNKNOWN: u32 = 2;
    pub(crate) const INVALID_ARGUMENT: u32 = 3;
    pub(crate) const DEADLINE_EXCEEDED: u32 = 4;
    pub(crate) const RESOURCE_EXHAUSTED: u32 = 8;
    pub(crate) const INTERNAL: u32 = 13;
    pub(crate) const UNAVAILABLE: u32 = 14;
    pub(crate) const DATA_LOSS: u32 = 15;
}

/// What `grpc-retry-pushback-ms` asks for (gRFC A6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushback {
    /// Try again after this.
    After(Duration),
    /// Do not try again: it is below zero, or cannot be read.
    Never,
}

/// The pushback of a gRPC server, at most a day.
pub(crate) fn pushback(headers: &HeaderMap) -> Option<Pushback> {
    let value = headers.get(&PUSHBACK)?;
    let millis = value.to_str().ok().and_then(|text| text.trim().parse::<u32>().ok());
    Some(match millis {
        Some(millis) => Pushback::After(Duration::from_millis(millis.into()).min(MAX_RETRY_AFTER)),
        None => Pushback::Never,
    })
}

/// The status of a gRPC response that has it in its head. `None` if it is not gRPC, or has a body. A
/// status that cannot be read is `UNKNOWN`.
pub(crate) fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    if is_grpc(headers) { grpc_trailer(headers) } else { None }
}

/// Whether this is the head of a gRPC response: not `application/grpc-web`, which has its status in
/// the body.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// The status in the trailers of a gRPC response.
pub(crate) fn grpc_trailer(trailers: &HeaderMap) -> Option<u32> {
    let status = trailers.get(&STATUS)?;
    Some(status.to_str().ok().and_then(|status| status.parse().ok()).unwrap_or(code::UNKNOWN))
}

/// Writes a status with its message and pushback to the head of a response.
pub(crate) fn write_grpc(
    headers: &mut HeaderMap,
    status: u32,
    message: String,
    pushback: Option<Duration>,
) {
    headers.insert(STATUS, status.into());
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert(MESSAGE, message);
    }
    if let Some(wait) = pushback {
        // Rounded up: a client that comes back early is refused again.
        let millis = wait.as_nanos().div_ceil(1_000_000);
        headers.insert(PUSHBACK, u64::try_from(millis).unwrap_or(u64::MAX).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, Option<&str>)]) -> HeaderMap {
        let given = pairs.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        given.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_status_of_grpc_is_only_read_of_grpc() {
        let status = |kind, status| {
            grpc_status(&headers(&[("content-type", Some(kind)), ("grpc-status", status)]))
        };
        assert_eq!(status("application/grpc", Some("14")), Some(14));
        assert_eq!(status("application/grpc+proto", Some("0")), Some(0));
        assert_eq!(status("application/grpc", Some("soon")), Some(2));
        assert_eq!(status("application/grpc", None), None);
        for kind in ["application/grpc-web", "application/json"] {
            assert_eq!(status(kind, Some("14")), None, "{kind}");
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let mut headers = headers(&[("content-type", Some("application/grpc"))]);
        write_grpc(&mut headers, code::UNAVAILABLE, "no".into(), Some(Duration::from_micros(1_001)));
        assert_eq!(grpc_status(&headers), Some(code::UNAVAILABLE));
        assert_eq!(pushback(&headers), Some(Pushback::After(Duration::from_millis(2))));
        assert_eq!(headers[MESSAGE], "no");
    }
}
