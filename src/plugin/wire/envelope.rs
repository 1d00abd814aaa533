//! The JSON objects that hold a call and its answer.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// Most pairs of headers or metadata that are read. They cost more in memory than on the wire.
const MAX_PAIRS: usize = 1_024;

/// A call, in the order in which Go writes its members.
#[derive(Serialize)]
pub(crate) struct Question<'a, T> {
    pub(crate) data: &'a T,
    pub(crate) request_id: &'a str,
    pub(crate) timeout: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: &'a BTreeMap<String, String>,
}

/// An answer, in the order in which Go writes its members.
#[derive(Serialize)]
pub(crate) struct Answer<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<&'a T>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) error: &'a str,
    pub(crate) request_id: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: &'a BTreeMap<String, String>,
}

/// What `raw` holds. If that is `null`, or missing, it is the zero value of the type.
pub(crate) fn data<T: DeserializeOwned>(raw: Option<&RawValue>) -> Result<T, serde_json::Error> {
    match raw.filter(|raw| raw.get() != "null") {
        Some(raw) => serde_json::from_str(raw.get()),
        None => zero_value()
            .ok_or_else(|| de::Error::custom("it has no `data`, and the type has no zero value")),
    }
}

/// What Go would call the zero value of a type: the first of `null`, `{}`, `[]`, `""`, `0` and
/// `false` that it can be read from.
fn zero_value<T: DeserializeOwned>() -> Option<T> {
    ["null", "{}", "[]", "\"\"", "0", "false"]
        .into_iter()
        .find_map(|text| serde_json::from_str(text).ok())
}

/// Headers or metadata: texts by name, `null` for an empty one.
#[derive(Debug, Default)]
pub(crate) struct Pairs(pub(crate) BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor).map(Self)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of at most {MAX_PAIRS} texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = BTreeMap::new();
        while let Some((name, text)) = map.next_entry::<String, Option<String>>()? {
            pairs.insert(name, text.unwrap_or_default());
            if pairs.len() > MAX_PAIRS {
                return Err(de::Error::invalid_length(pairs.len(), &self));
            }
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Lenient {
        gross: u64,
    }

    #[derive(Debug, Deserialize)]
    struct Strict {
        #[allow(dead_code, reason = "only its absence matters")]
        gross: u64,
    }

    #[test]
    fn a_zero_value_is_found_for_what_has_one() {
        assert_eq!(zero_value::<Option<u8>>(), Some(None));
        assert_eq!(zero_value::<Lenient>(), Some(Lenient::default()));
        assert_eq!(zero_value::<Vec<u8>>(), Some(Vec::new()));
        assert_eq!(zero_value::<String>(), Some(String::new()));
        assert_eq!(zero_value::<f64>(), Some(0.0));
        assert_eq!(zero_value::<bool>(), Some(false));
        assert_eq!(zero_value::<()>(), Some(()));
        assert!(zero_value::<Strict>().is_none());
    }

    #[test]
    fn pairs_are_bounded() {
        let pairs = |n: usize| {
            let all: BTreeMap<String, u8> = (0..n).map(|i| (i.to_string(), 0)).collect();
            serde_json::to_string(&all).unwrap().replace(":0", ":\"x\"")
        };
        assert_eq!(serde_json::from_str::<Pairs>(&pairs(1_024)).unwrap().0.len(), 1_024);
        assert!(serde_json::from_str::<Pairs>(&pairs(1_025)).is_err());
        assert_eq!(serde_json::from_str::<Pairs>(r#"{"a":null}"#).unwrap().0["a"], "");
    }
}
