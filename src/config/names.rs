//! The names of Go for what has another name here, and what Go writes of each section.

/// Go's name of a key, and ours. Both are read.
const ALIASES: [(&str, &str); 13] = [
    ("audit_file", "file"),
    ("burst_size", "burst"),
    ("connection_timeout", "connect_timeout"),
    ("failure_limit", "fall"),
    ("failure_threshold", "failures"),
    ("half_open_max_calls", "probes"),
    ("max_retries", "attempts"),
    ("min_request_threshold", "failures_min_calls"),
    ("random_jitter", "jitter"),
    ("recovery_timeout", "open_for"),
    ("success_threshold", "successes"),
    ("watch_config", "watch"),
    ("whitelist_file", "file"),
];

/// Names that Go has in the YAML of a section for which it declares none.
const JOINED: [(&str, &str); 15] = [
    ("whitelistfile", "whitelist_file"),
    ("autoupdate", "auto_update"),
    ("hashalgorithm", "hash_algorithm"),
    ("validateonstart", "validate_on_start"),
    ("maxfilesize", "max_file_size"),
    ("allowedtypes", "allowed_types"),
    ("forbiddenpaths", "forbidden_paths"),
    ("auditconfig", "audit"),
    ("watchconfig", "watch_config"),
    ("reloaddelay", "reload_delay"),
    ("auditfile", "audit_file"),
    ("logunauthorized", "log_unauthorized"),
    ("logauthorized", "log_authorized"),
    ("logconfigchanges", "log_config_changes"),
    ("includemetadata", "include_metadata"),
];

/// The members that Go writes of a section whatever their values.
const ALWAYS: [(&str, &[&str]); 8] = [
    ("retry", &["max_retries", "initial_interval", "max_interval", "multiplier", "random_jitter"]),
    (
        "circuit_breaker",
        &[
            "enabled",
            "failure_threshold",
            "recovery_timeout",
            "min_request_threshold",
            "success_threshold",
        ],
    ),
    ("health_check", &["enabled", "interval", "timeout", "failure_limit"]),
    (
        "connection",
        &[
            "max_connections",
            "max_idle_connections",
            "idle_timeout",
            "connection_timeout",
            "request_timeout",
            "keep_alive",
            "disable_compression",
        ],
    ),
    ("rate_limit", &["enabled", "requests_per_second", "burst_size", "time_window"]),
    ("auth", &["method"]),
    ("discovery", &["enabled", "watch_mode"]),
    (
        "security",
        &[
            "enabled",
            "policy",
            "whitelist_file",
            "auto_update",
            "hash_algorithm",
            "validate_on_start",
            "max_file_size",
            "allowed_types",
            "forbidden_paths",
            "audit",
            "watch_config",
            "reload_delay",
        ],
    ),
];

/// The name of a key that Go may write in one word, in any case.
pub(crate) fn in_snake_case(key: String) -> String {
    joined(&key).map_or_else(|| key.to_ascii_lowercase(), str::to_owned)
}

fn joined(key: &str) -> Option<&'static str> {
    JOINED.iter().find(|(joined, _)| joined.eq_ignore_ascii_case(key)).map(|(_, snake)| *snake)
}

/// Our name of a key that may have another in Go.
pub(crate) fn ours(key: &str) -> &str {
    let key = joined(key).unwrap_or(key);
    ALIASES.iter().find(|(go, _)| go.eq_ignore_ascii_case(key)).map_or(key, |(_, ours)| ours)
}

/// Whether two keys are those of one field.
pub(crate) fn is_same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || ours(a).eq_ignore_ascii_case(ours(b))
}

/// The name that all keys of one field have in common.
pub(crate) fn of_field(key: &str) -> String {
    ours(key).to_ascii_lowercase()
}

/// The members that Go always writes of a section, if it has it.
pub(crate) fn always(section: &str) -> Option<&'static [&'static str]> {
    ALWAYS.iter().find(|(name, _)| *name == section).map(|(_, members)| *members)
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        breaker::CircuitBreakerConfig, health::HealthConfig, limit::RateLimitConfig,
        retry::RetryConfig, transport::HttpConfig,
    };

    fn knows<T: DeserializeOwned>(key: &str) -> bool {
        let values = [json!(1), json!(true), json!("1s")];
        values.iter().any(|value| serde_json::from_value::<T>(json!({ key: value })).is_ok())
    }

    #[cfg(all(feature = "process", unix))]
    fn is_allowed(value: Value) -> bool {
        use crate::allow::{AllowConfig, AuditConfig};
        serde_json::from_value::<AllowConfig>(value.clone()).is_ok()
            || serde_json::from_value::<AuditConfig>(value).is_ok()
    }

    #[cfg(not(all(feature = "process", unix)))]
    fn is_allowed(_: Value) -> bool {
        false
    }

    #[test]
    fn both_names_are_of_one_field() {
        for (go, ours) in ALIASES {
            let both = |value: Value| json!({ go: value, ours: value });
            let values = [json!(1), json!(true), json!("1s")];
            let read = |value: &Value| {
                let both = both(value.clone());
                serde_json::from_value::<CircuitBreakerConfig>(both.clone()).is_ok()
                    || serde_json::from_value::<HealthConfig>(both.clone()).is_ok()
                    || serde_json::from_value::<RateLimitConfig>(both.clone()).is_ok()
                    || serde_json::from_value::<RetryConfig>(both.clone()).is_ok()
                    || serde_json::from_value::<HttpConfig>(both.clone()).is_ok()
                    || is_allowed(both)
            };
            assert!(!values.iter().any(read), "`{go}` and `{ours}` are two fields");
        }
    }

    #[test]
    fn each_section_knows_what_go_writes() {
        for (section, members) in ALWAYS {
            for member in members {
                let is_known = match section {
                    "retry" => knows::<RetryConfig>(member),
                    "circuit_breaker" => knows::<CircuitBreakerConfig>(member),
                    "health_check" => knows::<HealthConfig>(member),
                    "connection" => knows::<HttpConfig>(member),
                    "rate_limit" => knows::<RateLimitConfig>(member),
                    // Sections of the file, which are tried where they are merged.
                    "discovery" | "security" => true,
                    _ => *member == "method",
                };
                assert!(is_known, "{section}.{member}");
            }
        }
    }
}
