//! What can be meant, but hardly is: it is told, and read.

use std::collections::BTreeSet;

use super::checked::Checked;
use crate::{
    auth::{AuthMethod, leads_privately},
    config::{
        merge::find,
        model::{PluginConfig, Sections, StickySection},
        nearest::did_you_mean,
        value::Node,
    },
    endpoint::Endpoint,
    error::{Code, Quoted},
};

/// Levels of logs, by the names that loggers of Go and of Rust have for them.
const LEVELS: [&str; 10] =
    ["trace", "debug", "info", "warn", "warning", "error", "fatal", "panic", "off", "none"];

/// What is said of the level of logs.
pub(crate) fn doubt_level(level: &str, notes: &mut Checked<'_>) {
    if !level.is_empty() && !LEVELS.iter().any(|of| of.eq_ignore_ascii_case(level)) {
        let message = format!("no level of logs is called `{}`", Quoted(level));
        let help = did_you_mean(level, &LEVELS);
        notes.wrong_helped("log_level", Code::CONFIG_1703, message, help);
    }
}

/// What is said of a plugin, and of what a transport of this crate reaches: factories may do as they like.
pub(crate) fn doubt_plugin(plugin: &PluginConfig, defaults: &Sections, notes: &mut Checked<'_>) {
    doubt_sessions(plugin, defaults, notes);
    if plugin.transport == "exec" {
        doubt_program(plugin, notes);
    }
    if matches!(&*plugin.transport, "http" | "https" | "grpc" | "grpc-tls") {
        doubt_method(plugin, notes);
        doubt_credentials(plugin, defaults, notes);
        doubt_weights(plugin, defaults, notes);
    }
}

/// Each address that the plugin has, and the id there.
fn addresses(plugin: &PluginConfig) -> impl Iterator<Item = (&str, &str)> {
    let one = Some(("", &*plugin.endpoint)).filter(|(_, address)| !address.is_empty());
    one.into_iter().chain(plugin.endpoints.iter().map(|of| (&*of.id, &*of.address)))
}

/// The path of a program that is a line of a shell, or is looked for where it hardly is.
fn doubt_program(plugin: &PluginConfig, notes: &mut Checked<'_>) {
    let (key, path) = match plugin.executable.as_str() {
        "" => ("endpoint", plugin.endpoint.as_str()),
        path => ("executable", path),
    };
    let path = path.strip_prefix("exec:").unwrap_or(path);
    let (message, help) = if path.contains(" -") || path.contains(" /") {
        ("all of this is the path of a program", "write its arguments as `args`")
    } else if !path.is_empty() && !path.contains('/') {
        ("a program is not looked for in `PATH`", "write its whole path")
    } else {
        return;
    };
    notes.wrong_helped(key, Code::CONFIG_1703, message, help.to_owned());
}

/// Credentials without a method, which are not sent.
fn doubt_method(plugin: &PluginConfig, notes: &mut Checked<'_>) {
    let Some(auth) = &plugin.auth else { return };
    let method = if !auth.token.is_empty() {
        "bearer"
    } else if !auth.api_key.is_empty() {
        "api-key"
    } else if !auth.username.is_empty() || !auth.password.is_empty() {
        "basic"
    } else if !auth.headers.is_empty() {
        "custom"
    } else {
        return;
    };
    let is_meant = || {
        let method = find(notes.at.node, "auth").and_then(|auth| find(auth, "method"));
        method.and_then(Node::text).is_some_and(|method| method == "none")
    };
    if auth.method == AuthMethod::None && !is_meant() {
        let message = "these credentials are not sent, since there is no `method`";
        let help = format!("write `method: {method}`, or `method: none` if they are not meant");
        notes.wrong_helped("auth", Code::AUTH_1105, message, help);
    }
}

/// Credentials that no call can take along, since all would be refused.
fn doubt_credentials(plugin: &PluginConfig, defaults: &Sections, notes: &mut Checked<'_>) {
    let credentials = plugin.auth.as_ref().unwrap_or(&defaults.auth).credentials();
    let Ok(credentials) = credentials else { return };
    let is_grpc = plugin.transport.starts_with("grpc");
    let is_private =
        if is_grpc { credentials.is_private_over_grpc() } else { credentials.is_private() };
    let is_open = |address: &str| {
        let is_over_tls = plugin.transport == "grpc-tls" && !address.contains("://");
        !is_over_tls && address.parse().is_ok_and(|address| !leads_privately(&address))
    };
    if is_private && addresses(plugin).any(|(_, address)| is_open(address)) {
        let message = "calls to another host without TLS are refused, since the credentials could be read on \
                       the way";
        let help = "use TLS, or set `auth.allow_plaintext` if they may be read".to_owned();
        let key = if plugin.endpoint.is_empty() { "endpoints" } else { "endpoint" };
        notes.wrong_helped(key, Code::AUTH_1105, message, help);
    }
}

/// Weights of endpoints that the plugin does not have. Those of all plugins may be of another one, and what a
/// backend finds is not known.
fn doubt_weights(plugin: &PluginConfig, defaults: &Sections, notes: &mut Checked<'_>) {
    let Some(balance) = plugin.balance.as_ref().filter(|_| plugin.discover.is_none()) else {
        return;
    };
    if balance.weights.is_empty() || balance.weights == defaults.balance.weights {
        return;
    }
    let mut keys = BTreeSet::new();
    for (id, address) in addresses(plugin) {
        keys.extend([id, address].map(str::to_owned));
        keys.extend(Endpoint::new(address).ok().map(|endpoint| endpoint.key().to_owned()));
    }
    let keys: Vec<_> = keys.into_iter().filter(|key| !key.is_empty()).collect();
    for weighted in balance.weights.keys().filter(|key| keys.binary_search(key).is_err()) {
        let message = format!("no endpoint of this plugin has the key `{}`", Quoted(weighted));
        let help = did_you_mean(weighted, &keys);
        notes.wrong_helped("balance.weights", Code::CONFIG_1703, message, help);
    }
}

/// What is said of sessions and has no effect, or keeps something else from having one.
fn doubt_sessions(plugin: &PluginConfig, defaults: &Sections, notes: &mut Checked<'_>) {
    let balance = plugin.balance.as_ref().unwrap_or(&defaults.balance);
    let failover = plugin.failover.as_ref().unwrap_or(&defaults.failover);
    let is_own = *balance != defaults.balance || *failover != defaults.failover;
    // Of what all plugins share, each would say the same.
    if !is_own {
        return;
    }
    let writes = |key: &str| notes.at.writes(key);
    let sticky = &balance.sticky;
    let settings = StickySection { enabled: None, ..sticky.clone() };
    let (has_settings, is_set) = (settings != StickySection::default(), sticky.enabled.is_some());
    let mut told = Vec::new();
    if balance.sessions().is_some() {
        if failover.enabled && failover.hedge.is_some() {
            let why = "no call is hedged, since the second endpoint would not have its session";
            told.push(("failover.hedge", why, "leave out `hedge`, or `balance.sticky`"));
        }
        if writes("balance.session_timeout") && writes("balance.sticky.session_timeout") {
            let why = "this has no effect, since `session_timeout` beside `sticky` says it, too";
            told.push(("balance.sticky.session_timeout", why, "leave out one of them"));
        }
    } else if balance.sticky_session {
        let why = "this has no effect, since `sticky.enabled` is false";
        told.push(("balance.sticky_session", why, "leave out one of them"));
    } else if has_settings && !is_set {
        let why = "there are no sessions, since this names no `key` and is not enabled";
        told.push(("balance.sticky", why, "add `enabled: true`, or the `key` of a session"));
    } else if writes("balance.session_timeout") && !writes("balance.sticky_session") && !is_set {
        let why = "this has no effect, since there are no sessions";
        told.push(("balance.session_timeout", why, "add `sticky_session: true`"));
    }
    for (key, why, help) in told {
        notes.wrong_helped(key, Code::CONFIG_1703, why, help.to_owned());
    }
}
