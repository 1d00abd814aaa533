//! An instance as Consul writes it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// An entry of `/v1/health/service/NAME`. `null` is the same as nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Entry {
    pub(super) node: Node,
    pub(super) service: Service,
    pub(super) checks: Option<Vec<Check>>,
    pub(super) aggregated_status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Node {
    #[serde(rename = "Node")]
    pub(super) name: String,
    pub(super) address: String,
    pub(super) datacenter: Option<String>,
    pub(super) meta: Option<BTreeMap<String, String>>,
    pub(super) locality: Option<Place>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Service {
    #[serde(rename = "ID")]
    pub(super) id: String,
    #[serde(rename = "Service")]
    pub(super) name: String,
    pub(super) kind: Option<String>,
    pub(super) tags: Option<Vec<String>>,
    pub(super) address: Option<String>,
    pub(super) tagged_addresses: Option<BTreeMap<String, TaggedAddress>>,
    /// Consul checks no range.
    port: i64,
    ports: Value,
    pub(super) meta: Option<BTreeMap<String, String>>,
    pub(super) weights: Option<Weights>,
    pub(super) locality: Option<Place>,
}

impl Service {
    /// The port. That of a service with several, which have names since Consul 1.22, is the default one.
    pub(super) fn port(&self) -> i64 {
        let named = self.ports.as_array().map(Vec::as_slice).unwrap_or_default();
        let default = named.iter().find(|of| of["Default"] == true).or(named.first());
        let several = || default.and_then(|of| of["Port"].as_i64());
        Some(self.port).filter(|port| *port != 0).or_else(several).unwrap_or_default()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct TaggedAddress {
    pub(super) address: String,
    pub(super) port: i64,
}

#[derive(Debug, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Weights {
    pub(super) passing: u32,
    pub(super) warning: u32,
}

impl Default for Weights {
    /// The server's own.
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Place {
    pub(super) region: String,
    pub(super) zone: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Check {
    #[serde(rename = "CheckID")]
    pub(super) id: String,
    pub(super) status: String,
}
