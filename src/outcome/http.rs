//! A verdict by the status of an HTTP response.

use http::{Response, StatusCode};

use super::{Classify, Outcome};
use crate::wire;

/// Judges HTTP responses by their status.
///
/// 429, and 503 with a `Retry-After`, are [`Outcome::Overload`]; every other 5xx and every `Err` is
/// a failure; the rest is a success, since 4xx is the caller's mistake.
///
/// ```
/// use tower_upstream::{Classify, HttpClassify, Outcome};
/// let response = http::Response::builder().status(500).body(()).unwrap();
/// assert_eq!(HttpClassify.classify(Ok::<_, &()>(&response)), Outcome::Failure);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpClassify;

impl<B, E> Classify<Response<B>, E> for HttpClassify {
    fn classify(&self, result: Result<&Response<B>, &E>) -> Outcome {
        let Ok(response) = result else {
            return Outcome::Failure;
        };
        match response.status() {
            StatusCode::TOO_MANY_REQUESTS => {
                Outcome::Overload { retry_after: wire::retry_after(response.headers()) }
            }
            StatusCode::SERVICE_UNAVAILABLE => match wire::retry_after(response.headers()) {
                None => Outcome::Failure,
                retry_after => Outcome::Overload { retry_after },
            },
            status if status.is_server_error() => Outcome::Failure,
            _ => Outcome::Success,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_status_is_the_verdict() {
        let verdict = |status: u16, retry_after: Option<&str>| {
            let mut response = Response::builder().status(status);
            if let Some(wait) = retry_after {
                response = response.header("retry-after", wait);
            }
            HttpClassify.classify(Ok::<_, &()>(&response.body(()).unwrap()))
        };
        let overload = |seconds: Option<u64>| Outcome::Overload {
            retry_after: seconds.map(Duration::from_secs),
        };
        assert_eq!(verdict(200, None), Outcome::Success);
        assert_eq!(verdict(404, Some("3")), Outcome::Success);
        assert_eq!(verdict(429, None), overload(None));
        assert_eq!(verdict(429, Some("3")), overload(Some(3)));
        assert_eq!(verdict(503, None), Outcome::Failure);
        assert_eq!(verdict(503, Some("soon")), Outcome::Failure);
        assert_eq!(verdict(503, Some("3")), overload(Some(3)));
        assert_eq!(verdict(500, Some("3")), Outcome::Failure);
        assert_eq!(verdict(599, None), Outcome::Failure);
        let result: Result<&Response<()>, &()> = Err(&());
        assert_eq!(HttpClassify.classify(result), Outcome::Failure);
    }
}
