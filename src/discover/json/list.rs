//! The bytes of a list.

use std::{fmt, path::Path, sync::Arc};

use serde::{Deserialize, Deserializer, de};

use super::{super::set::EndpointSet, instance::Listed};
use crate::{
    endpoint::Endpoint,
    error::{BoxError, Error, Kind},
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
        let List(endpoints) = serde_json::from_slice(json)
            .map_err(|error| unusable(error.line(), error.column(), error))?;
        Self::new(endpoints, revision)
    }

    /// Reads a list of endpoints in YAML, as [`from_json`](Self::from_json) reads one in JSON.
    ///
    /// # Errors
    /// As those of `from_json`.
    ///
    /// # Bounds
    /// At most 250,000 values, with those of aliases, nested 64 deep. Limit the length of the text yourself.
    ///
    /// ```
    /// use tower_upstream::discover::EndpointSet;
    ///
    /// let yaml = b"- http://10.0.0.1:8080\n- {address: 10.0.0.2, port: 8080, weight: 3}\n";
    /// assert_eq!(EndpointSet::from_yaml(yaml, "1")?.len(), 2);
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    #[cfg(feature = "yaml")]
    pub fn from_yaml(yaml: &[u8], revision: impl Into<Arc<str>>) -> Result<Self, Error> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_depth: 64, flow_nesting_limit: 64, max_nodes: MAX_NODES },
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_NODES },
            with_snippet: false,
        };
        let read = serde_saphyr::from_slice_with_options::<List>(yaml, options);
        let List(endpoints) = read.map_err(|error| {
            let at = error.location();
            let at = at.map_or((1, 1), |at| (at.line() as usize, at.column() as usize));
            let said = error.render();
            unusable(at.0, at.1, said.lines().next().unwrap_or_default())
        })?;
        Self::new(endpoints, revision)
    }

    /// Reads a list of endpoints in TOML, which is that of `endpoints` in a table, as
    /// [`from_json`](Self::from_json) reads one in JSON.
    ///
    /// # Errors
    /// As those of `from_json`.
    ///
    /// # Bounds
    /// Limit the length of the text yourself.
    ///
    /// ```
    /// use tower_upstream::discover::EndpointSet;
    ///
    /// let toml = br#"endpoints = ["http://10.0.0.1:8080", { address = "10.0.0.2", port = 8080 }]"#;
    /// assert_eq!(EndpointSet::from_toml(toml, "1")?.len(), 2);
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    #[cfg(feature = "config")]
    pub fn from_toml(toml: &[u8], revision: impl Into<Arc<str>>) -> Result<Self, Error> {
        let List(endpoints) = toml::from_slice(toml).map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| toml.get(..span.start)).unwrap_or_default();
            let line = 1 + before.iter().filter(|of| **of == b'\n').count();
            let column = 1 + before.iter().rev().take_while(|of| **of != b'\n').count();
            unusable(line, column, error.message())
        })?;
        Self::new(endpoints, revision)
    }

    /// Reads a list in the format that the extension of its file stands for.
    pub(in crate::discover) fn from_file(name: &Path, text: &[u8]) -> Result<Self, Error> {
        let extension = name.extension().and_then(|of| of.to_str()).unwrap_or_default();
        match &*extension.to_ascii_lowercase() {
            #[cfg(feature = "yaml")]
            "yaml" | "yml" => Self::from_yaml(text, "file"),
            #[cfg(feature = "config")]
            "toml" => Self::from_toml(text, "file"),
            _ => Self::from_json(text, "file"),
        }
    }
}

#[cfg(feature = "yaml")]
const MAX_NODES: usize = 250_000;

fn unusable(line: usize, column: usize, why: impl Into<BoxError>) -> Error {
    let text = format!("cannot use the list of endpoints, line {line}, column {column}");
    Error::not_sent(Kind::InvalidConfig).message(text).caused_by(why)
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

    #[cfg(feature = "config")]
    #[test]
    fn a_list_may_be_of_another_format() {
        use std::path::Path;

        let json = r#"{"endpoints":["a:1",{"address":"b","port":2,"weight":3,"tags":["v2"],"metadata":{"x":"y"}}]}"#;
        let toml = "[[endpoints]]\naddress = \"a:1\"\n\n[[endpoints]]\naddress = \"b\"\nport = 2\n\
                    weight = 3\ntags = [\"v2\"]\nmetadata.x = \"y\"\n";
        let read =
            |name: &str, text: &str| EndpointSet::from_file(Path::new(name), text.as_bytes());
        let set = read("list", json).unwrap();
        assert_eq!(*read("list.TOML", toml).unwrap(), *set);
        let error = read("list.toml", "\nendpoints = [\n\"a:1\",\n7]").unwrap_err().to_string();
        assert!(error.contains("line 4,") && error.contains("an address, or an object"), "{error}");
        assert!(read("list.toml", json).is_err());
        #[cfg(feature = "yaml")]
        {
            let yaml = "endpoints:\n- a:1\n- address: b\n  port: 2\n  weight: 3\n  tags: [v2]\n  metadata: {x: y}\n";
            assert_eq!(*read("list.yml", yaml).unwrap(), *set);
            assert_eq!(*read("list.yaml", json).unwrap(), *set);
            let error = read("list.yaml", "- a:1\n- b:1\n- 7\n").unwrap_err().to_string();
            assert!(
                error.contains("line 3,") && error.contains("an address, or an object"),
                "{error}"
            );
            let deep = "[".repeat(100);
            assert!(read("list.yaml", &deep).is_err());
            // Aliases of aliases, which would be a billion of addresses.
            let mut bomb = "- &a0 [x:1]\n".to_owned();
            for n in 1..10 {
                let of = vec![format!("*a{}", n - 1); 10].join(",");
                bomb.push_str(&format!("- &a{n} [{of}]\n"));
            }
            assert!(read("list.yaml", &bomb).is_err());
        }
    }
}
