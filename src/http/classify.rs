//! Judges HTTP responses by their status.

use std::time::Duration;

use http::{HeaderMap, Response, StatusCode};

use crate::{
    error::Fault,
    outcome::{Classify, Outcome, Repeat, fault},
    wire::{self, Pushback},
};

/// Judges HTTP responses by their status, and gRPC answers that consist of a head by their gRPC
/// status: for balancers, breakers, failover and retries alike.
///
/// | answer | verdict | sent again, if the request may be |
/// |---|---|---|
/// | 429 | [`Outcome::Overload`] | after its `Retry-After`, or a backoff |
/// | 503 with a `Retry-After` | [`Outcome::Overload`] | after that |
/// | any other 5xx but 501 and 505, such as a plain 500 | [`Outcome::Failure`] | after a backoff |
/// | any other status, such as 404 | [`Outcome::Success`]: a 4xx is a mistake of the caller, and so is a method or a version that an endpoint does not know (501, 505) | no |
/// | gRPC `RESOURCE_EXHAUSTED` | [`Outcome::Overload`] | after its pushback, or a backoff |
/// | gRPC `UNAVAILABLE` with a pushback | [`Outcome::Overload`] | after that |
/// | gRPC `UNKNOWN`, `DEADLINE_EXCEEDED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS` | [`Outcome::Failure`] | after a backoff |
/// | gRPC `CANCELLED` | [`Outcome::Ignored`] | no |
/// | any other gRPC status | [`Outcome::Success`]: a mistake of the caller | no |
/// | an error that the caller caused | [`Outcome::Ignored`] | no |
/// | any other error | [`Outcome::Failure`] | after a backoff |
///
/// If a `RateLimit` says that nothing remains, its reset counts as a `Retry-After`.
///
/// A pushback is a `grpc-retry-pushback-ms`, or the `RetryInfo` in `grpc-status-details-bin`. A
/// `grpc-retry-pushback-ms` decides alone whether a gRPC call that did not go well is sent
/// again ([`Repeat::After`]), whatever its status. A negative or unreadable one forbids it
/// ([`Repeat::No`]), and makes the answer a failure whatever its status (gRFC A6).
///
/// A status in trailers comes too late for this verdict: circuits wait for it with
/// [`AtBodyEnd`](super::AtBodyEnd).
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
            status if is_failure(status) => Outcome::Failure,
            _ => match wire::grpc_status(headers) {
                Some(status) => of_grpc(status, || wire::pushback(headers)),
                None => Outcome::Success,
            },
        }
    }

    fn repeat(&self, result: Result<&Response<B>, &E>) -> Repeat {
        let Some(response) = result.ok().filter(|response| wire::is_grpc(response.headers()))
        else {
            return Repeat::Yes;
        };
        let (status, headers) = (response.status(), response.headers());
        let failed = status == StatusCode::TOO_MANY_REQUESTS || is_failure(status);
        let grpc = wire::grpc_trailer(headers).unwrap_or(0);
        if !failed && grpc == 0 {
            return Repeat::Yes;
        }
        repeat_grpc(if failed { 2 } else { grpc }, wire::pushback(headers))
    }
}

/// Whether a status tells of the endpoint. Any caller can bring about a 501 or 505 by what it asks for.
fn is_failure(status: StatusCode) -> bool {
    let of_request = [StatusCode::NOT_IMPLEMENTED, StatusCode::HTTP_VERSION_NOT_SUPPORTED];
    status.is_server_error() && !of_request.contains(&status)
}

/// How long the sender of a 429 or 503, which may speak gRPC, asks to wait.
fn asked(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let pushback = if wire::is_grpc(headers) { wire::pushback(headers) } else { None };
    pushback.and_then(Pushback::wait).or_else(|| wire::retry_after(status, headers))
}

/// An answer that says when to come back is an overload.
fn failure(retry_after: Option<Duration>) -> Outcome {
    match retry_after {
        None => Outcome::Failure,
        retry_after => Outcome::Overload { retry_after },
    }
}

/// The verdict on a gRPC status, which may come with a pushback.
pub(crate) fn of_grpc(status: u32, pushback: impl FnOnce() -> Option<Pushback>) -> Outcome {
    let retry_after = |pushback: Option<Pushback>| pushback.and_then(Pushback::wait);
    match status {
        0 => Outcome::Success,
        2 | 4 | 13 | 15 => Outcome::Failure,
        14 => failure(retry_after(pushback())),
        8 => Outcome::Overload { retry_after: retry_after(pushback()) },
        _ if pushback() == Some(Pushback::Never) => Outcome::Failure,
        1 => Outcome::Ignored,
        _ => Outcome::Success,
    }
}

/// Whether a gRPC call is sent again that ended with a status other than 0.
pub(crate) fn repeat_grpc(status: u32, pushback: Option<Pushback>) -> Repeat {
    match pushback {
        Some(Pushback::After(wait)) => Repeat::After(wait),
        Some(Pushback::Never) => Repeat::No,
        // No success that a budget rewards (gRFC A6).
        _ if !of_grpc(status, || None).is_failure() => Repeat::No,
        _ => Repeat::Yes,
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
        assert_eq!((verdict(501, &[]), verdict(505, &[])), (Outcome::Success, Outcome::Success));
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

    fn repeat(status: u16, headers: &[(&str, &str)]) -> Repeat {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        HttpClassify.repeat(Ok::<_, &()>(&response.body(()).unwrap()))
    }

    #[test]
    fn of_http_every_failure_may_be_repeated() {
        for status in [200, 304, 404, 429, 500, 501, 502, 503, 504] {
            assert_eq!(repeat(status, &[("retry-after", "1")]), Repeat::Yes, "{status}");
            let pushback = ("grpc-retry-pushback-ms", "-1");
            assert_eq!(repeat(status, &[("content-type", "text/plain"), pushback]), Repeat::Yes);
        }
        assert_eq!(HttpClassify.repeat(Err::<&Response<()>, _>(&())), Repeat::Yes);
    }

    #[test]
    fn of_grpc_a_pushback_decides_alone() {
        let kind = ("content-type", "application/grpc");
        let grpc = |status: &str, pushback: Option<&str>| {
            let mut headers = vec![kind, ("grpc-status", status)];
            headers.extend(pushback.map(|wait| ("grpc-retry-pushback-ms", wait)));
            (verdict(200, &headers), repeat(200, &headers))
        };
        let wait = Repeat::After(Duration::from_millis(250));
        assert_eq!(grpc("0", None), (Outcome::Success, Repeat::Yes));
        assert_eq!(grpc("0", Some("-1")), (Outcome::Success, Repeat::Yes));
        assert_eq!(grpc("14", None), (Outcome::Failure, Repeat::Yes));
        assert_eq!(grpc("14", Some("250")), (overload(Some(250)), wait));
        assert_eq!(grpc("8", None), (overload(None), Repeat::Yes));
        assert_eq!(grpc("8", Some("250")), (overload(Some(250)), wait));
        // A mistake of the caller is no success that a budget rewards.
        assert_eq!(grpc("3", None), (Outcome::Success, Repeat::No));
        assert_eq!(grpc("1", None), (Outcome::Ignored, Repeat::No));
        assert_eq!(grpc("3", Some("250")), (Outcome::Success, wait));
        for nonsense in ["-1", "", "soon"] {
            assert_eq!(grpc("14", Some(nonsense)), (Outcome::Failure, Repeat::No), "{nonsense}");
            assert_eq!(grpc("3", Some(nonsense)), (Outcome::Failure, Repeat::No), "{nonsense}");
            assert_eq!(grpc("8", Some(nonsense)), (overload(None), Repeat::No), "{nonsense}");
        }
        // Whatever the status of HTTP is, unless it went well.
        let pushed =
            |status, wish, more| repeat(status, &[kind, ("grpc-retry-pushback-ms", wish), more]);
        let (unavailable, after) = (("grpc-status", "14"), ("retry-after", "7"));
        for status in [429, 500, 503] {
            assert_eq!(pushed(status, "-1", unavailable), Repeat::No, "{status}");
            assert_eq!(pushed(status, "-1", after), Repeat::No, "{status}");
            assert_eq!(pushed(status, "250", after), wait, "{status}");
        }
        // Which those of a wrong request did.
        for status in [200, 501, 505] {
            assert_eq!(pushed(status, "-1", after), Repeat::Yes, "{status}");
        }
    }
}
