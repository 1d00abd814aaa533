//! Endpoints as the Go failover manager lists them.

use serde_json::Value;

use super::{
    check::EndpointCheckConfig,
    folded::{Read, Setting, all, each, mistake},
    place::EndpointConfig,
    plugin::PluginConfig,
};
use crate::{config::value::Path, endpoint::Status};

const KEYS: [&str; 11] = [
    "id",
    "name",
    "address",
    "port",
    "protocol",
    "health",
    "health_check",
    "weight",
    "priority",
    "tags",
    "metadata",
];

const CHECK: [&str; 6] = ["path", "interval", "timeout", "method", "headers", "body"];

/// What that library has counted of an endpoint, and what it knows of it beside.
const COUNTED: [&str; 6] =
    ["lastcheck", "responsetime", "failures", "successes", "createdat", "updatedat"];

/// A plugin with those endpoints, over the transport of the first.
pub(super) fn plugin(name: String, endpoints: Vec<EndpointConfig>) -> PluginConfig {
    let first = endpoints.first().and_then(|first| first.address.split_once("://"));
    let transport = match first {
        Some(("https", _)) => "https",
        Some(("grpc", _)) => "grpc",
        _ => "http",
    };
    let name = if name.is_empty() { "failover".to_owned() } else { name };
    PluginConfig::new(name, transport).with_endpoints(endpoints)
}

/// The endpoints of a list.
pub(super) fn listed(of: &Setting<'_>) -> Read<Vec<EndpointConfig>> {
    let Some(values) = of.value.as_array() else {
        return Err(mistake(format!("`{}` must be a list", of.path)));
    };
    let mut listed = Vec::with_capacity(values.len());
    all(values.iter().enumerate().map(|(index, value)| {
        listed.push(endpoint(&of.path.index(index), value)?);
        Ok(())
    }))?;
    Ok(listed)
}

fn endpoint(path: &Path<'_>, value: &Value) -> Read<EndpointConfig> {
    let mut endpoint = EndpointConfig::default();
    let (mut host, mut port, mut protocol) = (String::new(), None, String::new());
    each(path, value, |setting| {
        match &*setting.name {
            "id" => endpoint.id = setting.read()?,
            "address" => host = setting.read()?,
            "port" => port = Some(setting.read::<u16>()?).filter(|port| *port != 0),
            "protocol" => protocol = setting.read()?,
            "health" => endpoint.status = status(setting)?,
            "healthcheck" => endpoint.health_check = Some(check(setting)?),
            "weight" => endpoint.weight = Some(setting.read()?),
            "priority" => endpoint.tier = setting.read()?,
            "tags" => endpoint.tags = setting.read()?,
            "metadata" => endpoint.metadata = setting.read()?,
            "name" => {}
            counted if COUNTED.contains(&counted) => {}
            _ => return Err(setting.unknown(&KEYS)),
        }
        Ok(())
    })?;
    if host.is_empty() {
        return Err(mistake(format!("`{path}` needs an `address`, such as `10.0.0.1`")));
    }
    let protocol = if protocol.is_empty() { "http" } else { &protocol };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    endpoint.address = format!("{protocol}://{host}{port}");
    Ok(endpoint)
}

/// How it is checked, by the names of the documentation of that library.
fn check(of: &Setting<'_>) -> Read<EndpointCheckConfig> {
    let mut check = EndpointCheckConfig::default();
    each(&of.path, of.value, |setting| {
        match &*setting.name {
            "path" => check.path = setting.read()?,
            "interval" => check.interval = Some(setting.time()?),
            "timeout" => check.timeout = Some(setting.time()?),
            "method" => check.method = setting.read()?,
            "headers" => check.headers = setting.read()?,
            "body" => check.body = setting.read()?,
            _ => return Err(setting.unknown(&CHECK)),
        }
        Ok(())
    })?;
    check.validate().map_err(|error| mistake(format!("`{}`: {}", of.path, error.what())))?;
    Ok(check)
}

/// By the numbers of that library, which are others than those of plugins.
fn status(of: &Setting<'_>) -> Read<Status> {
    match (of.value.as_str(), of.value.as_u64()) {
        (Some("unknown" | ""), _) | (_, Some(0)) => Ok(Status::Unknown),
        (Some("healthy"), _) | (_, Some(1)) => Ok(Status::Passing),
        (Some("unhealthy"), _) | (_, Some(2)) => Ok(Status::Critical),
        (Some("degraded"), _) | (_, Some(3)) => Ok(Status::Warning),
        _ => Err(mistake(format!(
            "`{}` must be `healthy`, `unhealthy`, `degraded` or `unknown`",
            of.path
        ))),
    }
}
