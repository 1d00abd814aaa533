//! The program `upstream`, the sample that it writes, and the schema.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::{Value, json};
use tower_upstream::config::{Config, Format, Sections, schema};

fn upstream(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_upstream")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("upstream-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn files_are_checked() {
    let directory = directory("check");
    let good = directory.join("good.yaml");
    fs::write(&good, "metrics_port: 1\nplugins: {a: {transport: http, endpoint: 'http://a'}}\n")
        .unwrap();
    let bad = directory.join("bad.yaml");
    fs::write(&bad, "plugins: {a: {transport: htp, endpoint: 'http://a'}}\n").unwrap();
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());

    let output = upstream(&["check", good]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        text(&output.stdout).contains("1:1: [CONFIG_1703] metrics_port: this key has no effect")
    );
    let output = upstream(&["check", good, bad]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains(&format!("{bad}:1:26: [PLUGIN_1008] plugins.a.transport: "))
    );
    let output = upstream(&["check", "--json", bad]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["mistakes"][0]["code"], "PLUGIN_1008");
    assert_eq!(told["mistakes"][0]["line"], 1);
    assert_eq!(told["mistakes"][0]["help"], "did you mean `http`?");
    for wrong in [&["check"][..], &["check", "--json"], &[], &["chek", good], &["sample", "ini"]] {
        assert_eq!(upstream(wrong).status.code(), Some(2), "{wrong:?}");
    }
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn the_sample_reads_as_the_defaults() {
    for (name, format) in [("json", Format::Json), ("yaml", Format::Yaml), ("toml", Format::Toml)] {
        let output = upstream(&["sample", name]);
        assert_eq!(output.status.code(), Some(0));
        let config = Config::from_str(text(&output.stdout), format).unwrap();
        assert_eq!((config.defaults, config.plugins.len()), (Sections::default(), 1), "{name}");
    }
    let directory = directory("sample");
    let path = directory.join("a/b/plugins.yaml");
    Config::write_sample(&path).unwrap();
    assert!(Config::write_sample(&path).is_err(), "it is never written over");
    assert!(Config::write_sample(directory.join("plugins.ini")).is_err());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode =
            |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o750));
    }
    fs::remove_dir_all(&directory).unwrap();
}

/// Where a key is in a schema.
fn at<'s>(schema: &'s Value, path: &[&str]) -> &'s Value {
    path.iter().fold(schema, |schema, key| {
        let several = schema["anyOf"].as_array().into_iter().flatten();
        let mut found = std::iter::once(schema).chain(several).filter_map(|of| match *key {
            "[]" => of.get("items"),
            key => of.get("properties")?.get(key),
        });
        found.next().unwrap_or_else(|| panic!("{key} of {path:?}: {schema:#}"))
    })
}

#[test]
fn the_schema_has_every_key_with_its_type_and_default() {
    let schema = schema();
    let plugin = &schema["$defs"]["plugin"];
    let kind = |path: &[&str]| at(plugin, path)["$ref"].as_str().unwrap().to_owned();
    for (path, of) in [
        (&["name"][..], "text"),
        (&["enabled"], "bool"),
        (&["priority"], "integer"),
        (&["rate_limit", "burst_size"], "natural"),
        (&["circuit_breaker", "failure_ratio"], "number"),
        (&["auth", "password"], "secret"),
        (&["budget", "max_tokens"], "natural"),
    ] {
        assert_eq!(kind(path), format!("#/$defs/{of}"), "{path:?}");
    }
    assert_eq!(at(plugin, &["rate_limit", "burst_size"])["default"], 20);
    // Keys of the section, beside those of the part, by both names, and deeper ones.
    for path in [
        &["circuit_breaker", "scope"][..],
        &["circuit_breaker", "failure_threshold"],
        &["circuit_breaker", "window", "calls"],
        &["retry", "max_retries"],
        &["retry", "idempotent"],
        &["balance", "strategy"],
        &["balance", "outlier", "interval"],
        &["auth", "token"],
        &["endpoints", "[]", "address"],
        &["budget", "ratio"],
        &["timeout"],
    ] {
        at(plugin, path);
    }
    assert!(at(plugin, &["timeout"])["description"].as_str().unwrap().contains("1m30s"));
    let strict = |path: &[&str]| at(&schema, path)["additionalProperties"] == false;
    assert!(strict(&[]) && strict(&["default_retry"]) && plugin["additionalProperties"] == false);
    for key in ["default_circuit_breaker", "defaults", "preset", "security", "discovery"] {
        at(&schema, &[key]);
    }
    assert_eq!(at(&schema, &["preset"])["anyOf"][0]["enum"], json!(["go"]));
    // Every key of the defaults is there.
    let defaults = serde_json::to_value(Sections::default()).unwrap();
    for (section, members) in defaults.as_object().unwrap() {
        for key in members.as_object().into_iter().flatten().map(|(key, _)| key.as_str()) {
            at(plugin, &[section, key]);
        }
    }
    let output = upstream(&["schema"]);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), schema);
}

#[test]
fn the_schema_that_is_committed_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/schema.json");
    let schema = format!("{:#}\n", schema());
    if std::env::var_os("WRITE_SCHEMA").is_some() {
        fs::write(path, &schema).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap();
    assert!(committed == schema, "run this test again with WRITE_SCHEMA=1");
}
