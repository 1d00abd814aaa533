//! A line of a watch.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::object::{EndpointSlice, Metadata, NamedSlice, Status};

#[derive(Debug)]
pub(super) enum Event {
    /// A slice is there, or is another than it was.
    Put(Box<EndpointSlice>),
    Deleted(Metadata),
    /// All events up to this version were told.
    Bookmark(Metadata),
    /// What was asked for is not kept any more.
    Expired,
    Failed(Status),
    /// Nothing that is known here.
    Other,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
}

/// What is read of an object that is gone, or of a bookmark.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    metadata: Metadata,
}

impl Event {
    /// Whether nothing comes after it.
    pub(super) fn is_end(&self) -> bool {
        matches!(self, Self::Expired | Self::Failed(_))
    }

    pub(super) fn read(line: &[u8]) -> Result<Self, serde_json::Error> {
        let Line { kind, object } = serde_json::from_slice(line)?;
        let object = match object {
            Some(object) => object.get(),
            // All that it could tell is the version.
            None if kind == "BOOKMARK" => "{}",
            None => "null",
        };
        let named = || serde_json::from_str::<Named>(object).map(|named| named.metadata);
        Ok(match &*kind {
            "ADDED" | "MODIFIED" => Self::Put(match serde_json::from_str(object) {
                Ok(slice) => slice,
                Err(_) => Box::new(serde_json::from_str::<NamedSlice>(object)?.into()),
            }),
            "DELETED" => Self::Deleted(named()?),
            "BOOKMARK" => Self::Bookmark(named()?),
            "ERROR" => match serde_json::from_str::<Status>(object)? {
                status if status.is_expired() => Self::Expired,
                status => Self::Failed(status),
            },
            _ => Self::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Event {
        Event::read(line.as_bytes()).unwrap()
    }

    #[test]
    fn each_type_is_read() {
        for kind in ["ADDED", "MODIFIED"] {
            let line = format!(r#"{{"type":"{kind}","object":{{"metadata":{{"name":"a"}}}}}}"#);
            let Event::Put(slice) = read(&line) else { panic!("{line}") };
            assert_eq!(slice.metadata.name.as_deref(), Some("a"));
        }
        let line =
            r#"{"object":{"metadata":{"name":"a","labels":null},"endpoints":7},"type":"DELETED"}"#;
        assert!(matches!(read(line), Event::Deleted(of) if of.name.as_deref() == Some("a")));
        let line = r#"{"type":"ADDED","object":{"metadata":{"name":"a"},"endpoints":7}}"#;
        let Event::Put(slice) = read(line) else { panic!("{line}") };
        assert_eq!((slice.metadata.name.as_deref(), slice.problem.is_some()), (Some("a"), true));
        let line = r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}"#;
        assert!(
            matches!(read(line), Event::Bookmark(of) if of.resource_version.as_deref() == Some("7"))
        );
        for line in [r#"{"type":"BOOKMARK"}"#, r#"{"type":"BOOKMARK","object":null}"#] {
            assert!(matches!(read(line), Event::Bookmark(of) if of.resource_version.is_none()));
        }
        assert!(matches!(read(r#"{"type":"LATER","object":null}"#), Event::Other));
        assert!(Event::read(br#"{"type":"DELETED","object":null}"#).is_err(), "of which?");
    }

    #[test]
    fn what_is_over_is_told_by_its_code_or_its_reason() {
        for object in [
            r#"{"code":410}"#,
            r#"{"reason":"Expired"}"#,
            r#"{"reason":"Gone"}"#,
            r#"{"code":504,"details":{"causes":[{"reason":"ResourceVersionTooLarge"}]}}"#,
            r#"{"code":504,"details":{"causes":[{"message":"other"},{"reason":"ResourceVersionTooLarge"}]}}"#,
        ] {
            let line = format!(r#"{{"type":"ERROR","object":{object}}}"#);
            assert!(matches!(read(&line), Event::Expired), "{line}");
        }
        let line = r#"{"type":"ERROR","object":{"code":500,"message":"etcdserver: no leader"}}"#;
        assert!(matches!(read(line), Event::Failed(_)));
        for line in ["", "{", "[]", r#"{"type":"ADDED"}"#, r#"{"type":"ADDED","object":[7]}"#] {
            assert!(Event::read(line.as_bytes()).is_err(), "{line}");
        }
    }
}
