//! Every key of a config file: it survives each format whatever its value, and the schema knows it.
#![cfg(all(
    feature = "cli",
    feature = "grpc",
    feature = "json",
    feature = "process",
    feature = "tls",
    unix
))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{collections::BTreeSet, fs, sync::LazyLock};

use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};
use tower_upstream::config::{Config, Format, Secrets, schema};

const ALL: [Format; 3] = [Format::Json, Format::Yaml, Format::Toml];

fn file(name: &str) -> String {
    fs::read_to_string(format!("{}/tests/config/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A config that has every key, with another value than its default.
static EVERY_KEY: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(&file("every_key.json")).unwrap());

fn read(config: &Value) -> Option<Config> {
    Config::from_str(&config.to_string(), Format::Json).ok()
}

/// What is written in each format is read as it was.
fn survives(config: &Config) {
    for format in ALL {
        let text = config.to_text(format, Secrets::Written).unwrap();
        match Config::from_str(&text, format) {
            Ok(again) => assert_eq!(again, *config, "{format}: {text}"),
            Err(error) => panic!("{format}: {error}\n{text}"),
        }
    }
}

/// The keys of a schema by their paths; those of `defaults`, and of plugins, by their sections.
fn keys(root: &Value, of: &Value, path: &str, found: &mut BTreeSet<String>) {
    let link = of["$ref"].as_str().or(of["else"]["$ref"].as_str());
    let link = link.map(|link| link.rsplit('/').next().unwrap());
    let of = link.map_or(of, |name| &root["$defs"][name]);
    if matches!(link, Some("secret")) {
        return;
    }
    for (name, schema) in of["properties"].as_object().into_iter().flatten() {
        let said = schema["description"].as_str().unwrap_or_default();
        let is_other = said.starts_with("Go's name") || said.starts_with("Not there yet");
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if !is_other {
            keys(root, schema, &path, found);
            found.insert(path);
        }
    }
    if let Some(items) = of.get("items").filter(|items| !items.is_null()) {
        keys(root, items, path, found);
    }
}

/// The keys of a value by their paths, in the same way.
fn given(of: &Value, path: &str, found: &mut BTreeSet<String>) {
    match of {
        Value::Object(members) => {
            for (name, value) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                given(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| given(item, path, found)),
        _ => {}
    }
}

#[test]
fn every_key_is_tried_with_another_value_than_its_default() {
    let (schema, mut known, mut tried) = (schema(), BTreeSet::new(), BTreeSet::new());
    keys(&schema, &schema["properties"]["defaults"], "", &mut known);
    keys(&schema, &schema["$defs"]["plugin"], "", &mut known);
    given(&EVERY_KEY["defaults"], "", &mut tried);
    given(&EVERY_KEY["plugins"], "", &mut tried);
    for section in ["security", "discovery"] {
        keys(&schema, &schema["properties"][section], section, &mut known);
        given(&EVERY_KEY[section], section, &mut tried);
    }
    let wanting: Vec<_> = known.difference(&tried).collect();
    assert!(wanting.is_empty(), "not tried: {wanting:?}");
    let defaults = serde_json::to_value(tower_upstream::config::Sections::default()).unwrap();
    for (section, members) in defaults.as_object().unwrap() {
        for (key, default) in members.as_object().into_iter().flatten() {
            let given = &EVERY_KEY["defaults"][section][key];
            assert!(given.is_null() || given != default, "{section}.{key}");
        }
    }
}

#[test]
fn every_key_survives_each_format() {
    let config = Config::from_str(&file("every_key.json"), Format::Json);
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    survives(&config);
    // None in a plugin, below a default that is not.
    let health = config.plugins[0].health_check.as_ref().unwrap();
    assert_eq!(
        (health.endpoint.as_ref(), config.defaults.health_check.endpoint.is_some()),
        (None, true)
    );
    assert_eq!(config.plugins[0].failover.as_ref().unwrap().timeout, None);
}

#[test]
fn null_is_a_value_where_anything_may_be_one() {
    let text = r#"{"plugins": [{"name": "a", "transport": "http", "endpoint": "http://a",
        "options": {"x": null, "y": [1, null]},
        "fallback": {"strategy": "default", "default_response": {"tax": null}}}],
        "security": {"enabled": false, "auto_update": null}}"#;
    let config = Config::from_str(text, Format::Json).unwrap();
    assert_eq!(config.plugins[0].options["y"], json!([1, null]));
    survives(&config);
}

/// The pointers of all values without parts.
fn leaves(value: &Value, pointer: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, value) in members {
                leaves(value, &format!("{pointer}/{key}"), found);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, value) in items.iter().enumerate() {
                leaves(value, &format!("{pointer}/{index}"), found);
            }
        }
        _ => found.push(pointer.to_owned()),
    }
}

static LEAVES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut found = Vec::new();
    leaves(&EVERY_KEY, "", &mut found);
    found
});

/// Values of every type, some of which fit where others do not.
fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        prop_oneof![Just(0_u64), Just(1), 2..200_u64, Just(u64::from(u32::MAX)), any::<u32>().prop_map(u64::from)]
            .prop_map(Value::from),
        prop_oneof![0.0..1.0_f64, 0.0..1e6_f64].prop_map(Value::from),
        (1_u64..100_000).prop_map(|ms| json!(format!("{ms}ms"))),
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        "[^$\0]{0,9}|yes|no|null|~|1e3|0x10|- a|a: b|#x|'|\"|\\\\|\u{7f}|\u{85}|\u{feff}|\u{2028}|nan"
            .prop_map(Value::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, max_shrink_iters: 20, ..Default::default() })]

    #[test]
    fn a_config_survives_each_format_whatever_its_keys_say(
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(values(), 3)), 4)
    ) {
        let mut written = EVERY_KEY.clone();
        for (at, values) in edits {
            let pointer = at.get(&LEAVES);
            // The first that may stand there.
            for value in values {
                let mut edited = written.clone();
                let Some(place) = edited.pointer_mut(pointer) else { break };
                *place = value;
                if read(&edited).is_some() {
                    written = edited;
                    break;
                }
            }
        }
        survives(&read(&written).unwrap());
    }
}

/// The schema that is committed.
static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(&file("schema.json")).unwrap();
    jsonschema::validator_for(&schema).unwrap()
});

/// Where the schema marks a mistake.
fn marks(config: &Value) -> Vec<String> {
    SCHEMA.iter_errors(config).map(|error| error.instance_path().to_string()).collect()
}

#[test]
fn the_schema_marks_no_mistake_where_there_is_none() {
    let said = |config: &Value| {
        let errors = SCHEMA.iter_errors(config);
        errors.map(|error| format!("{}: {error}", error.instance_path())).collect::<Vec<_>>()
    };
    assert_eq!(said(&EVERY_KEY), [""; 0]);
    for name in ["go/sample.json", "go/written.json"] {
        let text = file(name);
        // Names are read in any case; the schema knows one.
        let text = if name.contains("written") {
            let config = Config::from_str(&text, Format::Json).unwrap();
            config.to_go_json(Secrets::Masked).unwrap()
        } else {
            text
        };
        assert_eq!(said(&serde_json::from_str(&text).unwrap()), [""; 0], "{name}");
    }
    for config in [
        Config::from_str(&Config::sample(Format::Yaml).unwrap(), Format::Yaml).unwrap(),
        Config::from_str(&file("go/readme.yaml"), Format::Yaml).unwrap(),
        read(&EVERY_KEY).unwrap(),
    ] {
        let text = config.to_json().unwrap();
        assert_eq!(said(&serde_json::from_str(&text).unwrap()), [""; 0], "{text}");
    }
    let loose = json!({ "plugins": { "tax": {
        "transport": "https", "endpoint": "${TAX}", "timeout": "${WAIT:-5s}", "enabled": "${ON}",
        "retry": { "max_retries": "${RETRIES:-2}" }, "auth": { "method": "bearer", "token": { "env": "T" } },
    } } });
    assert_eq!(said(&loose), [""; 0]);
    let of_default = json!({
        "defaults": { "auth": { "token": "t" } },
        "plugins": { "tax": { "transport": "http", "endpoint": "http://a", "auth": { "method": "bearer" } } },
    });
    assert_eq!(said(&of_default), [""; 0]);
}

#[test]
fn the_schema_marks_what_reading_refuses_at_the_same_place() {
    let plugin = || json!({ "name": "tax", "transport": "https", "endpoint": "https://tax" });
    let with = |members: Value| {
        let mut plugin = plugin();
        let more = members.as_object().unwrap().clone();
        plugin.as_object_mut().unwrap().extend(more);
        json!({ "plugins": [plugin] })
    };
    let without = |key: &str| {
        let mut plugin = plugin();
        plugin.as_object_mut().unwrap().remove(key);
        json!({ "plugins": [plugin] })
    };
    for (config, mark) in [
        // Keys that nothing knows.
        (json!({ "log_levl": "info", "plugins": [plugin()] }), ""),
        (with(json!({ "enabld": true })), "/plugins/0"),
        (with(json!({ "retry": { "max_retry": 1 } })), "/plugins/0/retry"),
        (
            with(json!({ "balance": { "outlier": { "intervall": "1s" } } })),
            "/plugins/0/balance/outlier",
        ),
        // Wrong types.
        (with(json!({ "enabled": "maybe" })), "/plugins/0/enabled"),
        (with(json!({ "retry": [] })), "/plugins/0/retry"),
        (with(json!({ "timeout": "soon" })), "/plugins/0/timeout"),
        (with(json!({ "timeout": -1 })), "/plugins/0/timeout"),
        (
            with(json!({ "rate_limit": { "burst_size": "many" } })),
            "/plugins/0/rate_limit/burst_size",
        ),
        (
            with(json!({ "circuit_breaker": { "cancelled": "faliure" } })),
            "/plugins/0/circuit_breaker/cancelled",
        ),
        (with(json!({ "auth": { "method": "oauth" } })), "/plugins/0/auth/method"),
        (with(json!({ "budget": { "rule": "sharing" } })), "/plugins/0/budget/rule"),
        (json!({ "preset": "rust", "plugins": [plugin()] }), "/preset"),
        (json!({ "plugins": "all" }), "/plugins"),
        // Out of range.
        (with(json!({ "retry": { "max_retries": 64 } })), "/plugins/0/retry/max_retries"),
        (with(json!({ "retry": { "attempts": 0 } })), "/plugins/0/retry/attempts"),
        (with(json!({ "retry": { "multiplier": 0.5 } })), "/plugins/0/retry/multiplier"),
        (with(json!({ "rate_limit": { "burst": 0 } })), "/plugins/0/rate_limit/burst"),
        (
            with(json!({ "rate_limit": { "requests_per_second": 0 } })),
            "/plugins/0/rate_limit/requests_per_second",
        ),
        (
            with(json!({ "circuit_breaker": { "failure_ratio": 2 } })),
            "/plugins/0/circuit_breaker/failure_ratio",
        ),
        (with(json!({ "health_check": { "jitter": 1.5 } })), "/plugins/0/health_check/jitter"),
        (with(json!({ "health_check": { "fall": 0 } })), "/plugins/0/health_check/fall"),
        (
            with(json!({ "balance": { "panic_threshold": 200 } })),
            "/plugins/0/balance/panic_threshold",
        ),
        (
            with(json!({ "concurrency": { "per_endpoint": 0 } })),
            "/plugins/0/concurrency/per_endpoint",
        ),
        (with(json!({ "budget": { "rule": "share", "ratio": -1 } })), "/plugins/0/budget/ratio"),
        (
            json!({ "default_retry": { "attempts": 65 }, "plugins": [plugin()] }),
            "/default_retry/attempts",
        ),
        (with(json!({ "health_check": { "timeout": "0s" } })), "/plugins/0/health_check/timeout"),
        (
            with(json!({ "health_check": { "interval": "25h" } })),
            "/plugins/0/health_check/interval",
        ),
        (
            with(json!({ "health_check": { "interval": 999_999 } })),
            "/plugins/0/health_check/interval",
        ),
        (
            with(json!({ "balance": { "outlier": { "interval": "0" } } })),
            "/plugins/0/balance/outlier/interval",
        ),
        (
            with(json!({ "circuit_breaker": { "open_for": "00ms" } })),
            "/plugins/0/circuit_breaker/open_for",
        ),
        (with(json!({ "timeout": 9_223_372_036_854_775_808_u64 })), "/plugins/0/timeout"),
        (
            with(
                json!({ "transport": "unix", "endpoint": "/a", "options": { "ping_after": "soon" } }),
            ),
            "/plugins/0/options/ping_after",
        ),
        (
            with(
                json!({ "transport": "grpc", "endpoint": "a:1", "options": { "allowed_uids": ["a"] } }),
            ),
            "/plugins/0/options/allowed_uids/0",
        ),
        (
            with(
                json!({ "transport": "exec", "executable": "/a", "options": { "output": { "stdout": 1 } } }),
            ),
            "/plugins/0/options/output/stdout",
        ),
        // Rules of a plugin.
        (json!({ "plugins": [] }), "/plugins"),
        (without("name"), "/plugins/0"),
        (with(json!({ "name": "" })), "/plugins/0/name"),
        (without("transport"), "/plugins/0"),
        (without("endpoint"), "/plugins/0"),
        (with(json!({ "transport": "http", "endpoint": "localhost" })), "/plugins/0/endpoint"),
        (with(json!({ "endpoint": "http://tax" })), "/plugins/0/endpoint"),
        (json!({ "plugins": [{ "name": "a", "transport": "exec" }] }), "/plugins/0"),
        (json!({ "plugins": [{ "name": "a", "transport": "unix" }] }), "/plugins/0"),
        (with(json!({ "auth": { "method": "api-key" } })), "/plugins/0/auth"),
        (with(json!({ "auth": { "method": "bearer", "token": "" } })), "/plugins/0/auth/token"),
        (with(json!({ "auth": { "method": "basic", "username": "u" } })), "/plugins/0/auth"),
        (with(json!({ "auth": { "method": "mtls", "key_file": "k" } })), "/plugins/0/auth"),
        (
            json!({ "plugins": { "a": { "transport": "http", "endpoint": "http://a", "x": 1 } } }),
            "/plugins/a",
        ),
    ] {
        assert!(read(&config).is_none(), "this is no mistake: {config}");
        assert!(
            marks(&config).iter().any(|at| at == mark),
            "{mark} is not marked, but {:?}: {config}",
            marks(&config)
        );
    }
}
