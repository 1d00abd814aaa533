//! What the transports of this crate go by for one plugin: its sections, and its `options` over them.

#[cfg(feature = "grpc")]
use crate::transport::GrpcConfig;
use crate::{
    config::{PluginConfig, Sections},
    error::{Error, Kind},
    transport::{HttpConfig, SocketConfig},
};
#[cfg(all(feature = "process", unix))]
use crate::{plugin::Handshake, transport::ProcessConfig};

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

/// The settings of `part` that its own config takes out of `options`, over those of the sections.
fn with_options<T>(plugin: &PluginConfig, transport: &str, base: T) -> Result<T, Error>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let is_its = match transport {
        "grpc" => plugin.transport.starts_with("grpc"),
        _ => plugin.transport == transport,
    };
    if !is_its || plugin.options.is_empty() {
        return Ok(base);
    }
    let mistake = |error: serde_json::Error| {
        let text = format!("options: {error}");
        Error::not_sent(Kind::InvalidConfig).message(text)
    };
    let mut settings = serde_json::to_value(&base).map_err(mistake)?;
    let Some(known) = settings.as_object_mut() else { return Ok(base) };
    let mut changed = false;
    for (name, value) in &plugin.options {
        if let Some(setting) = known.get_mut(name) {
            *setting = value.clone();
            changed = true;
        }
    }
    if !changed {
        return Ok(base);
    }
    serde_json::from_value(settings).map_err(mistake)
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
    let mut config = with_options(plugin, "unix", config)?;
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
    with_options(plugin, "grpc", config)
}

/// Names of options that Go has, and of which only some mean something here.
#[cfg(all(feature = "process", unix))]
const ENVIRONMENT: [&str; 2] = ["env", "environment"];

#[cfg(all(feature = "process", unix))]
pub(super) fn process(plugin: &PluginConfig, sections: &Sections) -> Result<ProcessConfig, Error> {
    use std::collections::BTreeMap;

    let mistake = |name: &str, error: serde_json::Error| {
        Error::not_sent(Kind::InvalidConfig).message(format!("options.{name}: {error}"))
    };
    // Those of Go have other meanings than those of the same name here.
    let mut ours = plugin.clone();
    ours.options.retain(|name, _| name != "args" && !ENVIRONMENT.contains(&name.as_str()));
    let mut config = with_options(&ours, "exec", ProcessConfig::default())?
        .with_request_timeout(sections.connection.request_timeout)
        .with_args(plugin.args.iter())
        .with_work_dir(plugin.work_dir.as_str());
    config.env.extend(plugin.env.clone());
    // Of Go: `env_NAME`.
    for (name, value) in &plugin.annotations {
        if let Some(name) = name.strip_prefix("env_") {
            config = config.with_env(name, value.as_str());
        } else if name == "args" && config.args.is_empty() {
            config = config.with_args(value.split_whitespace());
        }
    }
    let mut handshake = Handshake::default();
    handshake.plugin_name.clone_from(&plugin.name);
    if !plugin.version.is_empty() {
        handshake.plugin_version.clone_from(&plugin.version);
    }
    for (name, value) in &plugin.options {
        let value = value.clone();
        match name.as_str() {
            "args" => {
                let args: Vec<String> =
                    serde_json::from_value(value).map_err(|error| mistake(name, error))?;
                config = config.with_args(args);
            }
            "env" | "environment" => {
                let env: BTreeMap<String, String> =
                    serde_json::from_value(value).map_err(|error| mistake(name, error))?;
                for (name, value) in env {
                    config = config.with_env(name, value);
                }
            }
            "handshake_config" => {
                let members: BTreeMap<String, serde_json::Value> =
                    serde_json::from_value(value).map_err(|error| mistake(name, error))?;
                for (member, value) in members {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    match member.to_ascii_lowercase().replace('_', "").as_str() {
                        "protocolversion" => {
                            handshake.protocol_version = text.parse().unwrap_or(1);
                        }
                        "magiccookiekey" => handshake.magic_cookie_key = text,
                        "magiccookievalue" => handshake.magic_cookie_value = text,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(config.with_handshake(handshake))
}
