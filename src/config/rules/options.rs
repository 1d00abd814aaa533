//! Options of a plugin as the settings of its transport: when a file is checked, and when the plugin is built.

#[cfg(all(feature = "process", unix))]
use std::collections::BTreeMap;

#[cfg(all(feature = "process", unix))]
use serde::Deserialize;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value as Json;

use super::{
    checked::{Checked, mistakes},
    settings::{Wrong, read, tell},
};
#[cfg(feature = "grpc")]
use crate::transport::GrpcConfig;
#[cfg(all(feature = "process", unix))]
use crate::{auth::Secret, config::model::list_or_map, transport::ProcessConfig};
use crate::{
    auth::shown::{Shown, showing},
    config::{
        model::{PluginConfig, Sections},
        value::{Member, Node, Path, Text, Value},
    },
    error::{Code, Error},
    transport::SocketConfig,
};

/// An option by another name, as Go's plugin manager has it, and the name here.
const ALIASES: [(&str, &str); 4] = [
    ("connection_timeout", "connect_timeout"),
    ("handshake_config", "handshake"),
    ("stream_sync", "output"),
    ("stream_sync_config", "output"),
];

/// Options of `exec` that are read apart: of Go, where they mean something else than those of the same name here.
const APART: [&str; 3] = ["args", "env", "environment"];

/// The options that a transport of this crate knows; `None` for one of others.
pub(crate) fn known_options(transport: &str) -> Option<Vec<String>> {
    // Those that are left out have keys of their own.
    let mut known = match transport {
        "http" | "https" => return Some(Vec::new()),
        "unix" => keys(&SocketConfig::default(), &["token"]),
        #[cfg(feature = "grpc")]
        "grpc" | "grpc-tls" => keys(&GrpcConfig::default(), &[]),
        #[cfg(all(feature = "process", unix))]
        "exec" => keys(&ProcessConfig::default(), &["args", "env", "request_timeout", "work_dir"]),
        _ => return None,
    };
    let of_go = ALIASES.iter().filter(|(_, ours)| known.iter().any(|key| key == ours));
    let of_go: Vec<_> = of_go.map(|(go, _)| (*go).to_owned()).collect();
    known.extend(of_go);
    if transport == "exec" {
        known.extend(APART.map(str::to_owned));
    }
    Some(known)
}

fn keys(config: &impl Serialize, but: &[&str]) -> Vec<String> {
    match serde_json::to_value(config) {
        Ok(Json::Object(members)) => {
            members.into_iter().map(|(key, _)| key).filter(|key| !but.contains(&&**key)).collect()
        }
        _ => Vec::new(),
    }
}

/// The name here of an option.
fn ours(name: &str) -> &str {
    ALIASES.iter().find(|(go, _)| *go == name).map_or(name, |(_, ours)| ours)
}

/// The settings of a transport: `base`, and over it those options that are settings of its own.
pub(crate) fn with_options<T: Serialize + DeserializeOwned>(
    plugin: &PluginConfig,
    base: T,
) -> Result<T, Wrong> {
    let known = known_options(&plugin.transport).unwrap_or_default();
    let is_setting = |name: &&String| known.contains(name) && !APART.contains(&&***name);
    let given: Vec<_> = plugin.options.keys().filter(is_setting).collect();
    if given.is_empty() {
        return Ok(base);
    }
    let written = showing(Shown::All, || serde_json::to_value(&base));
    let mut node = Node::from(written.map_err(unwritten)?);
    if let Some(members) = node.members_mut() {
        members.retain(|member| given.iter().all(|name| ours(name) != member.key));
        members.extend(given.into_iter().map(|name| member(name, &plugin.options[name])));
    }
    read(&node, &Path::Root.key("options"))
}

fn member(name: &str, value: &Json) -> Member {
    let mut member = Member::from((name.to_owned(), value.clone()));
    if name == "handshake_config" {
        of_go(&mut member.node);
    }
    member
}

/// Members by the names of Go, which declares none: `ProtocolVersion` in JSON, `protocolversion` in YAML.
fn of_go(handshake: &mut Node) {
    for Member { key, node, .. } in handshake.members_mut().into_iter().flatten() {
        let name = match &*key.to_lowercase().replace('_', "") {
            "protocolversion" => "protocol_version",
            "magiccookiekey" => "magic_cookie_key",
            "magiccookievalue" => "magic_cookie_value",
            _ => continue,
        };
        name.clone_into(key);
        // Go's may be a text.
        if let (Value::Text(Text { is_loose, .. }), "protocol_version") = (&mut node.value, name) {
            *is_loose = true;
        }
    }
}

fn unwritten(error: serde_json::Error) -> Wrong {
    Wrong::one(Code::CONFIG_1703, "options", error.to_string())
}

/// One option of `exec` that is read apart; `None` if it is not given.
#[cfg(all(feature = "process", unix))]
fn apart<T: DeserializeOwned>(plugin: &PluginConfig, name: &str) -> Result<Option<T>, Wrong> {
    let Some(value) = plugin.options.get(name) else { return Ok(None) };
    read(&Node::from(value.clone()), &Path::Root.key("options").key(name)).map(Some)
}

/// The arguments among the options of a program.
#[cfg(all(feature = "process", unix))]
pub(crate) fn arguments(plugin: &PluginConfig) -> Result<Option<Vec<String>>, Wrong> {
    apart(plugin, "args")
}

/// The variables among the options of a program; of those of one name the first counts.
#[cfg(all(feature = "process", unix))]
pub(crate) fn environment(plugin: &PluginConfig) -> Result<BTreeMap<String, Secret>, Wrong> {
    #[derive(Deserialize)]
    struct Variables(#[serde(deserialize_with = "list_or_map")] BTreeMap<String, Secret>);

    let mut all = BTreeMap::new();
    for option in ["environment", "env"] {
        if let Some(Variables(variables)) = apart(plugin, option)? {
            all.extend(variables);
        }
    }
    Ok(all)
}

/// Checks the options of a plugin over a transport of this crate.
pub(super) fn check_options(plugin: &PluginConfig, defaults: &Sections, checked: &mut Checked<'_>) {
    let connection = plugin.connection.as_ref().unwrap_or(&defaults.connection);
    let (request, connect) = (connection.request_timeout, connection.connect_timeout);
    match &*plugin.transport {
        _ if plugin.options.is_empty() => {}
        "unix" => {
            let base =
                SocketConfig::default().with_request_timeout(request).with_connect_timeout(connect);
            check(plugin, base, SocketConfig::validate, checked);
        }
        #[cfg(feature = "grpc")]
        "grpc" | "grpc-tls" => {
            let base =
                GrpcConfig::default().with_request_timeout(request).with_connect_timeout(connect);
            check(plugin, base, GrpcConfig::validate, checked);
        }
        #[cfg(all(feature = "process", unix))]
        "exec" => {
            let base = ProcessConfig::default().with_request_timeout(request);
            check(plugin, base, ProcessConfig::validate, checked);
            tell(arguments(plugin).err(), checked);
            tell(environment(plugin).err(), checked);
        }
        _ => {}
    }
}

/// Whether the options can be read, and whether the settings that are made of them are right.
fn check<T: Serialize + DeserializeOwned>(
    plugin: &PluginConfig,
    base: T,
    validate: fn(&T) -> Result<(), Error>,
    checked: &mut Checked<'_>,
) {
    let settings = match with_options(plugin, base) {
        Ok(settings) => settings,
        Err(wrong) => return tell(Some(wrong), checked),
    };
    let Err(error) = validate(&settings) else { return };
    let given = |of: &str| plugin.options.keys().find(|name| ours(name) == of);
    for (key, message) in mistakes(error.what()) {
        let key = key.unwrap_or_default();
        let first = key.split('.').next().unwrap_or_default();
        // What is wrong with another section is told there, unless it is so for an option.
        if let Some(name) = given(first) {
            let key = format!("options.{name}{}", &key[first.len()..]);
            checked.wrong(&key, error.code(), message);
        } else if let Some(name) = message.split('`').skip(1).step_by(2).find_map(given) {
            let message = format!("`{key}` is {message}");
            checked.wrong(&format!("options.{name}"), error.code(), message);
        }
    }
}
