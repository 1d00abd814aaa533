//! A config as the Go plugin manager has it.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    auth::{AuthConfig, Secret},
    backoff::Jitter,
    breaker::CircuitBreakerConfig,
    config::model::{Config, PluginConfig, SecurityConfig, masked_values, shown_address},
    health::HealthConfig,
    limit::RateLimitConfig,
    retry::RetryConfig,
    transport::HttpConfig,
};

/// The file. A section that a plugin does not have is written with zeros, as Go does.
pub(super) fn config(config: &Config) -> Value {
    let defaults = &config.defaults;
    json!({
        "log_level": config.log_level,
        "metrics_port": config.metrics_port.unwrap_or_default(),
        "default_retry": retry(Some(&defaults.retry.config)),
        "default_circuit_breaker": breaker(Some(&defaults.circuit_breaker.config)),
        "default_health_check": health(Some(&defaults.health_check)),
        "default_connection": connection(Some(&defaults.connection)),
        "default_rate_limit": rate(Some(&defaults.rate_limit)),
        "plugins": config.plugins.iter().map(plugin).collect::<Vec<_>>(),
        "discovery": match &config.discovery {
            Some(discovery) => value(discovery),
            None => json!({ "enabled": false, "watch_mode": false }),
        },
        "security": security(config.security.as_ref()),
    })
}

fn plugin(plugin: &PluginConfig) -> Value {
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
    put("auth", auth(plugin.auth.as_ref()));
    put("retry", retry(plugin.retry.as_ref().map(|section| &section.config)));
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

fn auth(auth: Option<&AuthConfig>) -> Value {
    let Some(auth) = auth else { return json!({ "method": "none" }) };
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

fn retry(config: Option<&RetryConfig>) -> Value {
    let zero = Duration::ZERO;
    json!({
        "max_retries": config.map_or(0, |of| of.attempts.saturating_sub(1)),
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

fn security(config: Option<&SecurityConfig>) -> Value {
    let mut written = config.map(value).unwrap_or_else(|| json!({ "enabled": false, "policy": 0 }));
    let Some(members) = written.as_object_mut() else { return written };
    for (ours, go) in [("file", "whitelist_file"), ("watch", "watch_config")] {
        if let Some(value) = members.remove(ours) {
            members.insert(go.to_owned(), value);
        }
    }
    let policy = match members.get("policy").and_then(Value::as_str) {
        Some("permissive") => 1,
        Some("strict") => 2,
        Some("audit-only") => 3,
        _ => return written,
    };
    members.insert("policy".to_owned(), json!(policy));
    written
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
