//! An error as a response, over HTTP and gRPC.

use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};

use crate::{
    decision::Explain,
    error::{Code, Error, Kind},
    wire::{self, GRPC_MESSAGE, GRPC_PUSHBACK, GRPC_STATUS},
};

impl Error {
    /// Converts the error into a response for a client of this program.
    ///
    /// | status | error |
    /// |---|---|
    /// | 429 | a rate limit |
    /// | 503 | every other refusal, and no endpoint that can take the call |
    /// | 504 | a deadline |
    /// | 502 | an endpoint that failed |
    /// | 404 | a name that no plugin has, code `PLUGIN_1201` |
    /// | 400 | a request that cannot be sent as it is |
    /// | 500 | a config that cannot work |
    ///
    /// `Retry-After` is rounded up to seconds; it is left out if the time is not known. The body is the
    /// code and its meaning: names of guards and endpoints, messages and sources do not leave the program. The
    /// [`decision`](Self::decision) of a call that is explained is an extension of the response, an `Arc<Decision>`.
    ///
    /// ```
    /// use tower_upstream::Endpoint;
    /// let error = Endpoint::new("http://").unwrap_err();
    /// let response: http::Response<String> = error.into_response();
    /// assert_eq!(response.status(), 500);
    /// assert_eq!(response.body(), "[CONFIG_1703] invalid configuration");
    /// ```
    pub fn into_response<B: From<String>>(self) -> http::Response<B> {
        let mut response = self.answer_with(Response::new(self.public_text().into()));
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, text);
        response
    }

    /// Writes its status and `Retry-After` to a response that has its body.
    pub(crate) fn answer_with<B>(&self, mut response: Response<B>) -> Response<B> {
        *response.status_mut() = self.http_status();
        if let Some(wait) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, wire::retry_after_value(wait));
        }
        self.explain(&mut response);
        response
    }

    /// What the error knows of where the call went, the response knows as well.
    fn explain<B>(&self, response: &mut Response<B>) {
        if let Some(decision) = self.shared_decision() {
            response.explain(decision.clone());
        }
    }

    /// What every client may know.
    pub(crate) fn public_text(&self) -> String {
        format!("[{}] {}", self.code(), self.meaning())
    }

    pub(crate) fn http_status(&self) -> StatusCode {
        match self.kind() {
            Kind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            _ if self.is_of_no_plugin() => StatusCode::NOT_FOUND,
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
            Kind::RetryExhausted => self.last().map_or(StatusCode::BAD_GATEWAY, Self::http_status),
            Kind::InvalidRequest => StatusCode::BAD_REQUEST,
            Kind::InvalidConfig => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether it asks for a plugin that there is not.
    fn is_of_no_plugin(&self) -> bool {
        self.kind() == Kind::Unavailable && self.code() == Code::PLUGIN_1201
    }

    /// The code of gRPC.
    pub(crate) fn grpc_code(&self) -> u16 {
        const UNKNOWN: u16 = 2;
        const INVALID_ARGUMENT: u16 = 3;
        const DEADLINE_EXCEEDED: u16 = 4;
        const RESOURCE_EXHAUSTED: u16 = 8;
        const INTERNAL: u16 = 13;
        const UNIMPLEMENTED: u16 = 12;
        const UNAVAILABLE: u16 = 14;
        match self.kind() {
            Kind::RateLimited | Kind::Overloaded => RESOURCE_EXHAUSTED,
            Kind::Timeout => DEADLINE_EXCEEDED,
            Kind::InvalidRequest => INVALID_ARGUMENT,
            Kind::InvalidConfig => INTERNAL,
            // What the last attempt says, since it is the latest news.
            Kind::RetryExhausted => self.last().map_or(UNAVAILABLE, Self::grpc_code),
            Kind::Plugin | Kind::Service | Kind::Transport => UNKNOWN,
            _ if self.is_of_no_plugin() => UNIMPLEMENTED,
            _ => UNAVAILABLE,
        }
    }
}

/// All of it in the headers, as gRPC has it where there is nothing but trailers.
pub(super) fn over_grpc<B>(
    error: &Error,
    content_type: &HeaderValue,
    mut response: Response<B>,
) -> Response<B> {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type.clone());
    headers.insert(GRPC_STATUS, HeaderValue::from(error.grpc_code()));
    if let Ok(message) = HeaderValue::try_from(error.public_text()) {
        headers.insert(GRPC_MESSAGE, message);
    }
    if let Some(wait) = error.retry_after() {
        headers.insert(GRPC_PUSHBACK, wire::pushback_value(wait));
    }
    error.explain(&mut response);
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time;

    #[test]
    fn each_kind_has_its_status_and_its_code_of_grpc() {
        let attempts = vec![Error::failed(Kind::Connection)];
        for (error, status, code) in [
            (Error::refused(Kind::RateLimited), 429, 8),
            (Error::failed(Kind::RateLimited), 429, 8),
            (Error::refused(Kind::CircuitOpen), 503, 14),
            (Error::refused(Kind::Overloaded), 503, 8),
            (Error::refused(Kind::Unavailable).coded(Some(Code::PLUGIN_1201)), 404, 12),
            (Error::refused(Kind::Unavailable).coded(Some(Code::PLUGIN_1202)), 503, 14),
            (Error::refused(Kind::Unavailable), 503, 14),
            (Error::refused(Kind::Timeout), 503, 4),
            (Error::not_sent(Kind::NoEndpoints), 503, 14),
            (Error::failed(Kind::Timeout), 504, 4),
            (Error::failed(Kind::Service), 502, 2),
            (Error::caller("cut short"), 400, 3),
            (Error::not_sent(Kind::InvalidConfig), 500, 13),
            (Error::exhausted(attempts, Error::failed(Kind::Timeout)), 504, 4),
        ] {
            assert_eq!(
                (error.http_status().as_u16(), error.grpc_code()),
                (status, code),
                "{error}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_is_rounded_up_and_nothing_leaks() {
        let error = Error::refused(Kind::CircuitOpen)
            .retry_at(time::now() + Duration::from_millis(1_001))
            .by(Some(&"secret".into()))
            .message("secret")
            .caused_by("secret")
            .at_endpoint(&"secret".into());
        let response = error.clone().into_response::<String>();
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.body(), "[CIRCUIT_1401] circuit breaker is open");
        let content = HeaderValue::from_static("application/grpc");
        let grpc = over_grpc(&error, &content, Response::new(()));
        assert_eq!(grpc.headers()[GRPC_PUSHBACK], "1001");
        assert_eq!(grpc.headers()[GRPC_MESSAGE], "[CIRCUIT_1401] circuit breaker is open");
    }
}
