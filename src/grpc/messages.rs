//! The messages that are not of the user: `grpc.health.v1`, and what a plugin in Protocol Buffers tells of
//! itself. Written as `prost-build` would generate them.

use std::collections::BTreeMap;

use crate::plugin::{HealthStatus, PluginInfo, PluginStatus};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    pub(crate) service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    pub(crate) status: i32,
}

pub(crate) const SERVING: i32 = 1;
pub(crate) const NOT_SERVING: i32 = 2;
pub(crate) const SERVICE_UNKNOWN: i32 = 3;

impl HealthCheckResponse {
    /// Why it is not healthy.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        match self.status {
            SERVING => None,
            NOT_SERVING => Some("its status is NOT_SERVING"),
            SERVICE_UNKNOWN => Some("its status is SERVICE_UNKNOWN"),
            _ => Some("its status is UNKNOWN"),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Info {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(string, tag = "3")]
    description: String,
    #[prost(string, tag = "4")]
    author: String,
    #[prost(string, repeated, tag = "5")]
    capabilities: Vec<String>,
    #[prost(btree_map = "string, string", tag = "6")]
    metadata: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Health {
    /// By the numbers of the plugin manager.
    #[prost(int32, tag = "1")]
    status: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

impl From<&PluginInfo> for Info {
    fn from(info: &PluginInfo) -> Self {
        let PluginInfo { name, version, description, author, capabilities, metadata } =
            info.clone();
        Self { name, version, description, author, capabilities, metadata }
    }
}

impl From<Info> for PluginInfo {
    fn from(info: Info) -> Self {
        let Info { name, version, description, author, capabilities, metadata } = info;
        Self { name, version, description, author, capabilities, metadata }
    }
}

impl From<&HealthStatus> for Health {
    fn from(health: &HealthStatus) -> Self {
        let (message, metadata) = (health.message.clone(), health.metadata.clone());
        Self { status: health.status as i32, message, metadata }
    }
}

impl From<Health> for HealthStatus {
    fn from(health: Health) -> Self {
        let Health { status, message, metadata } = health;
        let told = Self::new(PluginStatus::from_number(status.into())).with_message(message);
        metadata.into_iter().fold(told, |told, (key, value)| told.with_metadata(key, value))
    }
}
