use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, value::MapAccessDeserializer},
};
use serde_json::Value;

use super::{
    check::{EndpointCheckConfig, LocalityConfig},
    masked::shown_address,
    section::reads_section,
};
use crate::{
    endpoint::{Endpoint, Locality, Status, without_user},
    error::{Error, Kind},
};

/// One of the `endpoints` of a plugin: an address, or an object with more than that.
///
/// # Example
/// ```
/// use tower_upstream::config::EndpointConfig;
///
/// let here: EndpointConfig = serde_json::from_str("\"http://10.0.0.1:8080\"")?;
/// let there: EndpointConfig =
///     serde_json::from_str(r#"{"address": "http://10.0.0.2:8080", "id": "tax-2", "weight": 3}"#)?;
/// assert_eq!((here.weight, there.endpoint()?.key()), (None, "tax-2"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct EndpointConfig {
    /// Address; see [`Address`](crate::endpoint::Address).
    #[serde(serialize_with = "super::masked::address")]
    pub address: String,
    /// Key, which stays while everything else may change. Default: the address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Share of the load, relative to the other endpoints. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Tier: the lowest number comes first. (Of plugins in a group, the greatest `priority` does.)
    /// Default: 0.
    #[serde(alias = "priority")]
    pub tier: u32,
    /// Tags. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Metadata. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Health, as whatever lists the endpoints knows it: `passing`, `warning`, `critical` or `unknown`, or in the
    /// words of plugins `healthy`, `degraded` or `unhealthy`. Default: unknown.
    #[serde(with = "super::status", skip_serializing_if = "super::status::is_unknown")]
    pub status: Status,
    /// Where it is. Default: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<LocalityConfig>,
    /// What differs from the `health_check` of the plugin. Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check: Option<EndpointCheckConfig>,
}

impl EndpointConfig {
    /// Creates one of which only the address is known.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), ..Self::default() }
    }

    setters! {
        with_id: id = impl Into<String>;
        with_weight: weight = impl Into<Option<u32>>;
        with_tier: tier = u32;
        with_status: status = Status;
        with_locality: locality = impl Into<Option<LocalityConfig>>;
        with_health_check: health_check = impl Into<Option<EndpointCheckConfig>>;
    }

    /// Adds one of the [`tags`](Self::tags).
    #[must_use]
    pub fn with_tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Adds one of the [`metadata`](Self::metadata), or replaces its value.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Returns the endpoint.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] if the address or the check cannot be used.
    pub fn endpoint(&self) -> Result<Endpoint, Error> {
        let LocalityConfig { region, zone, sub_zone } = self.locality.clone().unwrap_or_default();
        let mut endpoint = Endpoint::new(&self.address)?
            .with_weight(self.weight.unwrap_or(1))
            .with_priority(self.tier)
            .with_status(self.status)
            .with_locality(Locality { region, zone, sub_zone });
        if !self.id.is_empty() {
            endpoint = endpoint.with_key(self.id.as_str());
        }
        if let Some(check) = &self.health_check {
            endpoint = endpoint.with_check(check.check()?);
        }
        endpoint = self.tags.iter().fold(endpoint, Endpoint::with_tag);
        let metadata = self.metadata.iter();
        Ok(metadata.fold(endpoint, |endpoint, (key, value)| endpoint.with_metadata(key, value)))
    }
}

impl<T: Into<String>> From<T> for EndpointConfig {
    fn from(address: T) -> Self {
        Self::new(address)
    }
}

/// An address alone is text.
#[cfg(not(doc))]
impl Serialize for EndpointConfig {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self == Self::new(&*self.address) {
            return serializer.serialize_str(&shown_address(&self.address));
        }
        Self::serialize(self, serializer)
    }
}

#[cfg(not(doc))]
impl<'de> Deserialize<'de> for EndpointConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = EndpointConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address, or an object with an `address`")
            }

            fn visit_str<E: de::Error>(self, address: &str) -> Result<EndpointConfig, E> {
                Ok(EndpointConfig::new(address))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<EndpointConfig, A::Error> {
                EndpointConfig::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Leaves out a secret that was written into the address.
impl fmt::Debug for EndpointConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointConfig")
            .field("address", &without_user(&self.address))
            .field("id", &self.id)
            .field("weight", &self.weight)
            .field("tier", &self.tier)
            .finish_non_exhaustive()
    }
}

/// The `discover` section of a plugin: a backend that finds its endpoints, and what it is asked for.
///
/// The key of the backend holds its settings, by the names of its own config, which are those of the Go library:
///
/// | key | settings |
/// |---|---|
/// | `memory` | none: a source that was registered in the program |
/// | `file` | `path`, `interval`, `watch` |
/// | `http` | `seeds`, `token`, and those of [`FarpConfig`](crate::discover::FarpConfig), such as `poll_interval` |
/// | `dns`, `consul`, `etcd`, `eureka` | those of the config of the same name, each with the feature of that name |
/// | `kubernetes`, with the feature `kubernetes` | those of its config; the service is `NAME` or `NAMESPACE/NAME`; `service_type` of Go has no effect |
/// | `mdns`, with the feature `mdns` | those of its config, and `interface`; `domain`, `ttl` and `watch_interval` of Go have no effect |
///
/// Of what has no effect [`Config::notes`](super::Config::notes) tells, with its line.
///
/// # Example
/// ```
/// use tower_upstream::config::DiscoverConfig;
/// let discover: DiscoverConfig =
///     serde_json::from_str(r#"{"file": {"path": "/etc/tax/endpoints.json"}}"#)?;
/// assert_eq!(discover.backend()?.0, "file");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DiscoverConfig {
    /// Name that the backend is asked for. Default: the name of the plugin.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// Tags, all of which an endpoint must have. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The backend by its name, and its settings. Exactly one.
    #[serde(flatten, serialize_with = "super::masked::values")]
    pub backends: BTreeMap<String, Value>,
}

reads_section!(DiscoverConfig: BTreeMap<String, Value> as backends, service, tags);

impl DiscoverConfig {
    /// Creates a section for a backend.
    pub fn new(backend: impl Into<String>, settings: Value) -> Self {
        Self { backends: BTreeMap::from([(backend.into(), settings)]), ..Self::default() }
    }

    setters! {
        with_service: service = impl Into<String>;
        with_tags: tags = each impl Into<String>;
    }

    /// Returns the backend, and its settings.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] if there is none, or more than one.
    pub fn backend(&self) -> Result<(&str, &Value), Error> {
        let mut backends = self.backends.iter();
        match (backends.next(), backends.next()) {
            (Some((name, settings)), None) => Ok((name, settings)),
            (None, _) => Err(mistake("names no backend, such as `file` or `consul`".to_owned())),
            (Some(_), Some(_)) => {
                let names: Vec<_> = self.backends.keys().map(String::as_str).collect();
                Err(mistake(format!("names `{}`, but must name one", names.join("` and `"))))
            }
        }
    }
}

#[cold]
fn mistake(text: String) -> Error {
    Error::not_sent(Kind::InvalidConfig).message(format!("discover: it {text}"))
}

/// Leaves out the settings, which may hold a token.
impl fmt::Debug for DiscoverConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoverConfig")
            .field("service", &self.service)
            .field("tags", &self.tags)
            .field("backends", &self.backends.keys())
            .finish()
    }
}
