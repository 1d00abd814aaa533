//! A config as the Go plugin manager has it.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    auth::{AuthConfig, Secret},
    backoff::Jitter,
    breaker::CircuitBreakerConfig,
    config::model::{
        Config, DiscoveryConfig, PluginConfig, RetrySection, SecurityConfig, masked_values,
        shown_address,
    },
    duration::parse_go_duration,
    health::HealthConfig,
    limit::RateLimitConfig,
    transport::HttpConfig,
};

/// The file. A section that a plugin does not have is written with zeros, as Go does.
pub(super) fn config(config: &Config) -> Value {
    let defaults = &config.defaults;
    json!({
        "log_level": config.log_level,
        "metrics_port": config.metrics_port.unwrap_or_default(),
        "default_retry": retry(Some(&defaults.retry)),
        "default_circuit_breaker": breaker(Some(&defaults.circuit_breaker.config)),
        "default_health_check": health(Some(&defaults.health_check)),
        "default_connection": connection(Some(&defaults.connection)),
        "default_rate_limit": rate(Some(&defaults.rate_limit)),
        "plugins": config.plugins.iter().map(|of| plugin(of, &defaults.auth)).collect::<Vec<_>>(),
        "discovery": discovery(config.discovery.as_ref()),
        "security": security(config.security.as_ref()),
    })
}

/// Go has no `auth` for all plugins, so that each has what holds for it.
fn plugin(plugin: &PluginConfig, default_auth: &AuthConfig) -> Value {
    let mut written = Map::new();
    let mut put = |key: &str, value: Value| written.insert(key.to_owned(), value);
    put("name", json!(plugin.name));
    put("type", json!(plugin.kind));
    put("version", json!(plugin.version));
    put("transport", json!(plugin.transport));
    put("endpoint", json!(shown_address(&plugin.endpoint)));
    put("priority", json!(plugin.priority));
    put("enabled", json!(plugin.enabled));
    let env: Vec<_> =
        plugin.env.iter().map(|(name, of)| format!("{name}={}", secret(of))).collect();
    put("executable", json!(plugin.executable));
    put("args", json!(plugin.args));
    put("env", json!(env));
    put("work_dir", json!(plugin.work_dir));
    put("auth", auth(plugin.auth.as_ref().unwrap_or(default_auth)));
    put("retry", retry(plugin.retry.as_ref()));
    let breaker_config = plugin.circuit_breaker.as_ref().map(|section| &section.config);
    put("circuit_breaker", breaker(breaker_config));
    put("health_check", health(plugin.health_check.as_ref()));
    put("connection", connection(plugin.connection.as_ref()));
    put("rate_limit", rate(plugin.rate_limit.as_ref()));
    put("options", json!(masked_values(&plugin.options)));
    put("labels", json!(plugin.labels));
    put("annotations", json!(plugin.annotations));
    omit_empty(
        &mut written,
        &["executable", "args", "env", "work_dir", "options", "labels", "annotations"],
    );
    Value::Object(written)
}

/// Without one it is `none`: Go refuses a plugin that has no method.
fn auth(auth: &AuthConfig) -> Value {
    let headers: BTreeMap<_, _> = auth.headers.iter().map(|(k, of)| (k, secret(of))).collect();
    let mut written = Map::new();
    for (key, value) in [
        ("method", value(&auth.method)),
        ("api_key", json!(secret(&auth.api_key))),
        ("token", json!(secret(&auth.token))),
        ("username", json!(secret(&auth.username))),
        ("password", json!(secret(&auth.password))),
        ("cert_file", json!(auth.cert_file)),
        ("key_file", json!(auth.key_file)),
        ("ca_file", json!(auth.ca_file)),
        ("headers", json!(headers)),
    ] {
        written.insert(key.to_owned(), value);
    }
    let optional = ["api_key", "token", "username", "password"];
    omit_empty(&mut written, &optional);
    omit_empty(&mut written, &["cert_file", "key_file", "ca_file", "headers"]);
    Value::Object(written)
}

fn retry(section: Option<&RetrySection>) -> Value {
    let zero = Duration::ZERO;
    let is_on = section.is_some_and(|section| section.enabled);
    let config = section.map(|section| &section.config);
    let retries = config.filter(|_| is_on).map_or(0, |of| of.attempts.saturating_sub(1));
    json!({
        "max_retries": retries,
        "initial_interval": nanos(config.map_or(zero, |of| of.initial_interval)),
        "max_interval": nanos(config.map_or(zero, |of| of.max_interval)),
        "multiplier": config.map_or(0.0, |of| of.multiplier),
        "random_jitter": config.is_some_and(|of| of.jitter != Jitter::None),
    })
}

fn breaker(config: Option<&CircuitBreakerConfig>) -> Value {
    json!({
        "enabled": config.is_some_and(|of| of.enabled),
        "failure_threshold": config.map_or(0, |of| of.failures),
        "recovery_timeout": nanos(config.map_or(Duration::ZERO, |of| of.open_for)),
        "min_request_threshold": config.map_or(0, |of| of.failures_min_calls),
        "success_threshold": config.map_or(0, |of| of.successes),
    })
}

fn health(config: Option<&HealthConfig>) -> Value {
    let mut written = json!({
        "enabled": config.is_some_and(|of| of.enabled),
        "interval": nanos(config.map_or(Duration::ZERO, |of| of.interval)),
        "timeout": nanos(config.map_or(Duration::ZERO, |of| of.timeout)),
        "failure_limit": config.map_or(0, |of| of.fall),
    });
    if let Some(endpoint) = config.and_then(|of| of.endpoint.as_ref()) {
        written["endpoint"] = json!(endpoint);
    }
    written
}

fn connection(config: Option<&HttpConfig>) -> Value {
    let zero = Duration::ZERO;
    json!({
        "max_connections": config.and_then(|of| of.max_connections).unwrap_or_default(),
        "max_idle_connections": config.map_or(0, |of| of.max_idle_connections),
        "idle_timeout": nanos(config.map_or(zero, |of| of.idle_timeout)),
        "connection_timeout": nanos(config.map_or(zero, |of| of.connect_timeout)),
        "request_timeout": nanos(config.map_or(zero, |of| of.request_timeout)),
        "keep_alive": config.is_some_and(|of| of.keep_alive),
        "disable_compression": config.is_some_and(|of| of.disable_compression),
    })
}

fn rate(config: Option<&RateLimitConfig>) -> Value {
    json!({
        "enabled": config.is_some_and(|of| of.enabled),
        "requests_per_second": config.map_or(0.0, |of| of.requests_per_second),
        "burst_size": config.map_or(0, |of| of.burst),
        "time_window": nanos(config.map_or(Duration::ZERO, |of| of.time_window)),
    })
}

/// Without one, zeros, which are read as none.
fn discovery(config: Option<&DiscoveryConfig>) -> Value {
    let mut written = value(&config.cloned().unwrap_or_default());
    if let Some(timeout) = config.and_then(|of| of.discovery_timeout) {
        written["discovery_timeout"] = json!(nanos(timeout));
    }
    written
}

fn security(config: Option<&SecurityConfig>) -> Value {
    let Some(config) = config else { return no_security() };
    let mut written = value(config);
    let Some(members) = written.as_object_mut() else { return written };
    rename(members, "file", "whitelist_file");
    rename(members, "watch", "watch_config");
    let policy = match members.get("policy") {
        Some(Value::Number(number)) => number.as_u64().unwrap_or_default(),
        Some(Value::String(word)) if word == "permissive" => 1,
        Some(Value::String(word)) if word == "audit-only" => 3,
        Some(Value::String(_)) => 2,
        // Ours, if none is said; Go's would let all programs run.
        _ if config.enabled => 2,
        _ => 0,
    };
    members.insert("policy".to_owned(), json!(policy));
    if let Some(audit) = members.get_mut("audit").and_then(Value::as_object_mut) {
        rename(audit, "file", "audit_file");
        audit.remove("max_bytes");
        let is_on =
            audit.get("audit_file").and_then(Value::as_str).is_some_and(|of| !of.is_empty());
        audit.insert("enabled".to_owned(), json!(is_on));
    }
    if let Some(delay) = members.get_mut("reload_delay") {
        let time = delay.as_str().and_then(parse_go_duration);
        *delay = time.map_or_else(|| delay.take(), |time| json!(nanos(time)));
    }
    written
}

/// The zeros of Go, which are read as none.
fn no_security() -> Value {
    json!({
        "enabled": false,
        "policy": 0,
        "whitelist_file": "",
        "auto_update": false,
        "hash_algorithm": "",
        "validate_on_start": false,
        "max_file_size": 0,
        "allowed_types": null,
        "forbidden_paths": null,
        "audit": {
            "enabled": false,
            "audit_file": "",
            "log_unauthorized": false,
            "log_authorized": false,
            "log_config_changes": false,
            "include_metadata": false,
        },
        "watch_config": false,
        "reload_delay": 0,
    })
}

/// Gives a member Go's name.
fn rename(members: &mut Map<String, Value>, ours: &str, go: &str) {
    if let Some(value) = members.remove(ours) {
        members.insert(go.to_owned(), value);
    }
}

/// What Go leaves out if it is empty.
fn omit_empty(written: &mut Map<String, Value>, keys: &[&str]) {
    written.retain(|key, value| {
        let is_empty = match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        !(is_empty && keys.contains(&&**key))
    });
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// As secrets are shown now.
fn secret(secret: &Secret) -> String {
    value(secret).as_str().unwrap_or_default().to_owned()
}

fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}
