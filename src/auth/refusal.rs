//! The answers to requests that are not let in.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, WWW_AUTHENTICATE},
};

use crate::wire::{GRPC_MESSAGE, GRPC_STATUS};

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It proves nothing.
    NotAuthorized,
    /// It proves what is right elsewhere, or there is nothing to prove it by.
    Forbidden,
}

impl Refusal {
    fn text(self) -> &'static str {
        match self {
            Self::NotAuthorized => "not authorized",
            Self::Forbidden => "forbidden",
        }
    }

    /// Over HTTP: a status, what would prove the caller, and an answer of a plugin.
    pub(super) fn over_http<R: From<Bytes>>(self, challenges: &[HeaderValue]) -> Response<R> {
        let body = format!(r#"{{"error":"{}","request_id":""}}"#, self.text());
        let mut response = Response::new(R::from(Bytes::from(body)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *response.status_mut() = match self {
            Self::NotAuthorized => {
                for challenge in challenges {
                    response.headers_mut().append(WWW_AUTHENTICATE, challenge.clone());
                }
                StatusCode::UNAUTHORIZED
            }
            Self::Forbidden => StatusCode::FORBIDDEN,
        };
        response
    }

    /// Over gRPC: all of it in the head, which is all that there is.
    pub(super) fn over_grpc<R: From<Bytes>>(self, asked: &HeaderMap) -> Response<R> {
        let code = match self {
            Self::NotAuthorized => HeaderValue::from_static("16"),
            Self::Forbidden => HeaderValue::from_static("7"),
        };
        let mut response = Response::new(R::from(Bytes::new()));
        let headers = response.headers_mut();
        headers.extend(asked.get(CONTENT_TYPE).map(|kind| (CONTENT_TYPE, kind.clone())));
        headers.insert(GRPC_STATUS, code);
        headers.insert(GRPC_MESSAGE, HeaderValue::from_static(self.text()));
        response
    }
}
