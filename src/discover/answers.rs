//! What the HTTP answers of a registry mean that are not what was asked for: one rule for all of them.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, header::LOCATION};

use crate::{
    error::{Error, Kind, cut},
    time,
    wire::retry_after,
};

/// When to ask again for what these credentials must not do.
const DENIED: Duration = Duration::from_secs(30);
/// How much of an error text is told on.
const MAX_TEXT: usize = 256;

/// The error for an answer with another status than the one of success; `name` is that of the registry.
pub(super) fn refused(name: &str, answer: &Response<Bytes>) -> Error {
    let (status, body) = (answer.status(), answer.body());
    let text = String::from_utf8_lossy(&body[..body.len().min(MAX_TEXT)]);
    let text: String = cut(text.trim(), MAX_TEXT).escape_debug().collect();
    let text = match answer.headers().get(LOCATION).filter(|_| status.is_redirection()) {
        Some(to) => {
            let to = String::from_utf8_lossy(to.as_bytes());
            let to = cut(&to, MAX_TEXT).escape_debug().to_string();
            format!(
                "it leads to `{to}`, but redirects are not followed: name the server that is meant"
            )
        }
        None => text,
    };
    let failed = |kind| Error::failed(kind).message(format!("{name} answers {status}: {text}"));
    match status {
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
            failed(Kind::InvalidConfig).retry_in(time::now(), DENIED)
        }
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            failed(Kind::InvalidConfig)
        }
        _ => match retry_after(status, answer.headers()) {
            Some(wait) => failed(Kind::Connection).retry_in(time::now(), wait),
            None => failed(Kind::Connection),
        },
    }
}

/// The error for a request that was not answered.
pub(super) fn gives_none(name: &str, error: Error) -> Error {
    // What the client below says of a connection is not told apart.
    let kind = Some(error.kind()).filter(|kind| *kind != Kind::Service);
    let failed = Error::failed(kind.unwrap_or(Kind::Connection));
    failed.message(format!("{name} gives no answer")).caused_by(error)
}
