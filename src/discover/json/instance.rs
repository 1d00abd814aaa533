//! An instance of a service as registries write it in JSON.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, value::MapAccessDeserializer},
};

use super::check::{Check, Unknown};
use crate::{
    endpoint::{Endpoint, Locality, Status},
    error::{Error, Kind},
};

/// An address as text, or an object with more than that.
#[derive(Debug)]
pub(super) struct Listed(pub(super) Endpoint);

/// `null` is the same as nothing: Go writes it for an empty list.
#[derive(Deserialize)]
pub(super) struct Written {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    version: Option<String>,
    address: Option<String>,
    port: Option<u16>,
    protocol: Option<String>,
    tags: Option<Vec<String>>,
    metadata: Option<BTreeMap<String, String>>,
    status: Option<Health>,
    weight: Option<u32>,
    priority: Option<u32>,
    locality: Option<Place>,
    draining: Option<bool>,
    health_check: Option<Check>,
    /// Whatever maintains a list says by that which instances there are.
    pub(super) last_heartbeat: Option<i64>,
    #[serde(flatten)]
    others: Unknown,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Health {
    #[serde(alias = "")]
    Unknown,
    Passing,
    Warning,
    Critical,
}

impl From<Status> for Health {
    fn from(status: Status) -> Self {
        match status {
            Status::Unknown => Self::Unknown,
            Status::Passing => Self::Passing,
            Status::Warning => Self::Warning,
            Status::Critical => Self::Critical,
        }
    }
}

#[derive(Deserialize, Serialize)]
pub(super) struct Place {
    region: Option<String>,
    zone: Option<String>,
    sub_zone: Option<String>,
    #[serde(flatten, skip_serializing)]
    others: Unknown,
}

impl Place {
    pub(super) fn of(locality: &Locality) -> Self {
        let Locality { region, zone, sub_zone } = locality;
        let [region, zone, sub_zone] = [region, zone, sub_zone].map(|part| Some(part.clone()));
        Self { region, zone, sub_zone, others: Unknown::default() }
    }
}

/// The same text, or nothing if it is empty.
fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

impl Written {
    /// A key that is not known, of the instance or of a part of it.
    fn unknown(&self) -> Option<&String> {
        let of_place = self.locality.as_ref().map(|place| &place.others);
        let of_check = self.health_check.as_ref().map(|check| &check.others);
        [Some(&self.others), of_place, of_check]
            .into_iter()
            .flatten()
            .flat_map(Unknown::keys)
            .next()
    }

    fn address(&self) -> Option<String> {
        let Self { address, port, protocol, .. } = self;
        let address = address.as_ref()?;
        let address = match port.filter(|port| *port != 0) {
            Some(port) if address.contains(':') && !address.starts_with('[') => {
                format!("[{address}]:{port}")
            }
            Some(port) => format!("{address}:{port}"),
            None => address.clone(),
        };
        Some(match protocol.as_deref().filter(|protocol| !protocol.is_empty()) {
            Some(protocol) => format!("{protocol}://{address}"),
            None => address,
        })
    }

    pub(super) fn endpoint(self) -> Result<Endpoint, Error> {
        let missing = || Error::not_sent(Kind::InvalidConfig).message("missing field `address`");
        let mut endpoint = Endpoint::new(self.address().ok_or_else(missing)?)?
            .with_weight(self.weight.unwrap_or(1))
            .with_priority(self.priority.unwrap_or(0))
            .with_draining(self.draining.unwrap_or(false))
            .with_status(match self.status {
                None | Some(Health::Unknown) => Status::Unknown,
                Some(Health::Passing) => Status::Passing,
                Some(Health::Warning) => Status::Warning,
                Some(Health::Critical) => Status::Critical,
            });
        if let Some(check) = self.health_check {
            endpoint = endpoint.with_check(check.read()?);
        }
        if let Some(Place { region, zone, sub_zone, .. }) = self.locality {
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

/// Strict, since people write such lists.
impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Listed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address, or an object with an `address`")
            }

            fn visit_str<E: de::Error>(self, address: &str) -> Result<Listed, E> {
                Endpoint::new(address).map(Listed).map_err(|error| E::custom(error.what()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Listed, A::Error> {
                let written = Written::deserialize(MapAccessDeserializer::new(map))?;
                if let Some(unknown) = written.unknown() {
                    return Err(de::Error::custom(format!("unknown field `{unknown}`")));
                }
                let endpoint = written.endpoint();
                endpoint.map(Listed).map_err(|error| de::Error::custom(error.what()))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::endpoint::EndpointCheck;

    fn read(text: &str) -> Endpoint {
        serde_json::from_str::<Listed>(text).unwrap().0
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
                "locality":{"region":"eu","zone":"a","sub_zone":"r"},"status":"critical",
                "health_check":{"path":"/ready","method":"POST","headers":{"a":"b"},"body":"{}",
                    "interval":"30s","timeout":"1s","expected":[200,204]}}"#,
        );
        let check = EndpointCheck::get("/ready").and_then(|of| of.with_method("POST")).unwrap();
        let check = check.with_header("a", "b").and_then(|of| of.with_body("{}")).unwrap();
        let (interval, timeout) = (Duration::from_secs(30), Duration::from_secs(1));
        let check = check.with_interval(interval).with_timeout(timeout).with_expected(200..=204);
        assert_eq!(endpoint.check(), Some(&check));
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
            (r#"{"address":"a:1","locality":{"zoen":"a"}}"#, "unknown field `zoen`"),
            (r#"{"address":"a:1","health_check":{"path":"/","tls":1}}"#, "unknown field `tls`"),
            (r#"{"port":1}"#, "missing field `address`"),
            (r#"{"address":"a"}"#, "neither a scheme nor a port"),
            (r#"{"address":"a:1","status":"fine"}"#, "unknown variant `fine`"),
            (r#"{"address":"a:1","weight":-1}"#, "invalid value"),
            (r#"{"address":"a","port":70000}"#, "invalid value"),
            (r#"{"address":"a:1","health_check":{"path":"ready"}}"#, "has to begin with `/`"),
            ("7", "an address, or an object"),
        ] {
            let error = serde_json::from_str::<Listed>(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
