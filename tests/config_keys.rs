//! The guide's page of all keys of a config file: it says of each what the comment of its field says.
#![cfg(all(feature = "cli", feature = "grpc", feature = "process", feature = "tls", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::Path,
};

use serde_json::{Value, json};
use tower_upstream::{
    config::{Config, Format, ReadOptions, env::EnvOptions, schema},
    transport::{GrpcConfig, ProcessConfig, SocketConfig},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

const ABOUT: &str = "\
# Keys of a config file

Every key of the file that [`Config::from_file`](crate::config::Config::from_file) reads. The sections of
`defaults` hold for all plugins; each plugin may have them, too, and takes the keys that it leaves out from there.

Durations are text such as `1m30s`, or whole nanoseconds: 0, or at least a millisecond of them, since fewer are meant in
another unit. Any text may have `${NAME}` or `${NAME:-default}` in it, of the
[environment](crate::config::env), and so may a number or a bool that is one such text. Secrets may also be
`{env: NAME}` or `{file: /run/secrets/name}`. Other names are those of the Go plugin manager, and are read as well; in
JSON, names are read in any case.

```yaml
# yaml-language-server: $schema=plugins.schema.json
defaults:
  timeout: 5s
  retry: { attempts: 3 }
plugins:
  tax:
    transport: https
    endpoints: [https://tax-1.example, { address: https://tax-2.example, weight: 3 }]
    auth: { method: bearer, token: \"${TAX_TOKEN}\" }
    balance: { strategy: peak-ewma }
    circuit_breaker: { failures: 5, open_for: 5s }
    health_check: { endpoint: /health, interval: 5s }
    rate_limit: { requests_per_second: 1000, burst: 200 }
    fallback: tax-archive
  tax-archive:
    transport: unix
    endpoint: /run/tax-archive.sock
```

# Where a plugin is

| `transport` | `endpoint`, and each of `endpoints` |
|---|---|
| `http`, `https` | a URL, such as `https://tax.example/v2` |
| `grpc`, `grpc-tls` | `10.0.0.1:50051` |
| `unix` | `/run/tax.sock` |
| `exec` | `/usr/lib/plugins/tax`: a program, with its `args`. Of the environment it gets its `env` and nothing else, but for what `inherit_env` of its `options` names |

Endpoints that come and go are found by a backend, whose settings are the names of its own config:
[`DiscoverConfig`](crate::config::DiscoverConfig) lists them. To change the backend, change that line:

```yaml
plugins:
  tax:
    transport: http
    discover: { file: { path: /etc/tax/endpoints.json } }
    # discover: { consul: { address: \"https://consul.example:8501\", token: { env: CONSUL_TOKEN } } }
    # discover: { dns: {}, service: \"http://_http._tcp.tax.internal\" }
    # discover: { etcd: { endpoints: [\"10.0.0.1:2379\", \"10.0.0.2:2379\"] } }
    # discover: { eureka: { urls: [\"http://10.0.0.1:8761/eureka\"] } }
    # discover: { http: { seeds: [\"http://10.0.0.1:8080\"] } }
    # discover: { kubernetes: { kubeconfig_path: /home/me/.kube/config }, service: shop/tax }
    # discover: { mdns: { interface: eth0 } }
    # discover: { memory: {} }
```

`service` is what the backend is asked for; it is the name of the plugin unless that is written. With `memory`, the program says
where they are, by [`Plugins::register_source`](crate::plugins::Plugins::register_source). The
settings are checked with the file; what only the backend can tell, such as a kubeconfig that is not there, when the plugins are
made.

# The program `upstream`

`cargo install --path . --features cli`, in a checkout of this crate, installs the program `upstream`.

| command | what it does |
|---|---|
| `upstream check plugins.yaml` | tells every mistake and every note at its line, and ends with 1 if there are mistakes; `-` is the standard input |
| `upstream check --transport wasm --plugin audit plugins.yaml` | the same for a program with a factory `wasm` and a plugin `audit` of its own |
| `upstream sample` | prints a file with every key and its default |
| `upstream schema > plugins.schema.json` | prints the JSON Schema |

An editor that has the schema completes the keys and marks mistakes. The first line of the example names it for YAML; in
JSON and TOML the key `$schema` does, such as `\"$schema\": \"./plugins.schema.json\"`. One schema is for the three formats, so it
marks what only YAML has for a value, though it is read: `on` or `yes` for `true`, and a number or a bool without quotes where a
text is meant. In JSON it marks names in another case, which are read as well.

# Files of the Go plugin manager

They are read as they are. Keys that have no effect here are told by
[`Config::notes`](crate::config::Config::notes). `insecure_skip_verify` is unknown on purpose: a
certificate is always checked; trust your own authority by `auth.ca_file`. Go writes every member of a section: one whose
members are all zero is absent, and in another, a zero that is no value here, such as that of `time_window`, is not set, which
a note says. What a file leaves out has our defaults, unless it says
`preset: go`, or the program
[does](crate::config::ReadOptions::with_preset):

| key | ours | with `preset: go` |
|---|---|---|
| `timeout` | `0s`, which is none | `30s` |
| `balance.strategy` | `least-request` | `round-robin` |
| `circuit_breaker.scope` | `endpoint` | `upstream` |
| `circuit_breaker.failure_ratio`, `failures_min_calls` | 0.5, 0 | none, 3 |
| `circuit_breaker.open_for`, `open_growth`, `open_jitter` | `5s`, 1.5, 0.1 | `30s`, 1, 0 |
| `circuit_breaker.probes`, `successes`, `probe_failures` | 4, 3, 1 | 2, 2, 0 |
| `connection.connect_timeout`, `idle_timeout` | `5s`, `1m30s` | `10s`, `30s` |
| `connection.max_connections`, `max_idle_connections` | no limit, 64 | 10, 5 |
| `failover.enabled` | `true` | `false` |
| `health_check.interval`, `interval_unhealthy`, `jitter` | `5s`, `1s`, 0.1 | `30s`, `30s`, 0 |
| `health_check.timeout`, `rise` | `2s`, 2 | `5s`, 1 |
| `retry.attempts`, `jitter` | 3, `full` | 4, `ten_percent` |
| `retry.initial_interval`, `max_interval` | `50ms`, `10s` | `100ms`, `5s` |

# Transports

Each transport goes by those keys of `connection` that mean something to it; the others are read, and have no effect there.
Files of the Go plugin manager write all of them.

| key of `connection` | `http`, `https` | `grpc`, `grpc-tls` | `unix` | `exec` |
|---|---|---|---|---|
| `request_timeout` | yes | yes | yes | yes |
| `connect_timeout`, `idle_timeout`, `max_connection_age` | yes | yes | yes |  |
| `max_connections`, `max_idle_connections`, `keep_alive` | yes |  | yes |  |
| `allowed_uids`, `allow_any_user` | yes | yes | yes |  |
| `tls` | yes | yes |  |  |
| `max_response_bytes`, `max_header_bytes`, `disable_compression`, `health_path` | yes |  |  |  |

Over `unix`, `auth.token` is what each connection begins with, or else `auth.api_key`. `options` has what only one transport
knows, over what `connection` says. A wrong one is a mistake, and one that its transport does not know a note. Unlike
Go's client, no transport uses the proxies that `HTTP_PROXY` and the like name.

The settings of Go's failover manager are another form:
[`Config::from_failover`](crate::config::Config::from_failover) takes them as a `serde_json::Value`.
";

/// A field, or a variant of an enum.
#[derive(Debug, Default, Clone)]
struct Field {
    name: String,
    others: Vec<String>,
    doc: String,
    kind: String,
    is_flat: bool,
}

/// Structs and enums by their names, which several may have.
type Types = BTreeMap<String, Vec<Vec<Field>>>;

fn types() -> Types {
    let mut types = Types::new();
    let mut folders = vec![Path::new(ROOT).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|of| of == "rs") {
                read(&fs::read_to_string(path).unwrap(), &mut types);
            }
        }
    }
    types
}

/// Reads the fields of the types in one file, by its lines.
fn read(source: &str, types: &mut Types) {
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let words: Vec<_> = line.split_whitespace().collect();
        let name = match words[..] {
            [.., "struct" | "enum", name, "{"] => name,
            ["sections!", "{"] => "Sections",
            _ => continue,
        };
        let end = line.len() - line.trim_start().len();
        let (mut fields, mut field) = (Vec::new(), Field::default());
        let (mut has_doc, mut in_attribute) = (false, false);
        for line in lines.by_ref() {
            if line.starts_with(&format!("{}}}", " ".repeat(end))) {
                break;
            }
            let line = line.trim();
            if let Some(doc) = line.strip_prefix("///") {
                // The first paragraph alone.
                has_doc |= doc.is_empty();
                if !has_doc {
                    field.doc += doc;
                }
            } else if line.starts_with("#[") || in_attribute {
                in_attribute = !line.ends_with(']');
                field.is_flat |= line.contains("flatten");
                for part in line.split("alias = \"").skip(1) {
                    field.others.push(part.split('"').next().unwrap().to_owned());
                }
                if let Some((_, name)) = line.split_once("rename = \"") {
                    field.name = name.split('"').next().unwrap().to_owned();
                }
            } else if !line.starts_with("//") {
                let line = line.trim_start_matches("pub(super) ").trim_start_matches("pub ");
                let end =
                    line.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(line.len());
                let (name, rest) = line.split_at(end);
                let is_field =
                    !name.is_empty() && [":", "(", ","].iter().any(|of| rest.starts_with(of));
                if is_field {
                    if field.name.is_empty() {
                        field.name = snake(name);
                    }
                    rest.trim_matches([':', ',', ' ']).clone_into(&mut field.kind);
                    fields.push(std::mem::take(&mut field));
                } else {
                    field = Field::default();
                }
                has_doc = false;
            }
        }
        types.entry(name.to_owned()).or_default().push(fields);
    }
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

/// The names of the types in one.
fn parts(kind: &str) -> impl Iterator<Item = &str> {
    kind.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|part| !part.is_empty())
}

/// The fields of a type that have a name, or another name. Those of a part that is flat, or of a variant,
/// are its own.
fn fields(types: &Types, kind: &str, name: &str, depth: usize) -> Vec<Field> {
    let of = parts(kind).filter_map(|part| types.get(part)).flatten();
    let mut found = Vec::new();
    for field in of.flatten() {
        if field.name == name || field.others.iter().any(|other| other == name) {
            found.push(field.clone());
        } else if depth > 0 && (field.is_flat || field.kind.starts_with('(')) {
            found.extend(fields(types, &field.kind, name, depth - 1));
        }
    }
    found
}

/// Keys of Go that one field of ours has in another form.
const FORMS: [(&str, &str); 2] = [("max_retries", "attempts"), ("random_jitter", "jitter")];

/// Keys that are read and have no effect.
const INERT: [&str; 6] = [
    "discovery.",
    "security.auto_update",
    "security.hash_algorithm",
    "security.validate_on_start",
    "security.reload_delay",
    "metrics_port",
];

/// What is said of keys that no field has.
const OWN: [(&str, &str); 3] = [
    (
        "$schema",
        "Schema of the file, a path or a URL that editors go by. It has no other effect. Default: none.",
    ),
    ("budget.rule", "Rule, which decides what the other keys are."),
    ("security.audit.enabled", "Whether decisions are written. Default: true."),
];

fn field_of(types: &Types, of: &str, path: &str) -> Option<Field> {
    let (mut kind, mut found) = (of.to_owned(), None);
    for name in path.split('.') {
        let all = fields(types, &kind, name, 2);
        let docs: BTreeSet<_> =
            all.iter().map(|field| field.doc.trim()).filter(|doc| !doc.is_empty()).collect();
        let mut field = all.first()?.clone();
        field.doc = docs.into_iter().collect::<Vec<_>>().join(" Or: ");
        kind = all.iter().map(|field| field.kind.as_str()).collect::<Vec<_>>().join(" ");
        found = Some(field);
    }
    found
}

/// Without links, which lead nowhere in a file.
fn plain(doc: &str) -> String {
    let (mut text, mut rest) = (String::new(), doc.trim());
    while let Some((before, link)) = rest.split_once('[') {
        // In code, a bracket is one.
        if (text.matches('`').count() + before.matches('`').count()) % 2 == 1 {
            text += before;
            text.push('[');
            rest = link;
            continue;
        }
        let Some((inner, after)) = link.split_once(']') else { break };
        text += before;
        text += inner;
        rest = match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
    }
    text += rest;
    text.replace('|', "\\|")
}

/// A key as the schema has it.
struct Key<'s> {
    path: String,
    schema: &'s Value,
}

/// The definition that a schema refers to; that of a section but for one of zeros.
fn link(of: &Value) -> Option<&str> {
    let link = of["$ref"].as_str().or(of["else"]["$ref"].as_str());
    link.and_then(|link| link.strip_prefix("#/$defs/"))
}

/// All keys of a section, and of those in it.
fn walk<'s>(root: &'s Value, of: &'s Value, path: &str, found: &mut Vec<Key<'s>>) {
    let link = link(of);
    let of = link.map_or(of, |name| &root["$defs"][name]);
    for (name, schema) in of["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        found.push(Key { path: path.clone(), schema });
        walk(root, schema, &path, found);
    }
    let more = of["anyOf"].as_array().into_iter().flatten().chain(of.get("items"));
    if !["secret", "duration"].map(Some).contains(&link) {
        more.for_each(|of| walk(root, of, path, found));
    }
}

/// Nanoseconds, as one writes them.
fn in_units(nanos: f64) -> String {
    let units = [(3.6e12, "h"), (6e10, "m"), (1e9, "s"), (1e6, "ms"), (1e3, "µs")];
    match units.iter().find(|(of, _)| nanos >= *of && nanos % of == 0.0) {
        Some((of, unit)) => format!("`{}{unit}`", nanos / of),
        None => format!("`{nanos}ns`"),
    }
}

/// A list, or a map, with what each of its values is.
fn of_each(what: &str, root: &Value, each: &Value) -> String {
    match &*kind(root, each) {
        "text" => format!("{what} of texts"),
        "secret" => format!("{what} of secrets"),
        "number" => format!("{what} of numbers"),
        "text or section" => format!("{what} of texts or sections"),
        _ => what.to_owned(),
    }
}

fn kind(root: &Value, schema: &Value) -> String {
    let is_duration = link(schema) == Some("duration");
    let shown = |end: f64| if is_duration { in_units(end) } else { end.to_string() };
    let range = {
        let ends = |inclusive: &str, exclusive: &str| match (&schema[inclusive], &schema[exclusive])
        {
            (Value::Null, Value::Null) => None,
            (end, Value::Null) => Some((false, end.clone())),
            (_, end) => Some((true, end.clone())),
        };
        let ends = |inclusive: &str, exclusive: &str| {
            ends(inclusive, exclusive).map(|(is_out, end)| (is_out, end.as_f64().unwrap()))
        };
        let least = ends("minimum", "exclusiveMinimum").map(|(is_out, end)| match is_out {
            true => format!("above {}", shown(end)),
            false => format!("from {}", shown(end)),
        });
        let most =
            ends("maximum", "exclusiveMaximum").filter(|(_, end)| *end != f64::from(u32::MAX));
        let most = most.map(|(is_out, end)| {
            format!("{}{}", if is_out { "below " } else { "to " }, shown(end))
        });
        least.into_iter().chain(most).collect::<Vec<_>>().join(" ")
    };
    let link = link(schema);
    let of = link.map_or(schema, |name| &root["$defs"][name]);
    let types: Vec<_> =
        of["type"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let is_one = types.contains(&"object");
    let base = match link {
        Some("natural") => "number".to_owned(),
        Some("number") => "fraction".to_owned(),
        Some("integer") => "number, also below 0".to_owned(),
        Some(name) if !of["properties"].is_object() => name.to_owned(),
        _ if is_one && types.contains(&"string") => "text or section".to_owned(),
        _ if is_one && types.contains(&"array") => "list or map".to_owned(),
        _ if types.contains(&"integer") => "text or number".to_owned(),
        _ if of["properties"].is_object() => "section".to_owned(),
        _ if types.contains(&"array") => of_each("list", root, &of["items"]),
        _ if is_one && of["additionalProperties"].is_object() => {
            of_each("map", root, &of["additionalProperties"])
        }
        _ => match (of["type"].as_str(), of["anyOf"][0]["enum"].as_array()) {
            (Some("array"), _) => of_each("list", root, &of["items"]),
            (Some(_), _) => of_each("map", root, &of["additionalProperties"]),
            (None, Some(choices)) => {
                let choices: Vec<_> = choices.iter().filter_map(Value::as_str).collect();
                format!("`{}`", choices.join("`, `"))
            }
            _ => "any".to_owned(),
        },
    };
    if range.is_empty() { base } else { format!("{base}, {range}") }
}

fn page() -> String {
    let (schema, types) = (schema(), types());
    let mut keys = Vec::new();
    walk(&schema, &schema, "", &mut keys);
    let plugins = &schema["$defs"]["plugin"];
    walk(&schema, plugins, "plugins", &mut keys);
    let sections = schema["properties"]["defaults"]["properties"].as_object().unwrap();
    // Those of `defaults` are told by their names alone, and once.
    keys.retain(|key| {
        let mut parts = key.path.split('.');
        match (parts.next().unwrap(), parts.next()) {
            ("defaults", Some(_)) => false,
            ("plugins", Some(section)) => !sections.contains_key(section),
            (first, _) => !first.starts_with("default_"),
        }
    });
    walk(&schema, &schema["properties"]["defaults"], "", &mut keys);
    let mut seen = BTreeSet::new();
    keys.retain(|key| seen.insert(key.path.clone()));

    let (mut page, mut wanting) = (ABOUT.to_owned(), Vec::new());
    let is_section = |path: &str| sections.contains_key(path.split('.').next().unwrap());
    let is_plugin = |path: &str| path.starts_with("plugins.");
    for (title, is_in) in [
        (
            "The file",
            &(|path: &str| !is_section(path) && !is_plugin(path)) as &dyn Fn(&str) -> bool,
        ),
        ("A plugin", &is_plugin),
        ("The sections of a plugin, and of `defaults`", &is_section),
    ] {
        write!(page, "\n# {title}\n\n| key | type | default | other names | what it is |\n|---|---|---|---|---|\n").unwrap();
        for Key { path, schema: of } in keys.iter().filter(|key| is_in(&key.path)) {
            let name = path.rsplit('.').next().unwrap();
            let is_form = FORMS.iter().any(|(go, _)| *go == name);
            let mut field = field_of(&types, "Config Sections", path).unwrap_or_default();
            if let Some((_, doc)) = OWN.iter().find(|(key, _)| key == path) {
                (*doc).clone_into(&mut field.doc);
            }
            if is_form || field.others.iter().any(|other| other == name) {
                continue;
            }
            let mut others = field.others.clone();
            let forms = FORMS.iter().filter(|(_, ours)| path == &format!("retry.{ours}"));
            others.extend(forms.map(|(go, _)| (*go).to_owned()));
            others.extend(
                schema["properties"]
                    .get(format!("default_{path}"))
                    .map(|_| format!("default_{path}")),
            );
            let others: Vec<_> = others.into_iter().map(|other| format!("`{other}`")).collect();
            let doc = match INERT.iter().any(|key| path.starts_with(key)) {
                true => "A key of the Go plugin manager, without effect.".to_owned(),
                false => plain(&field.doc),
            };
            if doc.is_empty() {
                wanting.push(path.clone());
            }
            let link = link(of);
            let default = link.map_or(*of, |name| &schema["$defs"][name]);
            let default = match of.get("default").unwrap_or(&default["default"]) {
                Value::Null => String::new(),
                value => format!("`{value}`"),
            };
            let (kind, others) = (kind(&schema, of), others.join(", "));
            writeln!(page, "| `{path}` | {kind} | {default} | {others} | {doc} |").unwrap();
        }
    }
    page += &options(&types, &mut wanting);
    assert!(wanting.is_empty(), "no comment is found for {wanting:?}");
    page
}

const ABOUT_OPTIONS: &str = "
# Options of a transport

Of Go, `exec` also knows `args`, `env` and `environment`, which hold where the keys of that name do not, and
`handshake_config` and `stream_sync_config`, which are other names of `handshake` and `output`.

| key | transport | type | default | what it is |
|---|---|---|---|---|
";

/// The settings that each transport knows of its own.
fn options(types: &Types, wanting: &mut Vec<String>) -> String {
    let value = |of: Result<Value, serde_json::Error>| of.unwrap();
    let unix = value(serde_json::to_value(SocketConfig::default()));
    let grpc = value(serde_json::to_value(GrpcConfig::default()));
    let exec = value(serde_json::to_value(ProcessConfig::default()));
    let mut page = ABOUT_OPTIONS.to_owned();
    for (transport, shown, of, config) in [
        ("unix", "`unix`", "SocketConfig", &unix),
        ("grpc", "`grpc`, `grpc-tls`", "GrpcConfig", &grpc),
        ("exec", "`exec`", "ProcessConfig", &exec),
    ] {
        let mut found = Vec::new();
        leaves(config, "", &mut found);
        // Keys of the plugin itself, or of its connection.
        let is_own = |path: &str| match transport {
            "exec" => {
                let own = ["args", "request_timeout", "work_dir"].contains(&path);
                own || path.starts_with("handshake.plugin_")
            }
            _ => false,
        };
        for (path, default) in found.into_iter().filter(|(path, _)| !is_own(path)) {
            let field = field_of(types, of, &path).unwrap_or_default();
            let doc = plain(&field.doc);
            if doc.is_empty() {
                wanting.push(format!("options.{path}"));
            }
            let kind = match &default {
                Value::Bool(_) => "bool",
                Value::Array(_) => "list",
                Value::String(text)
                    if text.ends_with('s') && text.as_bytes()[0].is_ascii_digit() =>
                {
                    "duration"
                }
                Value::String(_) => "text",
                Value::Null if ["String", "PathBuf"].iter().any(|of| field.kind.contains(of)) => {
                    "text"
                }
                _ => "number",
            };
            let default = if default.is_null() { String::new() } else { format!("`{default}`") };
            writeln!(page, "| `options.{path}` | {shown} | {kind} | {default} | {doc} |").unwrap();
        }
        // Each is known.
        let mut all = config.clone();
        all.as_object_mut().unwrap().retain(|key, _| !is_own(key));
        let place = if transport == "exec" { "/a" } else { "a:1" };
        let plugin =
            json!({ "name": "a", "transport": transport, "endpoint": place, "options": all });
        let file = json!({ "plugins": [plugin] }).to_string();
        let config = Config::from_str(&file, Format::Json).unwrap();
        assert!(config.notes().is_empty(), "{:?}", config.notes());
    }
    page
}

/// All values without parts, by their paths.
fn leaves(value: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(value, &path, found);
            }
        }
        value => found.push((path.to_owned(), value.clone())),
    }
}

#[test]
fn the_page_of_the_guide_has_every_key_and_what_its_field_says() {
    let path = format!("{ROOT}/src/_guide/config.md");
    let page = page();
    if std::env::var_os("WRITE_KEYS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    assert!(
        committed == page,
        "run this test again with WRITE_KEYS=1, and those of the schema after it"
    );
}

#[test]
fn the_example_of_the_page_is_a_file_without_mistakes_and_notes() {
    let page = fs::read_to_string(Path::new(ROOT).join("src/_guide/config.md")).unwrap();
    let (_, example) = page.split_once("```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let env = EnvOptions::default().with_variables([("TAX_TOKEN", "t")]);
    let options = ReadOptions::default().with_env(env);
    let config = Config::from_str_with(example, Format::Yaml, &options).unwrap();
    assert_eq!((config.plugins.len(), config.notes().len()), (2, 0), "{:?}", config.notes());
}

#[cfg(all(
    feature = "consul",
    feature = "dns",
    feature = "etcd",
    feature = "eureka",
    feature = "kubernetes",
    feature = "mdns"
))]
mod backends {
    use tower_upstream::{discover::Memory, plugins::Plugins};

    use super::*;

    #[tokio::test]
    async fn a_plugin_can_be_made_with_each_backend_of_the_page() {
        let page = fs::read_to_string(Path::new(ROOT).join("src/_guide/config.md")).unwrap();
        let (_, example) = page.split_once("# Where a plugin is").unwrap();
        let (_, example) = example.split_once("```yaml\n").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        let backend = |line: &str| line.trim_start_matches([' ', '#']).starts_with("discover:");
        let (backends, plugin): (Vec<_>, Vec<_>) = example.lines().partition(|line| backend(line));
        assert_eq!(backends.len(), 9);
        let kubeconfig = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubeconfig-of-the-page");
        fs::write(
            &kubeconfig,
            "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:8001'}}]\n\
             contexts: [{name: c, context: {cluster: c, user: c}}]\n\
             users: [{name: c, user: {}}]\ncurrent-context: c\n",
        )
        .unwrap();
        let env = EnvOptions::default().with_variables([("CONSUL_TOKEN", "t")]);
        let options = ReadOptions::default().with_env(env);
        for line in backends {
            let line = line.replace("# ", "");
            let line = line.replace("/home/me/.kube/config", kubeconfig.to_str().unwrap());
            let text = format!("{}\n{line}\n", plugin.join("\n"));
            let config = Config::from_str_with(&text, Format::Yaml, &options).expect(&text);
            assert_eq!(config.notes().len(), 0, "{:?}", config.notes());
            let plugins = Plugins::<u64, u64>::new();
            plugins.register_source("tax", Memory::default());
            plugins.apply(config).expect(&text);
        }
    }
}
