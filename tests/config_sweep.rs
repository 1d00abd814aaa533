//! Every key with values of every kind: reading, the schema and the formats say the same of each.
#![cfg(all(feature = "config", feature = "yaml"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use serde_json::{Map, Value, json};
use tower_upstream::config::{Config, ConfigError, Format};

/// Something in each key.
fn every_key() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/every_key.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A file with one section or key of `every_key`, and where that is.
struct Part {
    file: Value,
    at: String,
}

fn parts() -> Vec<Part> {
    let every = every_key();
    let alone =
        json!({ "name": "alone", "transport": "http", "endpoint": "http://localhost:8080" });
    let mut parts = Vec::new();
    for (key, section) in every["defaults"].as_object().unwrap() {
        let file = json!({ "defaults": { key: section }, "plugins": [alone] });
        parts.push(Part { file, at: format!("/defaults/{key}") });
    }
    for key in ["$schema", "preset", "log_level", "metrics_port", "discovery", "security"] {
        let file = json!({ key: every[key], "plugins": [alone] });
        parts.push(Part { file, at: format!("/{key}") });
    }
    for plugin in every["plugins"].as_array().unwrap() {
        for (key, value) in plugin.as_object().unwrap() {
            let mut small = Map::new();
            for needed in ["name", "transport", "endpoint", "endpoints", "executable", "discover"] {
                small.extend(plugin.get(needed).map(|value| (needed.to_owned(), value.clone())));
            }
            small.insert(key.clone(), value.clone());
            let rates = json!({ "name": "other", "transport": "http", "endpoint": "http://a" });
            let file = json!({ "plugins": [small, rates] });
            parts.push(Part { file, at: format!("/plugins/0/{key}") });
        }
    }
    parts
}

/// The pointers of a value and of all in it.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let of = |key: &str| format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| pointers(value, &of(key), found));
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(index, value)| pointers(value, &of(&index.to_string()), found));
        }
        _ => {}
    }
}

/// Each file with each of `values` at each place, and that place.
fn each(values: &[Value], mut see: impl FnMut(&Value, &str, &Value)) {
    for Part { file, at } in parts() {
        let mut all = Vec::new();
        pointers(file.pointer(&at).unwrap(), &at, &mut all);
        for pointer in all {
            for value in values {
                let mut edited = file.clone();
                *edited.pointer_mut(&pointer).unwrap() = value.clone();
                see(&edited, &pointer, value);
            }
        }
    }
}

/// Values of which some fit anywhere, and none everywhere.
fn values() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(0.5),
        json!(""),
        json!("x"),
        json!("5s"),
        json!([]),
        json!({ "x": 1 }),
    ]
}

/// Where the schema marks what is read: a number out of its range, where nothing uses it.
const UNUSED: [&str; 5] = [
    "/defaults/balance/hash/load_factor",
    "/defaults/failover/hedge/after",
    "/defaults/fallback/cache_duration",
    "/defaults/fallback/max_bytes",
    "/defaults/fallback/max_entries",
];

/// Where the schema leaves to reading what a value is, and why.
const LEFT: [(&str, &str); 8] = [
    ("/auth/method", "Go writes it with zeros for no section"),
    ("/budget", "it may be that of a default"),
    ("/circuit_breaker/window", "settings of a choice"),
    ("/discover", "settings of a backend, which a feature may leave out"),
    ("/endpoints/1/health_check/expected", "how long a list is"),
    ("/failover/hedge", "settings of a choice"),
    ("/balance/locality", "settings of a choice"),
    ("/security/policy", "a word or a number of Go"),
];

/// Words of serde and of Rust.
const OF_PROGRAMMERS: [&str; 8] =
    ["enum", "untagged", "variant", "struct", "tuple", "invalid type", "Option", "u32"];

#[test]
fn the_schema_and_reading_say_the_same_of_each_value() {
    let schema = tower_upstream::config::schema();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let (mut marked, mut missed) = (Vec::new(), Vec::new());
    each(&values(), |file, at, value| {
        let marks = || schema.iter_errors(file).map(|of| of.to_string()).collect::<Vec<_>>();
        let error = match Config::from_str(&file.to_string(), Format::Json) {
            Ok(_) if UNUSED.contains(&at) || schema.is_valid(file) => return,
            Ok(_) => return marked.push(format!("{at}: {value}: {:?}", marks())),
            Err(error) => error,
        };
        for mistake in error.mistakes() {
            let words = mistake.message.split(|c: char| !c.is_alphanumeric());
            let said = words.filter(|word| OF_PROGRAMMERS.contains(word)).count();
            assert_eq!(said, 0, "{at}: {value}: {error}");
        }
        // Types and names; what is said of values and of other keys is left to reading.
        let is_kind = |message: &str| message.starts_with("expected ") || message == "unknown key";
        let is_of_kind = error.mistakes().iter().any(|mistake| is_kind(&mistake.message));
        let is_left = LEFT.iter().any(|(part, _)| at.contains(part));
        if is_of_kind && !is_left && schema.is_valid(file) {
            missed.push(format!("{at}: {value}: {error}"));
        }
    });
    assert!(marked.is_empty(), "the schema marks what is read:\n{}", marked.join("\n"));
    assert!(missed.is_empty(), "the schema does not mark:\n{}", missed.join("\n"));
}

/// A value as YAML has it, in lines of their own.
fn yaml(value: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(members) if !members.is_empty() => {
            let line =
                |(key, value)| format!("\n{indent}{}:{}", json!(key), yaml(value, depth + 1));
            members.iter().map(line).collect()
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().map(|item| format!("\n{indent}-{}", yaml(item, depth + 1))).collect()
        }
        value => format!(" {value}"),
    }
}

/// A value as TOML has it, in one line.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .map(|(key, value)| format!("{} = {}", json!(key), toml(value)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        value => value.to_string(),
    }
}

/// What is said of a file, wherever it stands in that.
fn told(read: &Result<Config, ConfigError>) -> Vec<(String, String)> {
    let mistakes = match read {
        Ok(config) => config.notes(),
        Err(error) => error.mistakes(),
    };
    let mut told: Vec<_> =
        mistakes.iter().map(|of| (of.path.clone(), of.message.clone())).collect();
    told.sort();
    told
}

#[test]
fn a_value_is_the_same_in_each_format() {
    let has_null = |file: &Value| file.to_string().contains("null");
    each(&[json!(0), json!("x"), json!([{}])], |file, at, value| {
        let of_json = Config::from_str(&file.to_string(), Format::Json);
        let of_yaml = Config::from_str(&yaml(file, 0), Format::Yaml);
        // There a number or a bool is a text, where one is asked for.
        if value.is_string() || value.is_array() {
            assert_eq!(told(&of_json), told(&of_yaml), "{at}: {value}");
            assert_eq!(of_json.as_ref().ok(), of_yaml.as_ref().ok(), "{at}: {value}");
        }
        if !has_null(file) {
            let members = file.as_object().unwrap().iter();
            let text: String =
                members.map(|(key, value)| format!("{} = {}\n", json!(key), toml(value))).collect();
            let of_toml = Config::from_str(&text, Format::Toml);
            assert_eq!(told(&of_json), told(&of_toml), "{at}: {value}");
            assert_eq!(of_json.as_ref().ok(), of_toml.as_ref().ok(), "{at}: {value}");
        }
    });
}
