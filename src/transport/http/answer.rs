//! Reads responses of plugins.

use bytes::Bytes;
use http::{StatusCode, header::LOCATION};
use serde::de::DeserializeOwned;

use super::exchange::Received;
use crate::{
    error::{Error, Kind},
    plugin::{
        HealthStatus, PluginInfo, Reply,
        wire::{
            MAX_TEXT, Pairs, Plain, data, members, mistyped, text, undecodable, value, with_words,
        },
    },
    time, wire,
};

/// Returns the reply in `received`, or the error that it holds or is.
pub(super) fn read<Res: DeserializeOwned>(received: &Received) -> Result<Reply<Res>, Error> {
    if !received.parts.status.is_success() {
        return Err(refused(received));
    }
    decode(&text(&unzip(received)?))
}

/// Returns the health that the plugin reports, or that of its status if it reports none.
pub(super) fn health(received: &Received, is_expected: bool) -> HealthStatus {
    let status = received.parts.status;
    if !is_expected {
        let mut message = format!("Health check failed with status {}", status.as_u16());
        if let Some(said) = said(received) {
            message.push_str(": ");
            message.push_str(&said);
        }
        return HealthStatus::unhealthy(message);
    }
    unzip(received)
        .ok()
        .and_then(|body| HealthStatus::read(&text(&body)))
        .unwrap_or_else(HealthStatus::healthy)
}

/// Returns the description that the plugin gives of itself.
pub(super) fn info(received: &Received) -> Result<PluginInfo, Error> {
    if !received.parts.status.is_success() {
        return Err(refused(received));
    }
    PluginInfo::read(&text(&unzip(received)?)).map_err(undecodable)
}

fn decode<Res: DeserializeOwned>(text: &str) -> Result<Reply<Res>, Error> {
    // Nearly all are plain, and those are read once.
    Plain::read(text).map_or_else(|| in_parts(text), |plain| Ok(plain.reply))
}

/// As Go reads it.
#[cold]
fn in_parts<Res: DeserializeOwned>(text: &str) -> Result<Reply<Res>, Error> {
    let [answer, error, request_id, metadata] =
        members(text, ["data", "error", "request_id", "metadata"]).map_err(undecodable)?;
    let error: String = value(error).map_err(undecodable)?;
    if !error.is_empty() {
        return Err(with_words(Error::failed(Kind::Plugin), &error));
    }
    let request_id: String = value(request_id).map_err(undecodable)?;
    let metadata: Pairs = value(metadata).map_err(undecodable)?;
    let reply = Reply::new(data(answer).map_err(mistyped)?).with_request_id(request_id);
    Ok(metadata.0.into_iter().fold(reply, |reply, (key, value)| reply.with_metadata(key, value)))
}

/// What a status outside of 2xx means, with what the plugin says about it.
fn refused(received: &Received) -> Error {
    let status = received.parts.status;
    let mut message = format!("HTTP request failed with status {}", status.as_u16());
    let mut error = Error::failed(kind_of(status));
    if status.is_redirection() && received.parts.headers.contains_key(LOCATION) {
        message.push_str(", and redirects are not followed: use the address that it leads to");
    } else if let Some(said) = said(received) {
        error = with_words(error, &said);
    }
    let error = error.message(message);
    match wire::retry_after(status, &received.parts.headers) {
        Some(wait) => error.retry_in(time::now(), wait),
        None => error,
    }
}

/// A 5xx tells of the endpoint, so another may do better; a 4xx tells of the call.
fn kind_of(status: StatusCode) -> Kind {
    match status.as_u16() {
        429 => Kind::RateLimited,
        400..=499 => Kind::Plugin,
        _ => Kind::Transport,
    }
}

/// The plugin's own error, or the start of what it sent.
fn said(received: &Received) -> Option<String> {
    let body = unzip(received).ok()?;
    let text = text(&body);
    let said = members(&text, ["error", "message"]).ok().and_then(|raws| {
        raws.into_iter().filter_map(|raw| value::<String>(raw).ok()).find(|said| !said.is_empty())
    });
    let said = match said {
        Some(said) => wire::start(&said, MAX_TEXT).into_owned(),
        None => wire::start(text.trim(), 200).escape_debug().to_string(),
    };
    (!said.is_empty()).then_some(said)
}

/// Returns the body, decompressed if it came compressed, to at most `max_response_bytes`.
fn unzip(received: &Received) -> Result<Bytes, Error> {
    let limit = received.config.max_response_bytes;
    wire::unzip(&received.body, &received.parts.headers, limit).map_err(undecodable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reading_is_lenient_where_go_is() {
        let gross = |text: &str| decode::<u64>(text).map(Reply::into_body);
        for (text, value) in [
            (r#"{"data":7}"#, 7),
            (r#"  {"DATA":7,"Request_ID":"x"}  trailing {"#, 7),
            (r#"{"data":1,"data":7,"unknown":[{}]}"#, 7),
            (r#"{"data":7,"error":"","metadata":null,"request_id":null}"#, 7),
            (r#"{"data":null}"#, 0),
            ("{}", 0),
            ("null", 0),
        ] {
            assert_eq!(gross(text).ok(), Some(value), "{text}");
        }
        for text in ["", "7", "[]", "{", r#"{"data":"x"}"#, r#"{"error":5}"#, r#"{"data":7"#] {
            let error = gross(text).unwrap_err();
            assert_eq!(error.kind(), Kind::Transport, "{text}");
            assert!(error.to_string().contains("failed to decode response: "), "{error}");
        }
    }

    #[test]
    fn the_error_is_looked_at_before_the_data() {
        let error = decode::<u64>(r#"{"data":"nonsense","error":"unknown country"}"#).unwrap_err();
        assert_eq!(error.kind(), Kind::Plugin);
        assert!(error.to_string().contains("plugin error: unknown country"));
        let long = format!(r#"{{"error":"{}"}}"#, "é".repeat(100_000));
        assert!(decode::<u64>(&long).unwrap_err().to_string().len() < 2_000);
    }

    #[test]
    fn an_error_about_data_does_not_repeat_all_of_it() {
        let long = format!(r#"{{"data":"{}"}}"#, "x".repeat(100_000));
        assert!(decode::<u64>(&long).unwrap_err().to_string().len() < 2_000);
    }

    proptest! {
        /// Whether it is read in one way or the other.
        #[test]
        fn what_is_plain_is_what_it_would_be_otherwise(
            members in prop::collection::vec(
                ("data|Data|error|request_id|metadata|type|success|x", "7|true|\"\"|\"a\"|null|\\{\\}|\\{\"k\":\"v\"\\}|[0-9]{1,3}"),
                0..5,
            ),
            end in "\\}|\\} x|",
        ) {
            let members: Vec<_> = members.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
            let text = format!("{{{}{end}", members.join(","));
            if let Some(Plain { reply, .. }) = Plain::<serde_json::Value>::read(&text) {
                let shown = |reply: &Reply<serde_json::Value>| format!("{reply:?}");
                prop_assert_eq!(shown(&reply), shown(&in_parts(&text).unwrap()), "{}", text);
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}|[\\[\\]{}\":,a-z0-9\\\\]{0,60}") {
            let _ = decode::<serde_json::Value>(&text);
            let _ = wire::start(&text, text.len() / 2);
        }
    }
}
