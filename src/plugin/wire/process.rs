//! The lines between a host and a plugin that is its child: what the host asks, and what is answered.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::value::RawValue;

use super::{
    envelope::Pairs,
    json::{members, to_json, value, write_json},
};
use crate::time;

/// A question, in the order in which Go writes its members.
#[derive(Serialize)]
pub(crate) struct LineQuestion<'a, T> {
    pub(crate) id: &'a str,
    pub(crate) method: &'a str,
    pub(crate) payload: Option<&'a T>,
    pub(crate) context: LineContext<'a>,
}

#[derive(Serialize)]
pub(crate) struct LineContext<'a> {
    pub(crate) request_id: &'a str,
    /// In nanoseconds.
    pub(crate) timeout: u64,
    pub(crate) max_retries: u32,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: &'a BTreeMap<String, String>,
}

/// An answer, in the order in which Go reads its members; what Go does not know comes last.
#[derive(Serialize)]
pub(crate) struct LineAnswer<'a, T> {
    pub(crate) id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<&'a T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: &'a BTreeMap<String, String>,
    /// What it would be over HTTP, unless 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after_ms: Option<u64>,
}

/// Makes a line of a question or an answer.
pub(crate) fn line<T: Serialize>(of: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = Vec::with_capacity(512);
    write_json(of, &mut text)?;
    // Of JSON that was written elsewhere: within a string it would be escaped.
    if text.contains(&b'\n') {
        text.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
    }
    text.push(b'\n');
    Ok(text)
}

/// The line of a question under another id. Its `request_id` stays.
pub(crate) fn with_id(line: &[u8], id: &str, other: &str) -> Vec<u8> {
    let quoted = |id: &str| to_json(id).unwrap_or_default();
    let mut text = b"{\"id\":".to_vec();
    let rest = line.get(text.len() + quoted(id).len()..).unwrap_or_default();
    text.extend(quoted(other));
    text.extend_from_slice(rest);
    text
}

/// A question that was read.
#[derive(Debug)]
pub(crate) struct LineAsked<'a> {
    pub(crate) id: String,
    pub(crate) method: String,
    pub(crate) payload: Option<&'a RawValue>,
    pub(crate) request_id: String,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_retries: Option<u32>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl<'a> LineAsked<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Self, serde_json::Error> {
        let [id, method, payload, context] = members(text, ["id", "method", "payload", "context"])?;
        let [request_id, timeout, max_retries, headers, metadata] = members(
            context.map_or("null", RawValue::get),
            ["request_id", "timeout", "max_retries", "headers", "metadata"],
        )?;
        let nanos = u64::try_from(value::<i64>(timeout)?).unwrap_or_default();
        let max_retries: i64 = value(max_retries)?;
        Ok(Self {
            id: value(id)?,
            method: value(method)?,
            payload,
            request_id: value(request_id)?,
            timeout: Some(Duration::from_nanos(nanos)).filter(|timeout| !timeout.is_zero()),
            max_retries: u32::try_from(max_retries).ok().filter(|retries| *retries > 0),
            headers: value::<Pairs>(headers)?.0,
            metadata: value::<Pairs>(metadata)?.0,
        })
    }
}

/// An answer that was read.
#[derive(Debug)]
pub(crate) struct LineTold<'a> {
    pub(crate) result: Option<&'a RawValue>,
    pub(crate) error: Option<Cow<'a, str>>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
}

impl<'a> LineTold<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Self, serde_json::Error> {
        let [result, error, metadata, status, retry_after] =
            members(text, ["result", "error", "metadata", "status", "retry_after_ms"])?;
        let wait: Option<u64> = value(retry_after).unwrap_or_default();
        Ok(Self {
            result,
            error: error.and_then(said),
            metadata: value::<Pairs>(metadata)?.0,
            // Of another plugin these may mean anything.
            status: value(status).unwrap_or_default(),
            retry_after: wait.map(|wait| Duration::from_millis(wait).min(time::FAR)),
        })
    }
}

/// An answer with a result and nothing but metadata beside it, each under its usual name: read in one pass.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound = "Res: DeserializeOwned")]
pub(crate) struct PlainLine<Res> {
    #[serde(rename = "id")]
    _id: IgnoredAny,
    pub(crate) result: Res,
    #[serde(default)]
    pub(crate) metadata: Pairs,
}

impl<Res: DeserializeOwned> PlainLine<Res> {
    /// What follows the object is not looked at.
    pub(crate) fn read(line: &[u8]) -> Option<Self> {
        Self::deserialize(&mut serde_json::Deserializer::from_slice(line)).ok()
    }
}

/// Whatever is no `null` is an error; what is no text is told as it is written.
fn said(error: &RawValue) -> Option<Cow<'_, str>> {
    match error.get() {
        "null" => None,
        text => Some(serde_json::from_str(text).map_or(Cow::Borrowed(text), Cow::<str>::Owned)),
    }
}

/// To which question a line is the answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Addressee {
    Id(String),
    /// It is an error without an id, so that of a question which could not be read.
    Unknown,
    /// It is no answer.
    Nobody,
}

/// Finds out whose answer a line is, without reading it. What looks like none is for the log.
pub(crate) fn addressee(text: &str) -> Addressee {
    let Ok([id, result, error]) = members(text, ["id", "result", "error"]) else {
        return Addressee::Nobody;
    };
    let is_answer = id.is_some() || result.is_some() || error.is_some();
    match value::<String>(id) {
        _ if !is_answer => Addressee::Nobody,
        Ok(id) if id.is_empty() && error.and_then(said).is_some() => Addressee::Unknown,
        Ok(id) => Addressee::Id(id),
        // A number, which none of ours is.
        Err(_) => Addressee::Id(id.map_or("", RawValue::get).to_owned()),
    }
}

/// The id of a line of which only the start is known, if that is where the id is.
pub(crate) fn id_at_start(start: &str) -> Option<String> {
    let rest = start.trim_start().strip_prefix('{')?.trim_start().strip_prefix("\"id\"")?;
    let rest = rest.trim_start().strip_prefix(':')?;
    serde_json::Deserializer::from_str(rest).into_iter::<String>().next()?.ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written<T: Serialize>(of: &T) -> String {
        String::from_utf8(line(of).unwrap()).unwrap()
    }

    #[test]
    fn what_is_written_is_what_go_writes() {
        let (none, headers) =
            (BTreeMap::new(), BTreeMap::from([("X-Tenant".to_owned(), "<blue>".to_owned())]));
        let context = LineContext {
            request_id: "r-1",
            timeout: 30_000_000_000,
            max_retries: 3,
            headers: &headers,
            metadata: &none,
        };
        let payload = RawValue::from_string("{\n\"net\":10\n}".to_owned()).unwrap();
        let question =
            LineQuestion { id: "r-1", method: "execute", payload: Some(&payload), context };
        let text = written(&question);
        assert_eq!(
            text,
            "{\"id\":\"r-1\",\"method\":\"execute\",\"payload\":{ \"net\":10 },\"context\":{\
             \"request_id\":\"r-1\",\"timeout\":30000000000,\"max_retries\":3,\"headers\":{\
             \"X-Tenant\":\"\\u003cblue\\u003e\"}}}\n"
        );
        let other = with_id(text.as_bytes(), "r-1", "r-1~2");
        assert_eq!(String::from_utf8(other).unwrap(), text.replacen("r-1", "r-1~2", 1));
        let asked = LineAsked::read(&text).unwrap();
        assert_eq!((asked.id.as_str(), asked.request_id.as_str()), ("r-1", "r-1"));
        assert_eq!((asked.timeout, asked.max_retries), (Some(Duration::from_secs(30)), Some(3)));
        assert_eq!(asked.headers["X-Tenant"], "<blue>");
        let answer = LineAnswer::<u8> {
            id: "r-2",
            result: None,
            error: Some("no rate table"),
            metadata: &none,
            status: None,
            retry_after_ms: None,
        };
        assert_eq!(written(&answer), "{\"id\":\"r-2\",\"error\":\"no rate table\"}\n");
    }

    #[test]
    fn any_error_but_null_is_one() {
        for (text, error) in [
            (r#"{"error":null,"result":5}"#, None),
            (r#"{"result":5}"#, None),
            (r#"{"Error":""}"#, Some("")),
            (r#"{"error":"a\"b"}"#, Some("a\"b")),
            (r#"{"error":{"code":7}}"#, Some(r#"{"code":7}"#)),
        ] {
            assert_eq!(LineTold::read(text).unwrap().error.as_deref(), error, "{text}");
        }
    }

    #[test]
    fn what_is_no_answer_is_for_the_log() {
        let id = |id: &str| Addressee::Id(id.to_owned());
        for (text, expected) in [
            (r#"{"id":"r-1","result":{}}"#, id("r-1")),
            (r#"{"ID":"r-1"}"#, id("r-1")),
            (r#"{"result":5}"#, id("")),
            (r#"{"id":7,"result":5}"#, id("7")),
            (r#"{"error":"x"}"#, Addressee::Unknown),
            (r#"{"id":null,"error":"x"}"#, Addressee::Unknown),
            (r#"{"level":"info","msg":"started"}"#, Addressee::Nobody),
            ("null", Addressee::Nobody),
            ("started", Addressee::Nobody),
            ("{\"id\":\"r", Addressee::Nobody),
            ("", Addressee::Nobody),
        ] {
            assert_eq!(addressee(text), expected, "{text}");
        }
        for (start, expected) in [
            (r#"{"id":"r-1","result":"xxx"#, Some("r-1")),
            (r#" { "id" : "r\u002d1" , "#, Some("r-1")),
            (r#"{"id":"r-"#, None),
            (r#"{"result":"xxx"#, None),
            (r#"{"id":7,"#, None),
        ] {
            assert_eq!(id_at_start(start).as_deref(), expected, "{start}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(text in "\\PC{0,60}|[{}\":,a-z0-9]{0,60}") {
            let _ = (addressee(&text), id_at_start(&text));
            let _ = (LineAsked::read(&text), LineTold::read(&text));
        }
    }
}
