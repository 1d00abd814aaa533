//! What is read of the objects of Kubernetes. What is not there and `null` are the same.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

/// `discovery.k8s.io/v1 EndpointSlice`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct EndpointSlice {
    pub(super) metadata: Metadata,
    pub(super) address_type: Option<String>,
    pub(super) ports: Option<Vec<Port>>,
    pub(super) endpoints: Option<Vec<Endpoint>>,
    /// Why the rest of it is not known.
    #[serde(skip)]
    pub(super) problem: Option<String>,
}

/// The same, of which at least the name can be read.
#[derive(Debug)]
pub(super) struct NamedSlice(pub(super) EndpointSlice);

impl<'de> Deserialize<'de> for NamedSlice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let error = match EndpointSlice::deserialize(&value) {
            Ok(slice) => return Ok(Self(slice)),
            Err(error) => error,
        };
        let metadata = Metadata::deserialize(&value["metadata"]).unwrap_or_default();
        match metadata.name {
            None => Err(D::Error::custom(error)),
            Some(_) => {
                let problem = Some(error.to_string());
                Ok(Self(EndpointSlice { metadata, problem, ..EndpointSlice::default() }))
            }
        }
    }
}

impl From<NamedSlice> for EndpointSlice {
    fn from(NamedSlice(slice): NamedSlice) -> Self {
        slice
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) resource_version: Option<String>,
    pub(super) labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Port {
    pub(super) name: Option<String>,
    pub(super) port: Option<i64>,
    pub(super) protocol: Option<String>,
    pub(super) app_protocol: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Endpoint {
    pub(super) addresses: Option<Vec<String>>,
    pub(super) conditions: Option<Conditions>,
    pub(super) node_name: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) hints: Option<Hints>,
    pub(super) target_ref: Option<TargetRef>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Conditions {
    pub(super) ready: Option<bool>,
    pub(super) serving: Option<bool>,
    pub(super) terminating: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Hints {
    pub(super) for_zones: Option<Vec<Zone>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Zone {
    pub(super) name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct TargetRef {
    pub(super) kind: Option<String>,
    pub(super) name: Option<String>,
    pub(super) uid: Option<String>,
}

/// A page of a list.
#[derive(Debug, Deserialize)]
#[serde(bound = "S: Deserialize<'de>")]
pub(super) struct SliceList<S> {
    #[serde(default)]
    pub(super) metadata: ListMetadata,
    #[serde(default = "Option::default")]
    pub(super) items: Option<Vec<S>>,
}

impl SliceList<EndpointSlice> {
    /// Reads it. A slice that cannot be read costs no other; that is looked for only if there is one, since it takes
    /// longer.
    pub(super) fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json).or_else(|_| {
            let SliceList::<NamedSlice> { metadata, items } = serde_json::from_slice(json)?;
            let items = items.map(|items| items.into_iter().map(EndpointSlice::from).collect());
            Ok(Self { metadata, items })
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ListMetadata {
    pub(super) resource_version: Option<String>,
    #[serde(rename = "continue")]
    pub(super) next: Option<String>,
}

/// `v1 Service`, as far as one may stand for a name elsewhere.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Service {
    pub(super) spec: Option<ServiceSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ServiceSpec {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) external_name: Option<String>,
    pub(super) ports: Option<Vec<Port>>,
}

/// `v1 Status`: what an answer is that is none.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) message: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) code: Option<i64>,
    pub(super) details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Details {
    pub(super) retry_after_seconds: Option<u64>,
    pub(super) causes: Option<Vec<Cause>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cause {
    pub(super) reason: Option<String>,
}

/// The longest that may be asked for before it is asked again.
const MAX_RETRY: u64 = 300;

impl Status {
    /// Whether the server does not know the version that was asked for: it is not kept any more, or is still to come,
    /// as after the data was replaced by older one. That is told as a timeout (504).
    pub(super) fn is_expired(&self) -> bool {
        let mut causes = self.details.iter().flat_map(|of| &of.causes).flatten();
        self.code == Some(410)
            || matches!(self.reason.as_deref(), Some("Expired" | "Gone"))
            || causes.any(|of| of.reason.as_deref() == Some("ResourceVersionTooLarge"))
    }

    /// When to ask again.
    pub(super) fn wait(&self) -> Option<Duration> {
        let wait = self.details.as_ref()?.retry_after_seconds?;
        Some(Duration::from_secs(wait.min(MAX_RETRY)))
    }
}
