//! An instance of a service as registries write it in JSON.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};

use crate::endpoint::{Endpoint, Locality, Status};

/// An address as text, or an object with more than that.
#[derive(Debug)]
pub(super) struct Instance(pub(super) Endpoint);

/// `null` is the same as nothing: Go writes it for an empty list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: Option<String>,
    name: Option<String>,
    version: Option<String>,
    address: String,
    port: Option<u16>,
    protocol: Option<String>,
    tags: Option<Vec<String>>,
    metadata: Option<BTreeMap<String, String>>,
    status: Option<Health>,
    weight: Option<u32>,
    priority: Option<u32>,
    locality: Option<Place>,
    draining: Option<bool>,
    /// Whatever maintains a list says by that which instances there are.
    #[serde(rename = "last_heartbeat")]
    _last_heartbeat: Option<i64>,
}

/// Those of [`Written`].
#[cfg(feature = "etcd")]
const KEYS: [&str; 14] = [
    "id",
    "name",
    "version",
    "address",
    "port",
    "protocol",
    "tags",
    "metadata",
    "status",
    "weight",
    "priority",
    "locality",
    "draining",
    "last_heartbeat",
];

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    #[serde(alias = "")]
    Unknown,
    Passing,
    Warning,
    Critical,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    region: Option<String>,
    zone: Option<String>,
    sub_zone: Option<String>,
}

/// The same text, or nothing if it is empty.
fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

impl Written {
    fn address(&self) -> String {
        let Self { address, port, protocol, .. } = self;
        let address = match port.filter(|port| *port != 0) {
            Some(port) if address.contains(':') && !address.starts_with('[') => {
                format!("[{address}]:{port}")
            }
            Some(port) => format!("{address}:{port}"),
            None => address.clone(),
        };
        match protocol.as_deref().filter(|protocol| !protocol.is_empty()) {
            Some(protocol) => format!("{protocol}://{address}"),
            None => address,
        }
    }

    fn endpoint(self) -> Result<Endpoint, crate::error::Error> {
        let mut endpoint = Endpoint::new(self.address())?
            .with_weight(self.weight.unwrap_or(1))
            .with_priority(self.priority.unwrap_or(0))
            .with_draining(self.draining.unwrap_or(false))
            .with_status(match self.status {
                None | Some(Health::Unknown) => Status::Unknown,
                Some(Health::Passing) => Status::Passing,
                Some(Health::Warning) => Status::Warning,
                Some(Health::Critical) => Status::Critical,
            });
        if let Some(Place { region, zone, sub_zone }) = self.locality {
            let [region, zone, sub_zone] = [region, zone, sub_zone].map(Option::unwrap_or_default);
            endpoint = endpoint.with_locality(Locality { region, zone, sub_zone });
        }
        // What is written as metadata comes last, so that it is what stays.
        let of_service = [("name", filled(self.name)), ("version", filled(self.version))];
        let of_service =
            of_service.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        for (key, value) in of_service.chain(self.metadata.unwrap_or_default()) {
            endpoint = endpoint.with_metadata(key, value);
        }
        endpoint = self.tags.unwrap_or_default().into_iter().fold(endpoint, Endpoint::with_tag);
        Ok(match filled(self.id) {
            Some(id) => endpoint.with_key(id),
            None => endpoint,
        })
    }
}

/// An instance in a registry, which may have keys that are not known here. Without an `id` it has `id`.
#[cfg(feature = "etcd")]
pub(in crate::discover) fn instance(
    json: &[u8],
    id: &str,
) -> Result<Endpoint, crate::error::BoxError> {
    let mut known: serde_json::Map<_, _> = serde_json::from_slice(json)?;
    known.retain(|key, _| KEYS.contains(&key.as_str()));
    let mut written = Written::deserialize(serde_json::Value::Object(known))?;
    written.id = filled(written.id).or_else(|| Some(id.to_owned()));
    Ok(written.endpoint()?)
}

impl<'de> Deserialize<'de> for Instance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Instance;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address, or an object with an `address`")
            }

            fn visit_str<E: de::Error>(self, address: &str) -> Result<Instance, E> {
                Endpoint::new(address).map(Instance).map_err(|error| E::custom(error.what()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Instance, A::Error> {
                let written = Written::deserialize(MapAccessDeserializer::new(map))?;
                let endpoint = written.endpoint();
                endpoint.map(Instance).map_err(|error| de::Error::custom(error.what()))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Endpoint {
        serde_json::from_str::<Instance>(text).unwrap().0
    }

    #[test]
    fn an_instance_is_read_as_go_writes_it() {
        let endpoint = read(
            r#"{"id":"tax-1","name":"tax","version":"2.3.0","address":"10.0.0.1","port":8080,
                "tags":["v2","eu"],"metadata":{"zone":"a","version":"3"},"status":"passing",
                "last_heartbeat":1700000000}"#,
        );
        let expected = Endpoint::new("10.0.0.1:8080").unwrap().with_key("tax-1").with_tag("v2");
        let expected = expected.with_tag("eu").with_status(Status::Passing);
        let metadata = [("name", "tax"), ("version", "3"), ("zone", "a")];
        let with = |of: Endpoint, (key, value): (&str, &str)| of.with_metadata(key, value);
        assert_eq!(endpoint, metadata.into_iter().fold(expected, with));
    }

    #[test]
    fn every_key_has_its_effect() {
        let endpoint = read(
            r#"{"address":"::1","port":8080,"protocol":"https","weight":3,"priority":2,"draining":true,
                "locality":{"region":"eu","zone":"a","sub_zone":"r"},"status":"critical"}"#,
        );
        assert_eq!(endpoint.address().as_str(), "https://[::1]:8080");
        assert_eq!((endpoint.weight(), endpoint.priority()), (3, 2));
        assert!(endpoint.is_draining() && endpoint.status() == Status::Critical);
        let Locality { region, zone, sub_zone } = endpoint.locality();
        assert_eq!([region, zone, sub_zone], ["eu", "a", "r"]);
        assert_eq!(read(r#"{"address":"x:1","status":"warning"}"#).status(), Status::Warning);
    }

    #[test]
    fn null_and_empty_are_the_same_as_nothing() {
        let empty = read(
            r#"{"id":"","name":"","version":"","address":"http://a:1","port":0,"tags":null,
                "metadata":null,"status":"","locality":null,"protocol":"","weight":null}"#,
        );
        assert_eq!(empty, read(r#""http://a:1""#));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, named) in [
            (r#"{"adress":"a:1"}"#, "unknown field `adress`"),
            (r#"{"port":1}"#, "missing field `address`"),
            (r#"{"address":"a"}"#, "neither a scheme nor a port"),
            (r#"{"address":"a:1","status":"fine"}"#, "unknown variant `fine`"),
            (r#"{"address":"a:1","weight":-1}"#, "invalid value"),
            (r#"{"address":"a","port":70000}"#, "invalid value"),
            ("7", "an address, or an object"),
        ] {
            let error = serde_json::from_str::<Instance>(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
