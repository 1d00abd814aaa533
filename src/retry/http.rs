use http::{HeaderMap, Response, StatusCode};

use super::{Judge, Verdict, judge::of_error};
use crate::wire::{self, Pushback};

/// By the status of HTTP and gRPC answers, and errors as [`ByKind`](super::ByKind).
///
/// Tried again: 502, 503, 504, and 429 that says when; gRPC's `UNAVAILABLE`, and
/// `RESOURCE_EXHAUSTED` that says when. `Retry-After` of a 429 or 503 is waited for, and so is
/// `grpc-retry-pushback-ms`, which decides alone: a server that sends it wants the same call again
/// whatever its status, or, with a negative number or nonsense, no more of it.
///
/// A gRPC status is seen where an answer consists of a head, as most failures do; one in the
/// trailers comes too late.
///
/// ```
/// use tower_upstream::retry::{ByStatus, Judge, Verdict};
/// let response = http::Response::builder().status(502).body(()).unwrap();
/// assert_eq!(ByStatus.judge(Ok::<_, &()>(&response)), Verdict::FAILED);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct ByStatus;

impl<B, E: 'static> Judge<Response<B>, E> for ByStatus {
    fn judge(&self, result: Result<&Response<B>, &E>) -> Verdict {
        let response = match result {
            Ok(response) => response,
            Err(error) => return of_error(error),
        };
        let headers = response.headers();
        let pushback = if wire::is_grpc(headers) { wire::pushback(headers) } else { None };
        let verdict = of_head(response.status(), headers, pushback.is_some());
        match pushback {
            _ if verdict == Verdict::WELL => verdict,
            Some(Pushback::After(wait)) => verdict.again(wait),
            Some(Pushback::Never) => verdict.never(),
            None => verdict,
        }
    }
}

/// By the status alone, beside which there may be a pushback.
fn of_head(status: StatusCode, headers: &HeaderMap, pushed_back: bool) -> Verdict {
    match (status, wire::retry_after(status, headers)) {
        (_, Some(wait)) => Verdict::OVERLOADED.after(wait),
        (StatusCode::TOO_MANY_REQUESTS, None) => says_when(pushed_back),
        (
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT,
            None,
        ) => Verdict::FAILED,
        (status, None) if status.is_server_error() => Verdict::FINAL,
        _ => match wire::grpc_status(headers) {
            None | Some(0) => Verdict::WELL,
            Some(14) => Verdict::FAILED,
            Some(8) => says_when(pushed_back),
            Some(_) => Verdict::FINAL,
        },
    }
}

/// Who has too much to do is only tried again if it says when.
const fn says_when(it_does: bool) -> Verdict {
    if it_does { Verdict::OVERLOADED } else { Verdict::FINAL }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn verdict(status: u16, headers: &[(&str, &str)]) -> Verdict {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        ByStatus.judge(Ok::<_, &()>(&response.body(()).unwrap()))
    }

    #[test]
    fn a_status_says_whether_to_try_again() {
        for well in [200, 304, 400, 404, 409] {
            assert_eq!(verdict(well, &[("retry-after", "1")]), Verdict::WELL, "{well}");
        }
        for failed in [502, 503, 504] {
            assert_eq!(verdict(failed, &[]), Verdict::FAILED, "{failed}");
        }
        for last in [429, 500, 501, 505] {
            assert_eq!(verdict(last, &[]), Verdict::FINAL, "{last}");
        }
        let wait = Verdict::OVERLOADED.after(Duration::from_secs(7));
        assert_eq!(verdict(429, &[("retry-after", "7")]), wait);
        assert_eq!(verdict(503, &[("retry-after", "7")]), wait);
        assert_eq!(verdict(429, &[("ratelimit", "a;r=0;t=7")]), wait);
        assert_eq!(verdict(502, &[("retry-after", "7")]), Verdict::FAILED);
        assert_eq!(ByStatus.judge(Err::<&Response<()>, _>(&"broken")), Verdict::FAILED);
    }

    #[test]
    fn of_grpc_the_status_and_the_pushback_say() {
        let grpc = |status: &str, pushback: Option<&str>| {
            let mut headers = vec![("content-type", "application/grpc"), ("grpc-status", status)];
            headers.extend(pushback.map(|wait| ("grpc-retry-pushback-ms", wait)));
            verdict(200, &headers)
        };
        let wait = Duration::from_millis(250);
        assert_eq!(grpc("0", None), Verdict::WELL);
        assert_eq!(grpc("14", None), Verdict::FAILED);
        assert_eq!(grpc("14", Some("250")), Verdict::FAILED.again(wait));
        assert_eq!(grpc("8", None), Verdict::FINAL);
        assert_eq!(grpc("8", Some("250")), Verdict::OVERLOADED.again(wait));
        assert_eq!(grpc("3", None), Verdict::FINAL);
        assert_eq!(grpc("3", Some("250")), Verdict::FINAL.again(wait));
        for nonsense in ["-1", "", "soon"] {
            assert_eq!(grpc("14", Some(nonsense)), Verdict::FAILED.never(), "{nonsense}");
        }
        assert_eq!(verdict(200, &[("grpc-status", "14")]), Verdict::WELL);
        // Whatever the status of HTTP is.
        let pushed = |status, kind, wish, more| {
            verdict(status, &[("content-type", kind), ("grpc-retry-pushback-ms", wish), more])
        };
        let (kind, none) = ("application/grpc", ("grpc-status", "14"));
        let after = ("retry-after", "7");
        assert_eq!(pushed(503, kind, "-1", none), Verdict::FAILED.never());
        assert_eq!(pushed(503, kind, "-1", after), Verdict::OVERLOADED.never());
        assert_eq!(pushed(503, kind, "250", after), Verdict::OVERLOADED.again(wait));
        assert_eq!(pushed(429, kind, "250", none), Verdict::OVERLOADED.again(wait));
        assert_eq!(pushed(500, kind, "250", none), Verdict::FINAL.again(wait));
        assert_eq!(pushed(503, "text/plain", "-1", none), Verdict::FAILED);
        assert_eq!(pushed(200, kind, "-1", after), Verdict::WELL);
    }
}
