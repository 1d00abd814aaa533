//! What the transports of this crate go by for one plugin: its sections, and its `options` over them.

#[cfg(all(feature = "process", unix))]
use std::collections::BTreeMap;

#[cfg(feature = "grpc")]
use crate::transport::GrpcConfig;
#[cfg(all(feature = "process", unix))]
use crate::{auth::Secret, config::rules, plugin::Handshake, transport::ProcessConfig};
use crate::{
    config::{
        PluginConfig, Sections,
        nearest::did_you_mean,
        rules::{known_options, with_options},
    },
    error::Error,
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
    let mut config =
        if plugin.transport.starts_with("grpc") { with_options(plugin, config)? } else { config };
    config.allowed_uids.extend_from_slice(&connection.allowed_uids);
    config.allow_any_user |= connection.allow_any_user;
    Ok(config)
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
    if let Some(args) = rules::arguments(plugin)? {
        return Ok(args);
    }
    let args = plugin.annotations.get("args").map_or("", String::as_str).split(',').map(str::trim);
    Ok(args.filter(|arg| !arg.is_empty()).map(str::to_owned).collect())
}

/// Where Go has variables as well; of those of one name the first counts.
#[cfg(all(feature = "process", unix))]
fn environment(plugin: &PluginConfig) -> Result<BTreeMap<String, Secret>, Error> {
    let mut all = rules::environment(plugin)?;
    all.extend(plugin.env.iter().map(|(name, value)| (name.clone(), value.clone())));
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
