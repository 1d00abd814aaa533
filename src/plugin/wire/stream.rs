//! The messages of a stream: what a host asks, and what a plugin answers.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    envelope::Pairs,
    json::{members, to_json, value},
};
use crate::time;

/// Operations of a plugin, by the names that they have on the wire.
pub(crate) const EXECUTE: &str = "execute";
pub(crate) const HEALTH: &str = "health";
pub(crate) const INFO: &str = "info";
pub(crate) const PING: &str = "ping";
/// Proves that the host belongs here, as the first message of a connection. Not known to Go.
pub(crate) const AUTH: &str = "auth";

/// A question, in the order in which Go writes its members; what Go does not know comes last.
#[derive(Serialize)]
pub(crate) struct StreamQuestion<'a, T> {
    #[serde(rename = "type")]
    pub(crate) operation: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) data: Option<&'a T>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) timeout_ms: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: &'a BTreeMap<String, String>,
}

/// An answer, in the order in which Go writes its members; what Go does not know comes last.
#[derive(Serialize)]
pub(crate) struct StreamAnswer<'a, T> {
    #[serde(rename = "type")]
    pub(crate) operation: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<&'a T>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) error: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: &'a BTreeMap<String, String>,
    /// What it would be over HTTP, unless 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after_ms: Option<u64>,
}

/// Makes a message that is no call, such as a ping or the proof of a token.
pub(crate) fn own_message(
    operation: &str,
    id: &str,
    data: Option<&str>,
) -> Result<Vec<u8>, serde_json::Error> {
    let none = BTreeMap::new();
    message(&StreamQuestion {
        operation,
        request_id: id,
        data: data.as_ref(),
        headers: &none,
        timeout_ms: 0,
        metadata: &none,
    })
}

/// The message that proves a token.
pub(crate) fn proof(token: &str) -> Result<Vec<u8>, serde_json::Error> {
    own_message(AUTH, "auth", Some(token))
}

/// Makes a message of a question or an answer.
pub(crate) fn message<T: Serialize>(message: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = to_json(message)?;
    text.push(b'\n');
    Ok(text)
}

/// Whole milliseconds, as Go truncates them; but some time is never told as none.
pub(crate) fn milliseconds(timeout: Duration) -> u64 {
    let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    if timeout.is_zero() { 0 } else { millis.clamp(1, i64::MAX as u64) }
}

fn is_zero(millis: &u64) -> bool {
    *millis == 0
}

/// A question that was read.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) operation: String,
    pub(crate) request_id: String,
    pub(crate) data: Option<&'a RawValue>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl<'a> Asked<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Self, serde_json::Error> {
        let [operation, request_id, data, headers, timeout, metadata] =
            members(text, ["type", "request_id", "data", "headers", "timeout_ms", "metadata"])?;
        let millis = u64::try_from(value::<i64>(timeout)?).unwrap_or_default();
        Ok(Self {
            operation: value(operation)?,
            request_id: value(request_id)?,
            data,
            headers: value::<Pairs>(headers)?.0,
            timeout: Some(Duration::from_millis(millis)).filter(|timeout| !timeout.is_zero()),
            metadata: value::<Pairs>(metadata)?.0,
        })
    }
}

/// An answer that was read.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    pub(crate) request_id: String,
    pub(crate) success: bool,
    pub(crate) data: Option<&'a RawValue>,
    pub(crate) error: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
}

impl<'a> Told<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Self, serde_json::Error> {
        let [request_id, success, data, error, metadata, status, retry_after] = members(
            text,
            ["request_id", "success", "data", "error", "metadata", "status", "retry_after_ms"],
        )?;
        let wait: Option<u64> = value(retry_after).unwrap_or_default();
        Ok(Self {
            request_id: value(request_id)?,
            success: value(success)?,
            data,
            error: value(error)?,
            metadata: value::<Pairs>(metadata)?.0,
            // Of another peer these may mean anything.
            status: value(status).unwrap_or_default(),
            retry_after: wait.map(|wait| Duration::from_millis(wait).min(time::FAR)),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::text::text, *};

    fn written<T: Serialize>(of: &T) -> String {
        String::from_utf8(message(of).unwrap()).unwrap()
    }

    #[test]
    fn what_is_written_is_what_go_writes() {
        let (none, headers) =
            (BTreeMap::new(), BTreeMap::from([("X-Tenant".to_owned(), "blue".to_owned())]));
        let question = |operation, request_id, data, headers, timeout_ms| {
            written(&StreamQuestion::<serde_json::Value> {
                operation,
                request_id,
                data,
                headers,
                timeout_ms,
                metadata: &none,
            })
        };
        let net = serde_json::json!({ "net": 10 });
        for (text, expected) in [
            (
                question(PING, "health-check", None, &none, 0),
                r#"{"type":"ping","request_id":"health-check","data":null}"#,
            ),
            (
                question(INFO, "req_1758362400000000456", None, &none, 5_000),
                r#"{"type":"info","request_id":"req_1758362400000000456","data":null,"timeout_ms":5000}"#,
            ),
            (
                question(EXECUTE, "r-7", Some(&net), &headers, 1_500),
                r#"{"type":"execute","request_id":"r-7","data":{"net":10},"headers":{"X-Tenant":"blue"},"timeout_ms":1500}"#,
            ),
        ] {
            assert_eq!(text, format!("{expected}\n"));
        }
        let answer = |operation, request_id, success, data, error| {
            written(&StreamAnswer::<serde_json::Value> {
                operation,
                request_id,
                success,
                data,
                error,
                metadata: &none,
                status: None,
                retry_after_ms: None,
            })
        };
        let info = serde_json::json!({ "name": "tax" });
        for (text, expected) in [
            (
                answer(PING, "health-check", true, None, ""),
                r#"{"type":"ping","request_id":"health-check","success":true}"#,
            ),
            (
                answer(INFO, "r", true, Some(&info), ""),
                r#"{"type":"info","request_id":"r","success":true,"data":{"name":"tax"}}"#,
            ),
            (
                answer(EXECUTE, "r-7", false, None, "no rate table"),
                r#"{"type":"execute","request_id":"r-7","success":false,"error":"no rate table"}"#,
            ),
        ] {
            assert_eq!(text, format!("{expected}\n"));
        }
    }

    #[test]
    fn some_time_is_never_told_as_none() {
        for (nanos, millis) in [(0, 0), (1, 1), (999_999, 1), (1_500_000_000, 1_500)] {
            assert_eq!(milliseconds(Duration::from_nanos(nanos)), millis);
        }
        assert_eq!(milliseconds(Duration::MAX), i64::MAX as u64);
    }

    #[test]
    fn reading_is_lenient_where_go_is() {
        let asked = Asked::read(r#"{"TYPE":"execute","request_id":null,"timeout_ms":-1,"x":[]}"#);
        let asked = asked.unwrap();
        assert_eq!((asked.operation.as_str(), asked.request_id.as_str()), ("execute", ""));
        assert_eq!(asked.timeout, None);
        let told = Told::read(r#"{"Success":true,"data":null,"status":"fine"}"#).unwrap();
        assert!(told.success && told.status == 0);
        assert_eq!(told.data.map(RawValue::get), Some("null"));
        for text in [r#"{"success":"yes"}"#, r#"{"request_id":5}"#, "{", "7"] {
            assert!(Told::read(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_message_panics(message in proptest::collection::vec(any::<u8>(), 0..60)) {
            let text = text(&message);
            let _ = (Asked::read(&text), Told::read(&text));
        }

        #[test]
        fn messages_that_were_mutated_panic_nothing(
            at in any::<proptest::sample::Index>(),
            byte in any::<u8>(),
        ) {
            for message in [
                r#"{"type":"execute","request_id":"r-7","data":{"net":10},"headers":{"a":"b"},"timeout_ms":1500}"#,
                r#"{"type":"execute","request_id":"r","success":true,"data":1,"metadata":{"a":"b"},"status":429,"retry_after_ms":99}"#,
            ] {
                let mut bytes = message.as_bytes().to_vec();
                let at = at.index(bytes.len());
                bytes[at] = byte;
                let text = text(&bytes);
                let _ = (Asked::read(&text), Told::read(&text));
            }
        }
    }
}
