//! JSON as servers of Eureka write it, which were made for XML: a list of one is that one, and a number or a truth
//! value may be text.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, value::MapAccessDeserializer},
};

/// Text, a number or a truth value. `None` for anything else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text(pub(super) Option<String>);

impl Text {
    /// The text, or nothing if it is empty.
    pub(super) fn get(&self) -> Option<&str> {
        self.0.as_deref().filter(|text| !text.is_empty())
    }

    pub(super) fn is(&self, text: &str) -> bool {
        self.get().is_some_and(|of| of.eq_ignore_ascii_case(text))
    }

    pub(super) fn number<T: std::str::FromStr>(&self) -> Option<T> {
        self.get()?.trim().parse().ok()
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> de::Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(Some(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Text, E> {
        Ok(Text(Some(number.to_string())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Text, E> {
        Ok(Text(Some(number.to_string())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Text, E> {
        Ok(Text(Some(number.to_string())))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Text, E> {
        Ok(Text(Some(truth.to_string())))
    }

    fn visit_unit<E>(self) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Text, A::Error> {
        IgnoredAny::deserialize(MapAccessDeserializer::new(map)).map(|_| Text(None))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Text, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }
}

/// An object, or nothing, also in the way in which an empty element of XML is written.
pub(super) fn or_nothing<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    struct OrNothing<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de> + Default> de::Visitor<'de> for OrNothing<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }

        fn visit_unit<E>(self) -> Result<T, E> {
            Ok(T::default())
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            empty(text, &self).map(|()| T::default())
        }
    }

    deserializer.deserialize_any(OrNothing(PhantomData))
}

/// An element of XML without anything in it is written as an empty text.
fn empty<E: de::Error>(text: &str, expected: &dyn de::Expected) -> Result<(), E> {
    match text {
        "" => Ok(()),
        text => Err(E::invalid_type(de::Unexpected::Str(text), expected)),
    }
}

/// A list, the one thing that would be in it, or nothing.
pub(super) fn many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Many<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Many<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list, or one object")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = list.next_element()? {
                all.push(one);
            }
            Ok(all)
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
            Ok(vec![T::deserialize(MapAccessDeserializer::new(map))?])
        }

        fn visit_unit<E>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            empty(text, &self).map(|()| Vec::new())
        }
    }

    deserializer.deserialize_any(Many(PhantomData))
}

/// Pairs of text, without the name of a class of Java and what is no text.
pub(super) fn pairs<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let pairs: BTreeMap<String, Text> = or_nothing(deserializer)?;
    let pairs = pairs.into_iter().filter(|(key, _)| key != "@class");
    Ok(pairs.filter_map(|(key, value)| Some((key, value.0?))).collect())
}

/// `{"$": 8080, "@enabled": "true"}`, or the number alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) number: Option<u16>,
    /// `None`: it does not say.
    pub(super) is_enabled: Option<bool>,
}

impl Port {
    pub(super) fn if_enabled(&self, by_default: bool) -> Option<u16> {
        self.number.filter(|port| *port > 0 && self.is_enabled.unwrap_or(by_default))
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Port;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Port, E> {
                Ok(Port { number: number.try_into().ok(), is_enabled: None })
            }

            fn visit_str<E>(self, text: &str) -> Result<Port, E> {
                Ok(Port { number: text.trim().parse().ok(), is_enabled: None })
            }

            fn visit_unit<E>(self) -> Result<Port, E> {
                Ok(Port::default())
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Port, A::Error> {
                let mut port = Port::default();
                while let Some(key) = map.next_key::<String>()? {
                    let value: Text = map.next_value()?;
                    match &*key {
                        "$" => port.number = value.number(),
                        "@enabled" => port.is_enabled = value.get().map(|_| value.is("true")),
                        _ => {}
                    }
                }
                Ok(port)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_read_however_it_is_written() {
        for (json, number, is_enabled) in [
            (r#"{"$":8080,"@enabled":"true"}"#, Some(8080), Some(true)),
            (r#"{"$":"8080","@enabled":true}"#, Some(8080), Some(true)),
            (r#"{"@enabled":"false","$":443,"more":[{}]}"#, Some(443), Some(false)),
            (r#"{"$":8080}"#, Some(8080), None),
            ("8080", Some(8080), None),
            ("\" 8080 \"", Some(8080), None),
            ("null", None, None),
            ("99999", None, None),
            (r#"{"$":-1}"#, None, None),
        ] {
            let port: Port = serde_json::from_str(json).unwrap();
            assert_eq!(port, Port { number, is_enabled }, "{json}");
        }
    }

    #[test]
    fn one_is_a_list_of_one_and_what_is_no_text_is_nothing() {
        #[derive(Deserialize)]
        struct All {
            #[serde(deserialize_with = "many")]
            all: Vec<One>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct One {
            #[serde(deserialize_with = "pairs")]
            metadata: BTreeMap<String, String>,
        }
        for (json, count) in [
            (r#"{"all":[{},{}]}"#, 2),
            (r#"{"all":{}}"#, 1),
            (r#"{"all":[]}"#, 0),
            (r#"{"all":null}"#, 0),
            (r#"{"all":""}"#, 0),
        ] {
            assert_eq!(serde_json::from_str::<All>(json).unwrap().all.len(), count, "{json}");
        }
        assert!(serde_json::from_str::<All>(r#"{"all":"x"}"#).is_err());
        let json = r#"{"metadata":{"@class":"java.util.Map","a":1,"b":true,"c":"x","d":null,"e":[{"f":1}],"g":1.5}}"#;
        let one: One = serde_json::from_str(json).unwrap();
        let read: Vec<_> = one.metadata.iter().map(|(key, value)| (&**key, &**value)).collect();
        assert_eq!(read, [("a", "1"), ("b", "true"), ("c", "x"), ("g", "1.5")]);
        for json in [r#"{"metadata":null}"#, r#"{"metadata":""}"#, "{}"] {
            assert!(serde_json::from_str::<One>(json).unwrap().metadata.is_empty(), "{json}");
        }
        for json in [r#"{"metadata":"x"}"#, r#"{"metadata":["x"]}"#, r#"{"metadata":7}"#] {
            assert!(serde_json::from_str::<One>(json).is_err(), "{json}");
        }
    }
}
