//! Judges HTTP responses by their status.

use std::time::Duration;

use http::{HeaderMap, Response, StatusCode};

use crate::{
    error::Fault,
    outcome::{Classify, Outcome, fault},
    wire::{self, Pushback},
};

/// Judges HTTP responses by their status, and gRPC responses that have theirs in the head by that.
///
/// | response | outcome |
/// |---|---|
/// | 429; 503 with a `Retry-After`, or a `RateLimit` that says that nothing remains | [`Outcome::Overload`], with that wait |
/// | another 5xx | [`Outcome::Failure`] |
/// | any other status | [`Outcome::Success`]: 4xx is a mistake of the caller |
/// | `Err` | [`Outcome::Failure`], or [`Outcome::Ignored`] if the caller caused it |
///
/// | gRPC status in the head | outcome |
/// |---|---|
/// | `RESOURCE_EXHAUSTED`; `UNAVAILABLE` with a `grpc-retry-pushback-ms` | [`Outcome::Overload`], with that wait |
/// | `UNKNOWN`, `DEADLINE_EXCEEDED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS` | [`Outcome::Failure`] |
/// | `CANCELLED` | [`Outcome::Ignored`] |
/// | any other | [`Outcome::Success`] |
///
/// A pushback that is negative or malformed forbids to send the call again. A status in trailers comes
/// too late for this verdict; circuits wait for it with [`AtBodyEnd`](super::AtBodyEnd).
///
/// # Example
/// ```
/// use tower_upstream::{Classify, Outcome, http::HttpClassify};
/// let response = http::Response::builder().status(500).body(()).unwrap();
/// assert_eq!(HttpClassify.classify(Ok::<_, &()>(&response)), Outcome::Failure);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpClassify;

impl<B, E: 'static> Classify<Response<B>, E> for HttpClassify {
    fn classify(&self, result: Result<&Response<B>, &E>) -> Outcome {
        let response = match result {
            Ok(response) => response,
            Err(error) if fault(error) == Fault::Endpoint => return Outcome::Failure,
            Err(_) => return Outcome::Ignored,
        };
        let (status, headers) = (response.status(), response.headers());
        match status {
            StatusCode::TOO_MANY_REQUESTS => {
                Outcome::Overload { retry_after: asked(status, headers) }
            }
            StatusCode::SERVICE_UNAVAILABLE => failure(asked(status, headers)),
            status if status.is_server_error() => Outcome::Failure,
            _ => match wire::grpc_status(headers) {
                Some(status) => of_grpc(status, headers),
                None => Outcome::Success,
            },
        }
    }

    fn forbids_repeat(&self, result: Result<&Response<B>, &E>) -> bool {
        let headers = result.ok().map(Response::headers);
        headers.is_some_and(|headers| {
            wire::is_grpc(headers) && wire::pushback(headers) == Some(Pushback::Never)
        })
    }
}

/// How long the sender of a 429 or 503, which may speak gRPC, asks to wait.
fn asked(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let pushback = if wire::is_grpc(headers) { pushback(headers) } else { None };
    pushback.or_else(|| wire::retry_after(status, headers))
}

/// An answer that says when to come back is an overload.
fn failure(retry_after: Option<Duration>) -> Outcome {
    match retry_after {
        None => Outcome::Failure,
        retry_after => Outcome::Overload { retry_after },
    }
}

fn pushback(headers: &HeaderMap) -> Option<Duration> {
    match wire::pushback(headers) {
        Some(Pushback::After(wait)) => Some(wait),
        Some(Pushback::Never) | None => None,
    }
}

/// The verdict on a gRPC status, which may come with a pushback.
pub(super) fn of_grpc(status: u32, headers: &HeaderMap) -> Outcome {
    match status {
        1 => Outcome::Ignored,
        2 | 4 | 13 | 15 => Outcome::Failure,
        14 => failure(pushback(headers)),
        8 => Outcome::Overload { retry_after: pushback(headers) },
        _ => Outcome::Success,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, headers: &[(&str, &str)]) -> Outcome {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        HttpClassify.classify(Ok::<_, &()>(&response.body(()).unwrap()))
    }

    fn overload(millis: Option<u64>) -> Outcome {
        Outcome::Overload { retry_after: millis.map(Duration::from_millis) }
    }

    #[test]
    fn the_status_is_the_verdict() {
        let after = |wait| [("retry-after", wait)];
        assert_eq!(verdict(200, &[]), Outcome::Success);
        assert_eq!(verdict(404, &after("3")), Outcome::Success);
        assert_eq!(verdict(429, &[]), overload(None));
        assert_eq!(verdict(429, &after("3")), overload(Some(3_000)));
        assert_eq!(verdict(429, &[("ratelimit", "a;r=0;t=9")]), overload(Some(9_000)));
        assert_eq!(verdict(503, &[]), Outcome::Failure);
        assert_eq!(verdict(503, &after("soon")), Outcome::Failure);
        assert_eq!(verdict(503, &after("3")), overload(Some(3_000)));
        assert_eq!(verdict(500, &after("3")), Outcome::Failure);
        assert_eq!(verdict(599, &[]), Outcome::Failure);
        let result: Result<&Response<()>, &()> = Err(&());
        assert_eq!(HttpClassify.classify(result), Outcome::Failure);
    }

    #[test]
    fn of_grpc_the_status_in_the_head_is_the_verdict() {
        let grpc = |status: &str, pushback: Option<&str>| {
            let mut headers = vec![("content-type", "application/grpc"), ("grpc-status", status)];
            headers.extend(pushback.map(|wait| ("grpc-retry-pushback-ms", wait)));
            verdict(200, &headers)
        };
        for good in ["0", "3", "5", "6", "7", "9", "10", "11", "12", "16"] {
            assert_eq!(grpc(good, None), Outcome::Success, "{good}");
        }
        for bad in ["2", "4", "13", "14", "15", "nonsense"] {
            assert_eq!(grpc(bad, None), Outcome::Failure, "{bad}");
        }
        assert_eq!(grpc("1", None), Outcome::Ignored);
        assert_eq!(grpc("8", None), overload(None));
        assert_eq!(grpc("8", Some("250")), overload(Some(250)));
        assert_eq!(grpc("8", Some("-1")), overload(None));
        assert_eq!(grpc("14", Some("250")), overload(Some(250)));
        assert_eq!(grpc("14", Some("-1")), Outcome::Failure);
        assert_eq!(verdict(200, &[("grpc-status", "14")]), Outcome::Success);
        let kind = ("content-type", "application/grpc");
        let wish = [kind, ("grpc-retry-pushback-ms", "250"), ("retry-after", "3")];
        assert_eq!(verdict(503, &wish), overload(Some(250)));
        assert_eq!(verdict(503, &wish[1..]), overload(Some(3_000)));
    }

    #[test]
    fn of_grpc_a_pushback_may_be_a_no() {
        let forbids = |kind: &str, pushback: &str| {
            let response = Response::builder()
                .header("content-type", kind)
                .header("grpc-retry-pushback-ms", pushback)
                .body(());
            HttpClassify.forbids_repeat(Ok::<_, &()>(&response.unwrap()))
        };
        assert!(forbids("application/grpc", "-1") && forbids("application/grpc", "soon"));
        assert!(!forbids("application/grpc", "0") && !forbids("text/plain", "-1"));
        assert!(!HttpClassify.forbids_repeat(Err::<&Response<()>, _>(&())));
    }
}
