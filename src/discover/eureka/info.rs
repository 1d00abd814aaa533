//! An instance as Eureka writes it, and what it means to a balancer, as arithmetic.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{
    super::host::endpoint_at,
    lenient::{Port, Text, or_nothing, pairs},
    status::EurekaStatus,
};
use crate::{
    endpoint::{Endpoint, Locality},
    error::{Error, Kind, Quoted},
    wire::start,
};

/// Metadata that says what Eureka has no place for.
pub(super) const WEIGHT: &str = "weight";
pub(super) const TAGS: &str = "tags";
pub(super) const PROTOCOL: &str = "protocol";
pub(super) const REGION: &str = "region";
pub(super) const ZONE: &str = "zone";
pub(super) const SUB_ZONE: &str = "sub_zone";

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Info {
    instance_id: Text,
    #[serde(deserialize_with = "name")]
    pub(super) app: String,
    host_name: Text,
    ip_addr: Text,
    pub(super) status: Text,
    /// Written in either way, or in both.
    overridden_status: Text,
    overriddenstatus: Text,
    port: Port,
    secure_port: Port,
    vip_address: Text,
    secure_vip_address: Text,
    #[serde(deserialize_with = "or_nothing")]
    data_center_info: DataCenter,
    #[serde(deserialize_with = "pairs")]
    metadata: BTreeMap<String, String>,
    last_dirty_timestamp: Text,
    pub(super) action_type: Text,
    /// Why the rest of it is not known.
    #[serde(skip)]
    problem: Option<String>,
}

/// The same of an instance that cannot be read: what it is called, and what the server counts.
#[derive(Debug)]
pub(super) struct Unread(Info);

impl From<Unread> for Info {
    fn from(Unread(info): Unread) -> Self {
        info
    }
}

/// What counts of such an instance, each of which is read whatever it is.
const COUNTED: [&str; 5] = ["instanceId", "hostName", "app", "status", "actionType"];

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let problem = match Info::deserialize(&value) {
            Ok(info) => return Ok(Self(info)),
            Err(error) => Some(error.to_string()),
        };
        if let Some(all) = value.as_object_mut() {
            all.retain(|key, _| COUNTED.contains(&&**key));
        }
        let info = Info::deserialize(value).unwrap_or_default();
        Ok(Self(Info { problem, ..info }))
    }
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct DataCenter {
    #[serde(deserialize_with = "pairs")]
    metadata: BTreeMap<String, String>,
}

fn name<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Text::deserialize(deserializer)?.0.unwrap_or_default())
}

/// How addresses are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Prefer {
    pub(super) host_name: bool,
    pub(super) secure_port: bool,
}

impl Info {
    /// This instance, with the name of its application as it counts.
    pub(super) fn of_app(mut self, app: &str) -> Self {
        let own = if self.app.is_empty() { app } else { &self.app };
        self.app = own.to_uppercase();
        self
    }

    /// What the server calls it.
    pub(super) fn id(&self) -> &str {
        let of_center = || self.data_center_info.metadata.get("instance-id").map(String::as_str);
        let of_center = || of_center().filter(|id| !id.is_empty());
        self.instance_id.get().or_else(of_center).or(self.host_name.get()).unwrap_or_default()
    }

    /// When it was written, in milliseconds.
    pub(super) fn written_at(&self) -> Option<u64> {
        self.last_dirty_timestamp.number::<i64>()?.try_into().ok()
    }

    /// What the server counts.
    pub(super) fn counted(&self) -> &str {
        self.status.get().unwrap_or(EurekaStatus::Unknown.as_str())
    }

    /// The name of the service: the application, as its virtual address spells it.
    pub(super) fn service(&self) -> &str {
        self.vip_address.get().filter(|of| of.eq_ignore_ascii_case(&self.app)).unwrap_or(&self.app)
    }

    /// Whether it is one of those that a virtual address stands for.
    pub(super) fn is_at(&self, vip: &str, is_secure: bool) -> bool {
        let of = if is_secure { &self.secure_vip_address } else { &self.vip_address };
        of.get().is_some_and(|of| of.split(',').any(|of| of.trim().eq_ignore_ascii_case(vip)))
    }

    fn effective(&self) -> EurekaStatus {
        let read = |of: &Text| EurekaStatus::of(of.get());
        let overridden = match read(&self.overridden_status) {
            EurekaStatus::Unknown => read(&self.overriddenstatus),
            overridden => overridden,
        };
        read(&self.status).under(overridden)
    }

    /// The endpoint that it is. An instance that cannot be reached by any port is an error.
    pub(super) fn endpoint(&self, prefer: Prefer) -> Result<Endpoint, Error> {
        let unusable = |why: &str| {
            let shown = |text: &str| start(text, 64).escape_debug().to_string();
            let (id, app) = (shown(self.id()), shown(&self.app));
            let text = format!("the instance `{id}` of `{app}` {why}");
            Error::not_sent(Kind::InvalidConfig).message(text)
        };
        if let Some(problem) = &self.problem {
            return Err(unusable(&format!("cannot be read: {}", Quoted(problem))));
        }
        let hosts = [&self.ip_addr, &self.host_name];
        let first = usize::from(prefer.host_name);
        let host = hosts[first].get().or(hosts[1 - first].get());
        let host = host.ok_or_else(|| unusable("has no address"))?;
        if self.id().is_empty() {
            return Err(unusable("has no id"));
        }
        let plain = self.port.if_enabled(true);
        let secure = self.secure_port.if_enabled(false);
        let (port, is_secure) = match (plain, secure) {
            (Some(_), Some(port)) if prefer.secure_port => (port, true),
            (Some(port), _) => (port, false),
            (None, Some(port)) => (port, true),
            (None, None) => return Err(unusable("has no port that is enabled")),
        };
        let of_meta = |key: &str| self.metadata.get(key).filter(|of| !of.is_empty());
        let scheme = match of_meta(PROTOCOL) {
            Some(protocol) => protocol,
            None if is_secure => "https",
            None => "http",
        };
        let zone = of_meta(ZONE).or(self.data_center_info.metadata.get("availability-zone"));
        let text = |of: Option<&String>| of.cloned().unwrap_or_default();
        let (status, is_draining) = self.effective().meaning();
        let mut endpoint = endpoint_at(Some(scheme), host, Some(port), "")?
            .with_key(self.id())
            .with_status(status)
            .with_draining(is_draining)
            .with_locality(Locality {
                region: text(of_meta(REGION)),
                zone: text(zone),
                sub_zone: text(of_meta(SUB_ZONE)),
            });
        for (key, value) in &self.metadata {
            endpoint = match (&**key, value.trim().parse()) {
                (WEIGHT, Ok(weight)) => endpoint.with_weight(weight),
                (TAGS, _) => tags(value).fold(endpoint, Endpoint::with_tag),
                _ => endpoint.with_metadata(key, value),
            };
        }
        // Last: an instance does not say of itself that it is another service.
        Ok(endpoint.with_metadata("name", self.service()))
    }
}

fn tags(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|tag| !tag.is_empty())
}

#[cfg(test)]
#[path = "info_tests.rs"]
mod tests;
