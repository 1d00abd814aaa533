//! Reads requests.

use std::{borrow::Cow, time::Duration};

use ::http::{
    HeaderValue, Method, Response, StatusCode,
    header::{ALLOW, CONTENT_ENCODING},
    request::Parts,
};
use bytes::Bytes;
use http_body_util::Full;
use serde::de::DeserializeOwned;

use super::{answer::refusal, body::TooSlow};
use crate::{
    duration::parse_go_duration,
    error::BoxError,
    plugin::{
        Call,
        wire::{Pairs, data, members, text, value},
    },
    wire::{self, Cut},
};

pub(super) enum Route {
    Execute,
    Health,
    Info,
    Nowhere(Response<Full<Bytes>>),
}

pub(super) fn route(parts: &Parts) -> Route {
    let path = parts.uri.path();
    match parts.method {
        Method::POST if is_encoded(parts) => Route::Nowhere(refusal(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body is encoded; send it as it is",
        )),
        Method::POST => Route::Execute,
        Method::GET | Method::HEAD if path.ends_with("/health") => Route::Health,
        Method::GET | Method::HEAD if path.ends_with("/info") => Route::Info,
        Method::GET | Method::HEAD => Route::Nowhere(refusal(
            StatusCode::NOT_FOUND,
            "there is nothing to get here but `health` and `info`; calls are a POST",
        )),
        _ => {
            let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "calls are a POST");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
            Route::Nowhere(response)
        }
    }
}

fn is_encoded(parts: &Parts) -> bool {
    parts
        .headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Returns the call in a request, or the status and the text of a response to one without.
pub(super) fn read<T, E>(
    body: Result<Bytes, Cut<E>>,
    parts: Option<Parts>,
) -> Result<Call<T>, (StatusCode, Cow<'static, str>)>
where
    T: DeserializeOwned,
    E: Into<BoxError>,
{
    let body = body.map_err(|cut| match cut {
        Cut::TooLong => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is longer than this plugin reads (`max_request_bytes`)".into(),
        ),
        Cut::Broken(error) => match error.into().is::<TooSlow>() {
            true => (StatusCode::REQUEST_TIMEOUT, TooSlow.to_string().into()),
            // The caller is gone, or will be told what it did.
            false => (StatusCode::BAD_REQUEST, "the body broke off".into()),
        },
    })?;
    let header_id =
        parts.as_ref().and_then(|parts| parts.headers.get("x-request-id")?.to_str().ok());
    parse(&text(&body), header_id).map_err(|problem| {
        let problem = format!("this is no call: {}", wire::start(&problem.to_string(), 1_024));
        (StatusCode::BAD_REQUEST, problem.into())
    })
}

fn parse<T: DeserializeOwned>(text: &str, header_id: Option<&str>) -> Result<Call<T>, BoxError> {
    let [body, request_id, timeout, headers, metadata] =
        members(text, ["data", "request_id", "timeout", "headers", "metadata"])?;
    let mut call = Call::new(data(body)?);
    let id: String = value(request_id)?;
    match (id.as_str(), header_id) {
        ("", None | Some("")) => {}
        ("", Some(id)) => call = call.with_id(id),
        (id, _) => call = call.with_id(id),
    }
    let timeout: String = value(timeout)?;
    if !timeout.is_empty() {
        let timeout =
            parse_go_duration(&timeout).ok_or("its `timeout` is no duration such as `1m30s`")?;
        // Go writes "0s" where none is set.
        if timeout > Duration::ZERO {
            call = call.with_timeout(timeout);
        }
    }
    for (name, value) in value::<Pairs>(headers)?.0 {
        call = call.with_header(name, value);
    }
    for (key, value) in value::<Pairs>(metadata)?.0 {
        call = call.with_metadata(key, value);
    }
    Ok(call)
}
