//! The bytes of a list.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, de};

use super::{super::set::EndpointSet, instance::Listed};
use crate::{
    endpoint::Endpoint,
    error::{Error, Kind},
};

/// A list, or an object that has one.
#[derive(Default)]
struct List(Vec<Endpoint>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = List;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of endpoints, or an object with a list `endpoints`")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<List, A::Error> {
                let mut endpoints = Vec::new();
                while let Some(Listed(endpoint)) = list.next_element()? {
                    endpoints.push(endpoint);
                }
                Ok(List(endpoints))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<List, A::Error> {
                let mut list = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key != "endpoints" {
                        return Err(de::Error::unknown_field(&key, &["endpoints"]));
                    }
                    if list.is_some() {
                        return Err(de::Error::duplicate_field("endpoints"));
                    }
                    list = Some(map.next_value::<Option<Self::Value>>()?.unwrap_or_default());
                }
                list.ok_or_else(|| de::Error::missing_field("endpoints"))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl EndpointSet {
    /// Reads a list of endpoints in JSON, as [`File`](super::super::File) describes it.
    ///
    /// For a source of yours that gets its list in another way than from a file.
    ///
    /// # Errors
    /// `InvalidConfig` that tells the line of the mistake, or the key that two endpoints have.
    ///
    /// # Bounds
    /// Lists and objects may be nested 128 deep. Limit the length of the text yourself.
    ///
    /// ```
    /// use tower_upstream::discover::EndpointSet;
    ///
    /// let json = br#"["http://10.0.0.1:8080", {"address": "10.0.0.2", "port": 8080, "weight": 3}]"#;
    /// let set = EndpointSet::from_json(json, "1")?;
    /// assert_eq!(set.get("10.0.0.2:8080").map(|endpoint| endpoint.weight()), Some(3));
    ///
    /// let error = EndpointSet::from_json(b"[\n\"http://10.0.0.1:8080\"", "2").unwrap_err();
    /// assert!(error.to_string().contains("line 2"));
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn from_json(json: &[u8], revision: impl Into<Arc<str>>) -> Result<Self, Error> {
        let List(endpoints) = serde_json::from_slice(json).map_err(|error| {
            let at = format!("line {}, column {}", error.line(), error.column());
            Error::not_sent(Kind::InvalidConfig)
                .message(format!("cannot use the list of endpoints, {at}"))
                .caused_by(error)
        })?;
        Self::new(endpoints, revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<EndpointSet, Error> {
        EndpointSet::from_json(text, "")
    }

    #[test]
    fn a_list_may_stand_alone_or_in_an_object() {
        for text in [
            r#"["a:1", {"address": "b", "port": 2}]"#,
            r#"{"endpoints": ["a:1", {"address": "b", "port": 2}]}"#,
        ] {
            let endpoints = read(text.as_bytes()).unwrap();
            assert_eq!([endpoints[0].key(), endpoints[1].key()], ["a:1", "b:2"]);
        }
        for empty in ["[]", r#"{"endpoints":[]}"#, r#"{"endpoints":null}"#] {
            assert!(read(empty.as_bytes()).unwrap().is_empty());
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (text, line, what) in [
            ("", 1, "EOF"),
            ("[\n\"a:1\",\n\"b\"]", 3, "neither a scheme nor a port"),
            ("[\n\"a:1\",\n{\"address\": \"c:1\",\n\"wieght\": 3}]", 4, "wieght"),
            ("[\"a:1\"\n", 2, "EOF"),
            ("{\n\"endpoint\": []}", 2, "unknown field `endpoint`"),
            ("{}", 1, "missing field"),
            ("[\"a:1\"]\n]", 2, "trailing"),
            ("{\"endpoints\": [],\n\"endpoints\": []}", 2, "duplicate"),
        ] {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line},")) && error.contains(what), "{error}");
        }
    }
}
