//! The context of a call and of a reply, as metadata.

use std::collections::BTreeMap;

use base64::Engine;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE,
        TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
    },
};

use super::timeout;
use crate::{
    error::{Error, Kind, Quoted},
    plugin::{
        Call, Reply,
        wire::{Pairs, to_json},
    },
    wire::BASE64,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The metadata of a call or a reply, as a JSON object. Not known to Go.
const METADATA: HeaderName = HeaderName::from_static("x-metadata-bin");

/// What gRPC says itself.
const NOT_OF_CALLERS: [HeaderName; 12] = [
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    HOST,
    METADATA,
    REQUEST_ID,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    USER_AGENT,
];

/// By what a caller proves itself to this plugin: what it passes on must not have them.
const CREDENTIALS: [HeaderName; 4] = [
    AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-username"),
    HeaderName::from_static("x-password"),
];

fn is_reserved(name: &HeaderName) -> bool {
    name.as_str().starts_with("grpc-") || NOT_OF_CALLERS.contains(name)
}

/// Adds id, headers and metadata of a call. The time that it has is told apart.
pub(crate) fn write_call<T>(headers: &mut HeaderMap, call: &Call<T>) -> Result<(), Error> {
    headers.insert(REQUEST_ID, value("X-Request-Id", &call.id())?);
    for (name, text) in call.headers() {
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            let name = Quoted(name);
            unusable(format!("the call has a header whose name cannot be sent: `{name}`"))
        })?;
        if is_reserved(&parsed) {
            continue;
        }
        let mut value = match parsed.as_str().ends_with("-bin") {
            true => binary(text.as_bytes()),
            false => value(name, text)?,
        };
        value.set_sensitive(true);
        let inserted = headers.try_insert(parsed, value);
        inserted.map_err(|_| unusable("the call has too many headers".to_owned()))?;
    }
    write_metadata(headers, call.metadata());
    Ok(())
}

/// Gives a call what its metadata of gRPC say.
pub(crate) fn read_call<T>(headers: &HeaderMap, mut call: Call<T>) -> Call<T> {
    if let Some(id) = text(headers, &REQUEST_ID) {
        call = call.with_id(id);
    }
    if let Some(timeout) = timeout::read(headers) {
        call = call.with_timeout(timeout);
    }
    let is_told = |name: &HeaderName| !is_reserved(name) && !CREDENTIALS.contains(name);
    for (name, value) in headers.iter().filter(|(name, _)| is_told(name)) {
        let read = match name.as_str().ends_with("-bin") {
            true => BASE64.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok()),
            false => value.to_str().ok().map(str::to_owned),
        };
        if let Some(read) = read {
            call = call.with_header(name.as_str(), read);
        }
    }
    let metadata = read_metadata(headers).into_iter();
    metadata.fold(call, |call, (key, value)| call.with_metadata(key, value))
}

/// Adds id and metadata of a reply.
pub(crate) fn write_reply<T>(headers: &mut HeaderMap, reply: &Reply<T>, id: &str) {
    if let Ok(id) = value("X-Request-Id", id) {
        headers.insert(REQUEST_ID, id);
    }
    write_metadata(headers, reply.metadata());
}

/// Gives a reply what its metadata of gRPC say.
pub(crate) fn read_reply<T>(headers: &HeaderMap, reply: Reply<T>) -> Reply<T> {
    let reply = reply.with_request_id(text(headers, &REQUEST_ID).unwrap_or_default());
    let metadata = read_metadata(headers).into_iter();
    metadata.fold(reply, |reply, (key, value)| reply.with_metadata(key, value))
}

fn write_metadata(headers: &mut HeaderMap, metadata: &BTreeMap<String, String>) {
    if !metadata.is_empty() {
        headers.insert(METADATA, binary(&to_json(metadata).unwrap_or_default()));
    }
}

fn read_metadata(headers: &HeaderMap) -> BTreeMap<String, String> {
    let bytes = headers.get(METADATA).and_then(|value| BASE64.decode(value).ok());
    let pairs = bytes.and_then(|bytes| serde_json::from_slice::<Pairs>(&bytes).ok());
    pairs.unwrap_or_default().0
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().filter(|text| !text.is_empty())
}

fn binary(bytes: &[u8]) -> HeaderValue {
    HeaderValue::try_from(BASE64.encode(bytes)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Names the header, never the value, which may be a secret.
fn value(name: &str, value: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(value).ok().filter(|value| value.to_str().is_ok()).ok_or_else(|| {
        unusable(format!(
            "the header `{name}` holds more than visible ASCII, so it cannot be sent over gRPC: end its \
             name with `-bin` to send any text"
        ))
    })
}

fn unusable(problem: String) -> Error {
    Error::not_sent(Kind::InvalidConfig).message(problem)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_context_of_a_call_goes_over_and_nothing_of_ours_comes_from_callers() {
        let call = Call::new(())
            .with_id("r-7")
            .with_header("X-Tenant", "blue")
            .with_header("Name-Bin", "é\n")
            .with_header("grpc-timeout", "1H")
            .with_header("Content-Type", "text/plain")
            .with_header("Authorization", "Bearer b-17")
            .with_header("X-Password", "p-17")
            .with_metadata("trace", "ü");
        let mut headers = HeaderMap::new();
        write_call(&mut headers, &call).unwrap();
        timeout::write(&mut headers, Duration::from_secs(2));
        assert!(headers.contains_key(AUTHORIZATION), "it is sent, and the plugin checks it");
        let found = read_call(&headers, Call::new(()));
        assert_eq!((&*found.id(), found.timeout()), ("r-7", Some(Duration::from_secs(2))));
        let expected = [("name-bin", "é\n"), ("x-tenant", "blue")];
        assert!(found.headers().iter().map(|(k, v)| (&**k, &**v)).eq(expected), "{found:?}");
        assert_eq!(found.metadata(), call.metadata());
    }

    #[test]
    fn what_grpc_cannot_carry_is_refused_without_its_value() {
        for (name, text) in [("X-A", "sécret"), ("X-A", "secret\n"), ("a b", "secret")] {
            let call = Call::new(()).with_header(name, text);
            let error = write_call(&mut HeaderMap::new(), &call).unwrap_err();
            assert!(error.is_unsent() && !error.to_string().contains("cret"), "{error}");
        }
        let names = (0..40_000).map(|number| format!("x-{number}"));
        let many = names.fold(Call::new(()), |call, name| call.with_header(name, "1"));
        assert!(write_call(&mut HeaderMap::new(), &many).unwrap_err().is_unsent());
    }

    #[test]
    fn a_reply_keeps_its_metadata() {
        let reply = Reply::new(7).with_metadata("ms", "4");
        let mut headers = HeaderMap::new();
        write_reply(&mut headers, &reply, "r-7");
        let found = read_reply(&headers, Reply::new(7));
        assert_eq!((found.request_id(), found.metadata()), ("r-7", reply.metadata()));
    }
}
