//! The program `upstream`, the sample that it writes, and the schema.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use tower_upstream::config::{Config, Format, PluginConfig, Sections, schema};

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
    assert!(text(&output.stdout).ends_with(&format!("{good}: no mistakes, 1 note\n")));
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

fn piped(arguments: &[&str], input: impl AsRef<[u8]>) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_upstream"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_ref()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_text_from_the_standard_input_is_checked_with_what_the_program_has() {
    let own = "plugins: {a: {transport: wasm, endpoint: x, fallback: b}}\n";
    let output = piped(&["check", "-"], own);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stdout);
    assert!(said.contains("1:26: [PLUGIN_1008] plugins.a.transport: "), "{said}");
    assert!(said.contains("`Plugins::register_factory`"), "{said}");
    for arguments in [
        &["check", "--transport", "wasm", "--plugin", "b", "-"][..],
        &["check", "--transport=wasm", "--plugin=b", "--format=yaml", "-"],
    ] {
        let output = piped(arguments, own);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(text(&output.stdout), "-: no mistakes\n");
    }
    let json = r#"{"plugins": {"a": {"Transport": "http", "ENDPOINT": "http://a"}}}"#;
    let output = piped(&["check", "--format", "json", "-"], json);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn the_standard_input_is_read_as_a_file_is() {
    for (bytes, said) in [
        (&b"plugins: \xff"[..], "-: [CONFIG_1702] the file is not UTF-8, from line 1 on"),
        (b"\xff\xfep\0", "it is UTF-16: save it as UTF-8"),
        (b"", "-: [CONFIG_1706] the file has no content"),
        (b"plugins: {a: {transport: htp}}", "-:1:26: [PLUGIN_1008] plugins.a.transport: "),
        (&vec![b'#'; (10 << 20) + 1], "-: [CONFIG_1706] the file is longer than 10 MiB"),
    ] {
        let output = piped(&["check", "-"], bytes);
        assert_eq!(output.status.code(), Some(1), "{said}: {output:?}");
        assert!(text(&output.stdout).contains(said), "{said}: {output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_written_is_no_success() {
    for arguments in [&["sample"][..], &["schema"], &["--help"], &["check", "-"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut upstream = Command::new(env!("CARGO_BIN_EXE_upstream"));
        upstream.args(arguments).stdin(Stdio::null()).stdout(full);
        let output = upstream.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains("cannot be written"), "{output:?}");
    }
    // A reader that has seen enough.
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(reader);
    let mut upstream = Command::new(env!("CARGO_BIN_EXE_upstream"));
    let status = upstream.arg("schema").stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[cfg(unix)]
#[test]
fn a_file_may_have_any_name() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    let directory = directory("names");
    let check = |name: &[u8], option: &str| {
        let mut upstream = Command::new(env!("CARGO_BIN_EXE_upstream"));
        upstream.args(["check", option]).arg(directory.join(OsStr::from_bytes(name)));
        upstream.output().unwrap()
    };
    let good = "plugins: {a: {transport: http, endpoint: 'http://a'}}\n";
    for name in [&b"latin-\xe9.yaml"[..], b"a b.yaml", "ü.yaml".as_bytes(), b"-.yaml"] {
        // Not every file system has them.
        if fs::write(directory.join(OsStr::from_bytes(name)), good).is_ok() {
            assert_eq!(check(name, "--json").status.code(), Some(0), "{name:?}");
        }
    }
    // A shell completes paths that lead upwards.
    fs::create_dir(directory.join("below")).unwrap();
    assert_eq!(check(b"below/../a b.yaml", "--").status.code(), Some(0));
    let output = check(b"below/../none.yaml", "--");
    assert!(text(&output.stdout).contains("[CONFIG_1701]"), "{output:?}");
    let output = check(b"none-\xe9.yaml", "--json");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["mistakes"][0]["code"], "CONFIG_1701", "{told}");
    // What a terminal would obey is shown.
    let output = check(b"a\x1b[31m.yaml", "--");
    assert!(text(&output.stdout).contains("a\\u{1b}[31m.yaml: [CONFIG_1705]"), "{output:?}");
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn an_option_that_there_is_not_is_no_file() {
    for (arguments, said) in [
        (&["check", "--nonsense", "a.yaml"][..], "there is no option `--nonsense`"),
        (&["check", "-x"], "there is no option `-x`"),
        (&["check", "--json=1", "a.yaml"], "there is no option `--json`"),
        (&["check", "--transport"], "`--transport` needs a value"),
        (&["check", "--format", "ini", "-"], "[CONFIG_1702]"),
        (&["--nonsense"], "`--nonsense` is not understood here"),
        (&["sample", "json", "more"], "`more` is not understood here"),
        (&["schema", "more"], "`more` is not understood here"),
        (&[], "it is not said what to do"),
    ] {
        let output = upstream(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).starts_with(said), "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains("usage: upstream check"), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["check", "--help"], &["check", "a.yaml", "-h"], &["help"]]
    {
        let output = upstream(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(text(&output.stdout).starts_with("usage: upstream check"), "{arguments:?}");
    }
    // After `--` all are files.
    let output = upstream(&["check", "--", "--help"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let version = format!("upstream {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&upstream(&["--version"]).stdout), version);
}

#[test]
fn the_sample_reads_as_the_defaults() {
    for (name, format) in [("json", Format::Json), ("yaml", Format::Yaml), ("toml", Format::Toml)] {
        let output = upstream(&["sample", name]);
        assert_eq!(output.status.code(), Some(0));
        let config = Config::from_str(text(&output.stdout), format).unwrap();
        let plugin = PluginConfig::new("example", "https").with_endpoint("https://example.com");
        assert_eq!(config, Config::default().with_plugin(plugin), "{name}");
    }
    // Every key is there, with what it is for.
    let (schema, sample) = (schema(), Config::sample(Format::Yaml).unwrap());
    for definition in ["retry", "circuit_breaker", "plugin", "balance", "auth"] {
        for (key, of) in schema["$defs"][definition]["properties"].as_object().unwrap() {
            let said = of["description"].as_str().unwrap();
            let first: String = said.split(' ').take(3).collect::<Vec<_>>().join(" ");
            let is_other = said.starts_with("Go's name");
            let has_key = sample.contains(&format!(" {key}:"));
            assert!(
                is_other || key == "name" || has_key && sample.contains(&first),
                "{definition}.{key}"
            );
        }
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

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_a_mistake_and_not_unset() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    let directory = directory("variable");
    for (name, members) in [
        ("placeholder", "version: '${TAX_BYTES:-1.0.0}'"),
        ("secret", "env: {TOKEN: {env: TAX_BYTES}}"),
    ] {
        let file = directory.join(format!("{name}.yaml"));
        let text = format!("plugins: {{a: {{transport: exec, executable: /a, {members}}}}}\n");
        fs::write(&file, text).unwrap();
        let mut check = Command::new(env!("CARGO_BIN_EXE_upstream"));
        check.args(["check", "--json"]).arg(&file);
        check.env("TAX_BYTES", OsStr::from_bytes(b"hunter2\xff"));
        let output = check.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = std::str::from_utf8(&output.stdout).unwrap();
        assert!(said.contains("`TAX_BYTES` is not UTF-8") && !said.contains("hunter2"), "{said}");
    }
    fs::remove_dir_all(&directory).unwrap();
}

#[cfg(unix)]
#[test]
fn a_file_that_must_not_be_read_says_so() {
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};

    let directory = directory("unreadable");
    let mode = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&directory, 0o755);
    let (program, file) = (directory.join("upstream"), directory.join("plugins.yaml"));
    // By a process of its own: a child that another test starts just now would hold the copy open for writing, and
    // what is open for writing cannot run.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_upstream")).arg(&program).status();
    assert!(copied.unwrap().success());
    mode(&program, 0o755);
    fs::write(&file, "plugins: {a: {transport: http, endpoint: 'http://a'}}\n").unwrap();
    mode(&file, 0o000);
    let mut check = Command::new(&program);
    check.args(["check", "--json"]).arg(&file);
    // The superuser may read all.
    if fs::File::open(&file).is_ok() {
        check.uid(65_534).gid(65_534);
    }
    let output = check.output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["mistakes"][0]["code"], "CONFIG_1707", "{told}");
    assert_eq!(output.status.code(), Some(1));
    fs::remove_dir_all(&directory).unwrap();
}

/// Where a key is in a schema.
fn at<'s>(root: &'s Value, schema: &'s Value, path: &[&str]) -> &'s Value {
    path.iter().fold(schema, |schema, key| {
        let found = match *key {
            "[]" => schema.get("items"),
            key => resolved(root, schema)["properties"].get(key),
        };
        found.unwrap_or_else(|| panic!("{key} of {path:?}: {schema:#}"))
    })
}

fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let link = schema["$ref"].as_str().or(schema["else"]["$ref"].as_str());
    let link = link.map(|link| link.rsplit('/').next().unwrap());
    link.map_or(schema, |name| &root["$defs"][name])
}

#[test]
fn the_schema_has_every_key_with_its_type_and_default() {
    let schema = schema();
    let plugin = |path: &[&str]| at(&schema, &schema["$defs"]["plugin"], path);
    for (path, of) in [
        (&["name"][..], "text"),
        (&["enabled"], "bool"),
        (&["priority"], "integer"),
        (&["rate_limit", "burst_size"], "natural"),
        (&["circuit_breaker", "failure_ratio"], "number"),
        (&["auth", "password"], "secret"),
        (&["budget", "max_tokens"], "natural"),
        (&["timeout"], "duration"),
    ] {
        assert_eq!(plugin(path)["$ref"], format!("#/$defs/{of}"), "{path:?}");
    }
    for (path, default) in [
        (&["rate_limit", "burst_size"][..], json!(20)),
        (&["retry", "attempts"], json!(3)),
        (&["retry", "max_retries"], json!(2)),
        (&["retry", "random_jitter"], json!(true)),
        (&["circuit_breaker", "window"], json!({ "time": "10s" })),
    ] {
        assert_eq!(plugin(path)["default"], default, "{path:?}");
    }
    for (path, range) in [
        (&["retry", "attempts"][..], json!([1, 64, null, null])),
        (&["retry", "max_retries"], json!([null, 63, null, null])),
        (&["retry", "multiplier"], json!([1.0, 100.0, null, null])),
        (&["rate_limit", "requests_per_second"], json!([null, 1e9, 0.0, null])),
        (&["balance", "panic_threshold"], json!([null, 100, null, null])),
        (&["balance", "outlier", "consecutive_failures"], json!([null, 65_535, null, null])),
        (&["health_check", "parallel"], json!([1, 10_000, null, null])),
        (&["fallback", "max_entries"], json!([1, null, null, null])),
    ] {
        let of = plugin(path);
        let found =
            ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"].map(|end| &of[end]);
        assert_eq!(json!(found), range, "{path:?}");
    }
    let said = |path: &[&str]| plugin(path)["description"].as_str().unwrap().to_owned();
    assert_eq!(
        said(&["retry", "attempts"]),
        "Number of attempts in all, from 1 to 64. Default: 3."
    );
    assert_eq!(said(&["retry", "max_retries"]), "Go's name of `attempts`.");
    assert!(said(&["circuit_breaker", "window"]).contains(r#"{"calls": 100}"#));
    // Keys of the section, beside those of the part, by both names, and deeper ones.
    for path in [
        &["circuit_breaker", "scope"][..],
        &["circuit_breaker", "failure_threshold"],
        &["circuit_breaker", "window", "calls"],
        &["retry", "idempotent"],
        &["balance", "strategy"],
        &["balance", "outlier", "interval"],
        &["auth", "token"],
        &["endpoints", "[]", "address"],
        &["failover", "hedge", "quantile"],
        &["budget", "ratio"],
    ] {
        plugin(path);
    }
    for path in [&[][..], &["default_retry"], &["security"], &["security", "audit"], &["defaults"]]
    {
        let of = resolved(&schema, at(&schema, &schema, path));
        assert_eq!(of["additionalProperties"], false, "{path:?}");
    }
    for key in ["default_circuit_breaker", "defaults", "preset", "security", "discovery"] {
        at(&schema, &schema, &[key]);
    }
    assert_eq!(at(&schema, &schema, &["preset"])["anyOf"][0]["enum"], json!(["go"]));
    // Every key of the defaults is there.
    let defaults = serde_json::to_value(Sections::default()).unwrap();
    for (section, members) in defaults.as_object().unwrap() {
        for key in members.as_object().into_iter().flatten().map(|(key, _)| key.as_str()) {
            plugin(&[section, key]);
        }
    }
    let output = upstream(&["schema"]);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), schema);
    // Validators of Go and Rust have no patterns that look around.
    assert!(["(?=", "(?!", "(?<"].iter().all(|of| !text(&output.stdout).contains(of)));
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
