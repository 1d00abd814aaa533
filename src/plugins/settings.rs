//! What the transports of this crate go by for one plugin: its sections, and its `options` over them.

#[cfg(all(feature = "process", unix))]
use std::collections::BTreeMap;

#[cfg(all(feature = "process", unix))]
use serde::Deserialize;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

#[cfg(feature = "grpc")]
use crate::transport::GrpcConfig;
#[cfg(all(feature = "process", unix))]
use crate::{auth::Secret, plugin::Handshake, transport::ProcessConfig};
use crate::{
    config::{PluginConfig, Sections, nearest::did_you_mean, rules::known_options},
    error::{Error, Kind},
    transport::{HttpConfig, SocketConfig},
};

pub(super) fn http(sections: &Sections) -> HttpConfig {
    let Sections { connection, health_check, .. } = sections;
    let config = match health_check.endpoint.as_deref() {
        None | Some("") => connection.clone(),
        Some(path) => connection.clone().with_health_path(path),
    };
    #[cfg(feature = "tls")]
    let config = {
        let tls = sections.auth.tls(config.tls.clone());
        config.with_tls(tls)
    };
    config
}

/// An option by another name, as Go's plugin manager has it, and the name here.
const ALIASES: [(&str, &str); 3] = [
    ("stream_sync", "output"),
    ("stream_sync_config", "output"),
    ("handshake_config", "handshake"),
];

/// Options of `exec` that are read apart: of Go, where they mean something else than those of the same name here.
const OF_EXEC: [&str; 3] = ["args", "env", "environment"];

/// The settings of a transport: `base`, and over it those `options` that are settings of its own.
fn with_options<T: Serialize + DeserializeOwned>(
    plugin: &PluginConfig,
    base: T,
) -> Result<T, Error> {
    let mut settings = serde_json::to_value(&base).map_err(|error| mistake("", error))?;
    let Some(known) = settings.as_object_mut() else { return Ok(base) };
    let mut last = "";
    for (name, value) in &plugin.options {
        let is_apart = plugin.transport == "exec" && OF_EXEC.contains(&&**name);
        if let Some(setting) = known.get_mut(ours(name)).filter(|_| !is_apart) {
            *setting = if name == "handshake_config" { of_go(value) } else { value.clone() };
            last = name;
        }
    }
    if last.is_empty() {
        Ok(base)
    } else {
        T::deserialize(settings).map_err(|of| mistake(last, of))
    }
}

fn ours(name: &str) -> &str {
    ALIASES.iter().find(|(go, _)| *go == name).map_or(name, |(_, ours)| ours)
}

/// Members by the names of Go, which declares none: `ProtocolVersion` in JSON, `protocolversion` in YAML.
fn of_go(value: &Value) -> Value {
    let Some(members) = value.as_object() else { return value.clone() };
    let members =
        members.iter().map(|(name, value)| match &*name.to_lowercase().replace('_', "") {
            "protocolversion" => {
                let number = value.as_str().and_then(|text| text.parse::<u32>().ok());
                ("protocol_version".to_owned(), number.map_or_else(|| value.clone(), Value::from))
            }
            "magiccookiekey" => ("magic_cookie_key".to_owned(), value.clone()),
            "magiccookievalue" => ("magic_cookie_value".to_owned(), value.clone()),
            _ => (name.clone(), value.clone()),
        });
    Value::Object(members.collect())
}

#[cold]
fn mistake(option: &str, error: serde_json::Error) -> Error {
    let dot = if option.is_empty() { "" } else { "." };
    Error::not_sent(Kind::InvalidConfig).message(format!("options{dot}{option}: {error}"))
}

/// What is said of options that its transport does not know.
pub(super) fn without_effect(plugin: &PluginConfig) -> Option<String> {
    if plugin.options.is_empty() {
        return None;
    }
    let known = known_options(&plugin.transport)?;
    let unknown: Vec<_> = plugin.options.keys().filter(|name| !known.contains(name)).collect();
    let first = *unknown.first()?;
    let hint = did_you_mean(first, &known).map(|hint| format!("; {hint}")).unwrap_or_default();
    let names: Vec<_> = unknown.iter().map(|name| format!("`options.{name}`")).collect();
    Some(format!(
        "without effect for the transport `{}`: {}{hint}",
        plugin.transport,
        names.join(", ")
    ))
}

pub(super) fn socket(plugin: &PluginConfig, sections: &Sections) -> Result<SocketConfig, Error> {
    let Sections { connection, auth, .. } = sections;
    let config = SocketConfig::default()
        .with_request_timeout(connection.request_timeout)
        .with_connect_timeout(connection.connect_timeout)
        .with_idle_timeout(connection.idle_timeout)
        .with_max_idle_connections(connection.max_idle_connections)
        .with_max_connections(connection.max_connections)
        .with_max_connection_age(connection.max_connection_age)
        .with_keep_alive(connection.keep_alive);
    let mut config =
        if plugin.transport == "unix" { with_options(plugin, config)? } else { config };
    config.allowed_uids.extend_from_slice(&connection.allowed_uids);
    config.allow_any_user |= connection.allow_any_user;
    let token = if auth.token.is_empty() { &auth.api_key } else { &auth.token };
    config.token = token.clone();
    Ok(config)
}

#[cfg(feature = "grpc")]
pub(super) fn grpc(plugin: &PluginConfig, sections: &Sections) -> Result<GrpcConfig, Error> {
    let Sections { connection, health_check, .. } = sections;
    let config = GrpcConfig::default()
        .with_request_timeout(connection.request_timeout)
        .with_connect_timeout(connection.connect_timeout)
        .with_idle_timeout(connection.idle_timeout)
        .with_max_connection_age(connection.max_connection_age)
        .with_health_service(health_check.endpoint.clone().unwrap_or_default());
    #[cfg(feature = "tls")]
    let config = config.with_tls(sections.auth.tls(connection.tls.clone()));
    if plugin.transport.starts_with("grpc") { with_options(plugin, config) } else { Ok(config) }
}

#[cfg(all(feature = "process", unix))]
pub(super) fn process(plugin: &PluginConfig, sections: &Sections) -> Result<ProcessConfig, Error> {
    let mut handshake = Handshake::default();
    handshake.plugin_name.clone_from(&plugin.name);
    if !plugin.version.is_empty() {
        handshake.plugin_version.clone_from(&plugin.version);
    }
    let mut config = ProcessConfig::default();
    if plugin.transport == "exec" {
        let (name, version) = (handshake.plugin_name.clone(), handshake.plugin_version.clone());
        config = with_options(plugin, config.with_handshake(handshake))?;
        // One that is replaced as a whole has not lost them.
        config.handshake.plugin_name = name;
        config.handshake.plugin_version = version;
    }
    let config = config
        .with_request_timeout(sections.connection.request_timeout)
        .with_work_dir(plugin.work_dir.as_str());
    let args = arguments(plugin)?;
    Ok(environment(plugin)?
        .into_iter()
        .fold(config.with_args(args), |config, (name, value)| config.with_env(name, value)))
}

/// Where Go has them as well: the first of these places that has some.
#[cfg(all(feature = "process", unix))]
fn arguments(plugin: &PluginConfig) -> Result<Vec<String>, Error> {
    if !plugin.args.is_empty() {
        return Ok(plugin.args.clone());
    }
    if let Some(args) = plugin.options.get("args") {
        return Vec::deserialize(args).map_err(|error| mistake("args", error));
    }
    let args = plugin.annotations.get("args").map_or("", String::as_str).split(',').map(str::trim);
    Ok(args.filter(|arg| !arg.is_empty()).map(str::to_owned).collect())
}

/// Where Go has variables as well; of those of one name the first counts.
#[cfg(all(feature = "process", unix))]
fn environment(plugin: &PluginConfig) -> Result<BTreeMap<String, Secret>, Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        List(Vec<String>),
        Map(BTreeMap<String, String>),
    }
    let mut all = plugin.env.clone();
    for option in ["env", "environment"] {
        let Some(value) = plugin.options.get(option) else { continue };
        let pairs: Vec<_> = match Either::deserialize(value).map_err(|of| mistake(option, of))? {
            Either::Map(map) => map.into_iter().collect(),
            Either::List(list) => list
                .iter()
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        };
        for (name, value) in pairs {
            all.entry(name).or_insert_with(|| value.into());
        }
    }
    for (name, value) in &plugin.annotations {
        if let Some(name) = name.strip_prefix("env_").filter(|_| !value.is_empty()) {
            all.entry(name.to_owned()).or_insert_with(|| value.as_str().into());
        }
    }
    Ok(all)
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
