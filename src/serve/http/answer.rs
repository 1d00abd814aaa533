//! Writes responses to calls.

use std::time::Duration;

use ::http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use bytes::Bytes;
use http_body_util::Full;
use serde::Serialize;

use crate::{
    error::{BoxError, Error, Kind},
    plugin::{
        Reply,
        wire::{Answer, to_json},
    },
    serve::failure::{Failure, or_unknown},
    time,
};

pub(super) fn success<U: Serialize>(reply: &Reply<U>, id: &str) -> Response<Full<Bytes>> {
    let answer = Answer {
        data: Some(reply.body()),
        error: "",
        request_id: if reply.request_id().is_empty() { id } else { reply.request_id() },
        metadata: reply.metadata(),
    };
    match to_json(&answer) {
        Ok(body) => respond(StatusCode::OK, body),
        Err(error) => {
            let text = format!("cannot write the answer as JSON: {error}");
            error_response(StatusCode::OK, &text, id)
        }
    }
}

pub(super) fn failure(error: BoxError, id: &str) -> Response<Full<Bytes>> {
    let Failure { text, refusal } = Failure::new(&error);
    let response = error_response(StatusCode::OK, &text, id);
    match refusal {
        Some(refusal) => refusal.answer_with(response),
        None => response,
    }
}

/// To a call for which there is no place.
pub(super) fn full() -> Response<Full<Bytes>> {
    let error = Error::refused(Kind::Overloaded).retry_in(time::now(), Duration::from_secs(1));
    failure(error.into(), "")
}

pub(super) fn refusal(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    error_response(status, text, "")
}

fn error_response(status: StatusCode, text: &str, request_id: &str) -> Response<Full<Bytes>> {
    let answer = Answer::<()> {
        data: None,
        error: or_unknown(text),
        request_id,
        metadata: &Default::default(),
    };
    json(status, &answer)
}

pub(super) fn json<V: Serialize>(status: StatusCode, value: &V) -> Response<Full<Bytes>> {
    match to_json(value) {
        Ok(body) => respond(status, body),
        // Texts and numbers of ours; they can be written.
        Err(_) => respond(StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
    }
}

fn respond(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use ::http::header::RETRY_AFTER;

    use super::*;

    async fn answer(error: Error) -> (StatusCode, Option<HeaderValue>, String) {
        use http_body_util::BodyExt;
        let response = failure(error.into(), "r-1");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        (parts.status, parts.headers.get(RETRY_AFTER).cloned(), text)
    }

    #[tokio::test]
    async fn an_error_of_ours_says_what_and_not_where() {
        let secret = |error: Error| {
            error.message("secret").caused_by("secret").at_endpoint(&"http://secret:1".into())
        };
        for kind in [Kind::Connection, Kind::Timeout, Kind::InvalidConfig, Kind::AllEndpointsDown] {
            for error in [Error::refused(kind), Error::failed(kind)] {
                let text =
                    format!("{{\"error\":\"{}\",\"request_id\":\"r-1\"}}", error.public_text());
                assert_eq!(answer(secret(error)).await.2, text);
            }
        }
        let last = secret(Error::failed(Kind::Connection));
        let (_, _, text) = answer(Error::exhausted(vec![last.clone()], last)).await;
        assert!(text.contains("all attempts failed") && !text.contains("secret"), "{text}");
        let plugin = Error::failed(Kind::Plugin).caused_by("unknown country");
        let (_, _, text) = answer(plugin.at_endpoint(&"http://secret:1".into())).await;
        assert!(text.contains("[PLUGIN_1206] plugin error: unknown country"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_has_a_status_and_a_failure_has_not() {
        let soon = time::now() + Duration::from_millis(1_500);
        let (status, wait, text) = answer(Error::refused(Kind::RateLimited).retry_at(soon)).await;
        assert_eq!((status.as_u16(), wait), (429, Some(HeaderValue::from(2))));
        assert!(text.contains("rate limit exceeded") && text.contains(r#""request_id":"r-1""#));
        let (status, wait, _) = answer(Error::refused(Kind::CircuitOpen)).await;
        assert_eq!((status.as_u16(), wait), (503, None));
        // One that came from elsewhere is the plugin's failure, not our refusal.
        let (status, wait, _) = answer(Error::failed(Kind::RateLimited).retry_at(soon)).await;
        assert_eq!((status.as_u16(), wait), (200, None));
        let (_, _, text) = answer(Error::failed(Kind::Service).caused_by("no rates")).await;
        assert_eq!(text, r#"{"error":"no rates","request_id":"r-1"}"#);
    }
}
