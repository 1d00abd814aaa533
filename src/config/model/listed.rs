//! Endpoints as the Go failover manager lists them.

use serde_json::Value;

use super::{
    check::EndpointCheckConfig,
    folded::{members, mistake, read, time, unknown},
    place::EndpointConfig,
    plugin::PluginConfig,
};
use crate::{endpoint::Status, error::Error};

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
pub(super) fn plugin(name: String, endpoints: &Value) -> Result<PluginConfig, Error> {
    let Some(endpoints) = endpoints.as_array() else {
        return Err(mistake("`endpoints` must be a list".to_owned()));
    };
    let listed = endpoints.iter().map(endpoint).collect::<Result<Vec<_>, _>>()?;
    let first = listed.first().and_then(|first| first.address.split_once("://"));
    let transport = match first {
        Some(("https", _)) => "https",
        Some(("grpc", _)) => "grpc",
        _ => "http",
    };
    let name = if name.is_empty() { "failover".to_owned() } else { name };
    Ok(PluginConfig::new(name, transport).with_endpoints(listed))
}

fn endpoint(value: &Value) -> Result<EndpointConfig, Error> {
    let mut endpoint = EndpointConfig::default();
    let (mut host, mut port, mut protocol) = (String::new(), None, String::new());
    for (key, value) in members("endpoints", value)? {
        match &*key {
            "id" => endpoint.id = read(&key, value)?,
            "address" => host = read(&key, value)?,
            "port" => port = Some(read::<u16>(&key, value)?).filter(|port| *port != 0),
            "protocol" => protocol = read(&key, value)?,
            "health" => endpoint.status = status(value)?,
            "healthcheck" => endpoint.health_check = check(value)?,
            "weight" => endpoint.weight = Some(read(&key, value)?),
            "priority" => endpoint.tier = read(&key, value)?,
            "tags" => endpoint.tags = read(&key, value)?,
            "metadata" => endpoint.metadata = read(&key, value)?,
            "name" => {}
            counted if COUNTED.contains(&counted) => {}
            _ => return Err(unknown(&key, &KEYS)),
        }
    }
    let protocol = if protocol.is_empty() { "http" } else { &protocol };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    endpoint.address = format!("{protocol}://{host}{port}");
    Ok(endpoint)
}

/// How it is checked, by the names of the documentation of that library.
fn check(value: &Value) -> Result<Option<EndpointCheckConfig>, Error> {
    if value.is_null() {
        return Ok(None);
    }
    let mut check = EndpointCheckConfig::default();
    for (key, value) in members("health_check", value)? {
        match &*key {
            "path" => check.path = read(&key, value)?,
            "interval" => check.interval = Some(time(&key, value)?),
            "timeout" => check.timeout = Some(time(&key, value)?),
            "method" => check.method = read(&key, value)?,
            "headers" => check.headers = read(&key, value)?,
            "body" => check.body = read(&key, value)?,
            _ => return Err(unknown(&key, &CHECK)),
        }
    }
    check.validate()?;
    Ok(Some(check))
}

/// By the numbers of that library, which are others than those of plugins.
fn status(value: &Value) -> Result<Status, Error> {
    match (value.as_str(), value.as_u64()) {
        (Some("unknown" | ""), _) | (_, Some(0)) => Ok(Status::Unknown),
        (Some("healthy"), _) | (_, Some(1)) => Ok(Status::Passing),
        (Some("unhealthy"), _) | (_, Some(2)) => Ok(Status::Critical),
        (Some("degraded"), _) | (_, Some(3)) => Ok(Status::Warning),
        _ => Err(mistake(
            "`health` must be `healthy`, `unhealthy`, `degraded` or `unknown`".to_owned(),
        )),
    }
}
