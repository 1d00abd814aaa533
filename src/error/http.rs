//! An error as an HTTP response, and the errors of HTTP clients.

use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};

use super::{Error, Kind};
use crate::wire;

impl Error {
    /// The response that tells a client of this program of it.
    ///
    /// | status | for |
    /// |---|---|
    /// | 429 | a rate limit |
    /// | 503 | every other refusal, and no endpoint to go to |
    /// | 504 | a deadline |
    /// | 502 | an endpoint that failed |
    /// | 400 | a request that cannot be sent as it is |
    /// | 500 | a config that cannot work |
    ///
    /// With `Retry-After`, rounded up to seconds, where the moment is known. The body is the code
    /// and what it stands for: neither endpoint nor message nor source leaves the house.
    ///
    /// ```
    /// use tower_upstream::Endpoint;
    /// let error = Endpoint::new("http://").unwrap_err();
    /// let response: http::Response<String> = error.into_response();
    /// assert_eq!(response.status(), 500);
    /// assert_eq!(response.body(), "[CONFIG_1703] invalid configuration");
    /// ```
    pub fn into_response<B: From<String>>(self) -> http::Response<B> {
        let mut response = Response::new(self.public_text().into());
        *response.status_mut() = self.http_status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Some(wait) = self.retry_after() {
            headers.insert(RETRY_AFTER, wire::retry_after_value(wait));
        }
        response
    }

    /// What everybody may know.
    pub(crate) fn public_text(&self) -> String {
        format!("[{}] {}", self.code(), self.kind().text())
    }

    pub(crate) fn http_status(&self) -> StatusCode {
        match self.kind() {
            Kind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            _ if self.is_refused() => StatusCode::SERVICE_UNAVAILABLE,
            Kind::NoEndpoints
            | Kind::AllEndpointsDown
            | Kind::CircuitOpen
            | Kind::Overloaded
            | Kind::Unhealthy
            | Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Kind::Connection | Kind::Transport | Kind::Plugin | Kind::Service => {
                StatusCode::BAD_GATEWAY
            }
            // What the last attempt says, since it is the latest news.
            Kind::RetryExhausted => {
                self.history().last().map_or(StatusCode::BAD_GATEWAY, Self::http_status)
            }
            Kind::InvalidRequest => StatusCode::BAD_REQUEST,
            Kind::InvalidConfig => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time;

    fn status(error: Error) -> u16 {
        error.into_response::<String>().status().as_u16()
    }

    #[test]
    fn each_kind_has_its_status() {
        assert_eq!(status(Error::refused(Kind::RateLimited)), 429);
        assert_eq!(status(Error::refused(Kind::CircuitOpen)), 503);
        assert_eq!(status(Error::refused(Kind::Overloaded)), 503);
        assert_eq!(status(Error::refused(Kind::Timeout)), 503);
        assert_eq!(status(Error::not_sent(Kind::NoEndpoints)), 503);
        assert_eq!(status(Error::failed(Kind::Timeout)), 504);
        assert_eq!(status(Error::failed(Kind::Service)), 502);
        assert_eq!(status(Error::not_sent(Kind::InvalidConfig)), 500);
        let attempts = vec![Error::failed(Kind::Connection)];
        assert_eq!(status(Error::exhausted(attempts, Error::failed(Kind::Timeout))), 504);
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_is_rounded_up_and_nothing_leaks() {
        let error = Error::refused(Kind::CircuitOpen)
            .retry_at(time::now() + Duration::from_millis(1_001))
            .message("secret")
            .caused_by("secret")
            .at_endpoint(&"secret".into());
        let response = error.into_response::<String>();
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.body(), "[CIRCUIT_1401] circuit breaker is open");
    }
}
