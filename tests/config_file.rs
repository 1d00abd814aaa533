//! A config file: what is in it, and everything that is wrong with it.
#![cfg(all(feature = "config", feature = "yaml"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use serde_json::{Value, json};
use tower_upstream::{
    config::{Config, ConfigError, Format, ReadOptions, Unknown, env::EnvOptions},
    error::Code,
};

const ALL: [Format; 3] = [Format::Json, Format::Yaml, Format::Toml];

fn wrong(text: &str, format: Format) -> ConfigError {
    match Config::from_str(text, format) {
        Ok(config) => panic!("{text}: {config:?}"),
        Err(error) => error,
    }
}

/// Code, path, line and column of each mistake.
fn told(error: &ConfigError) -> Vec<(&str, &str, usize, usize)> {
    let mistakes = error.mistakes().iter();
    mistakes
        .map(|of| {
            let at = (of.line.unwrap_or_default(), of.column.unwrap_or_default());
            (of.code.as_str(), of.path.as_str(), at.0, at.1)
        })
        .collect()
}

/// One plugin with all that it needs, and `members` in the form of the format.
fn tax(members: &str, format: Format) -> String {
    match format {
        Format::Json => format!(
            "{{\"plugins\": [\n{{\"name\": \"tax\", \"transport\": \"https\", \"endpoint\": \"https://tax\"{}{members}}}]}}",
            if members.is_empty() { "" } else { ",\n" }
        ),
        Format::Yaml => {
            format!("plugins:\n- name: tax\n  transport: https\n  endpoint: https://tax\n{members}")
        }
        _ => format!(
            "[[plugins]]\nname = 'tax'\ntransport = 'https'\nendpoint = 'https://tax'\n{members}"
        ),
    }
}

/// A config in a format, of values.
fn text(config: &Value, format: Format) -> String {
    match format {
        Format::Toml => toml_of(config, ""),
        // JSON is YAML, too.
        _ => format!("{config:#}"),
    }
}

/// Keys of a table, and then the tables in it.
fn toml_of(table: &Value, path: &str) -> String {
    let (mut keys, mut tables) = (String::new(), String::new());
    for (key, value) in table.as_object().unwrap() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Object(_) => tables += &format!("[{path}]\n{}", toml_of(value, &path)),
            Value::Array(items) if items.iter().any(Value::is_object) => {
                for item in items {
                    tables += &format!("[[{path}]]\n{}", toml_of(item, &path));
                }
            }
            value => keys += &format!("{key} = {value}\n"),
        }
    }
    keys + &tables
}

#[test]
fn each_rule_of_go_has_its_code_and_place_in_every_format() {
    let json = |members: &str| format!("{{\"plugins\": [\n  {{{members}}}]}}");
    let yaml = |members: &str| format!("plugins:\n- {}\n", members.replace(", ", "\n  "));
    let toml = |members: &str| format!("[[plugins]]\n{}\n", members.replace(", ", "\n"));
    // JSON, YAML, TOML; each with its line and column.
    for (code, path, inputs) in [
        (
            "PLUGIN_1001",
            "plugins[0].name",
            [
                (json(r#""name": "", "transport": "http", "endpoint": "http://a""#), 2, 12),
                (yaml("name: '', transport: http, endpoint: http://a"), 2, 9),
                (toml("name = '', transport = 'http', endpoint = 'http://a'"), 2, 8),
            ],
        ),
        (
            "PLUGIN_1002",
            "plugins[0].transport",
            [
                (json(r#""name": "a", "transport": "", "endpoint": "http://a""#), 2, 30),
                (yaml("name: a, transport: '', endpoint: http://a"), 3, 14),
                (toml("name = 'a', transport = '', endpoint = 'http://a'"), 3, 13),
            ],
        ),
        (
            "PLUGIN_1003",
            "plugins[0].endpoint",
            [
                (json(r#""name": "a", "transport": "http", "endpoint": """#), 2, 50),
                (yaml("name: a, transport: https, endpoint: ''"), 4, 13),
                (toml("name = 'a', transport = 'grpc', endpoint = ''"), 4, 12),
            ],
        ),
        (
            "PLUGIN_1004",
            "plugins[0].endpoint",
            [
                (json(r#""name": "a", "transport": "http", "endpoint": "http://a b""#), 2, 50),
                (yaml("name: a, transport: http, endpoint: 'http://a:99999'"), 4, 13),
                (toml("name = 'a', transport = 'http', endpoint = 'http://a:x'"), 4, 12),
            ],
        ),
        (
            "PLUGIN_1005",
            "plugins[0].endpoint",
            [
                (json(r#""name": "a", "transport": "http", "endpoint": "localhost""#), 2, 50),
                (yaml("name: a, transport: http, endpoint: 'http:///x'"), 4, 13),
                (toml("name = 'a', transport = 'http', endpoint = '://a'"), 4, 12),
            ],
        ),
        (
            "PLUGIN_1006",
            "plugins[0].endpoint",
            [
                (json(r#""name": "a", "transport": "unix", "endpoint": """#), 2, 50),
                (yaml("name: a, transport: unix, endpoint: ''"), 4, 13),
                (toml("name = 'a', transport = 'unix', endpoint = ''"), 4, 12),
            ],
        ),
        (
            "PLUGIN_1007",
            "plugins[0].executable",
            [
                (json(r#""name": "a", "transport": "exec", "executable": """#), 2, 52),
                (yaml("name: a, transport: exec, executable: ''"), 4, 15),
                (toml("name = 'a', transport = 'exec', executable = ''"), 4, 14),
            ],
        ),
        (
            "PLUGIN_1008",
            "plugins[0].transport",
            [
                (json(r#""name": "a", "transport": "htp", "endpoint": "http://a""#), 2, 30),
                (yaml("name: a, transport: tcp, endpoint: http://a"), 3, 14),
                (toml("name = 'a', transport = 'wasm', endpoint = 'http://a'"), 3, 13),
            ],
        ),
        (
            "AUTH_1101",
            "plugins[0].auth",
            [
                (tax("\"auth\": {\"method\": \"api-key\"}", Format::Json), 3, 1),
                (tax("  auth: {method: api-key}\n", Format::Yaml), 5, 3),
                (tax("auth = {method = 'api-key'}\n", Format::Toml), 5, 1),
            ],
        ),
        (
            "AUTH_1102",
            "plugins[0].auth",
            [
                (tax("\"auth\": {\"method\": \"bearer\", \"token\": \"\"}", Format::Json), 3, 1),
                (tax("  auth:\n    method: bearer\n", Format::Yaml), 5, 3),
                (tax("[plugins.auth]\nmethod = 'bearer'\n", Format::Toml), 5, 10),
            ],
        ),
        (
            "AUTH_1103",
            "plugins[0].auth",
            [
                (tax("\"auth\": {\"method\": \"basic\", \"username\": \"u\"}", Format::Json), 3, 1),
                (tax("  auth: {method: basic}\n", Format::Yaml), 5, 3),
                (tax("auth = {method = 'basic', password = 'p'}\n", Format::Toml), 5, 1),
            ],
        ),
        (
            "AUTH_1104",
            "plugins[0].auth",
            [
                (tax("\"auth\": {\"method\": \"mtls\", \"cert_file\": \"c\"}", Format::Json), 3, 1),
                (tax("  auth: {method: mtls}\n", Format::Yaml), 5, 3),
                (tax("auth = {method = 'mtls', key_file = 'k'}\n", Format::Toml), 5, 1),
            ],
        ),
        (
            "AUTH_1105",
            "plugins[0].auth.method",
            [
                (tax("\"auth\": {\"method\": \"api_key\"}", Format::Json), 3, 20),
                (tax("  auth: {method: oauth}\n", Format::Yaml), 5, 18),
                (tax("auth = {method = 'x'}\n", Format::Toml), 5, 18),
            ],
        ),
        (
            "PLUGIN_1009",
            "plugins",
            [
                ("{\"log_level\": \"info\",\n \"plugins\": []}".to_owned(), 2, 13),
                ("log_level: info\nplugins: []\n".to_owned(), 2, 10),
                ("plugins = []\n".to_owned(), 1, 11),
            ],
        ),
    ] {
        for ((text, line, column), format) in inputs.iter().zip(ALL) {
            let error = wrong(text, format);
            assert_eq!(told(&error), [(code, path, *line, *column)], "{format}: {text}\n{error}");
            let whole = if code == "PLUGIN_1009" { Code::PLUGIN_1009 } else { Code::PLUGIN_1001 };
            assert_eq!(error.code(), whole, "{text}");
        }
    }
}

#[test]
fn a_name_that_is_given_twice_is_told_at_the_second() {
    let file = |last: Value| {
        let plugin =
            |name: &str| json!({ "endpoint": "http://a", "name": name, "transport": "http" });
        json!({ "plugins": [plugin("a"), plugin("b"), last] })
    };
    let twice = file(json!({ "endpoint": "http://c", "name": "a", "transport": "http" }));
    for (format, line, column) in
        [(Format::Json, 15, 15), (Format::Yaml, 15, 15), (Format::Toml, 11, 8)]
    {
        let error = wrong(&text(&twice, format), format);
        assert_eq!(told(&error), [("PLUGIN_1010", "plugins[2].name", line, column)], "{error}");
        assert_eq!(error.code(), Code::PLUGIN_1010);
        // Its own rules come first.
        let of_its_own = text(&file(json!({ "name": "a", "transport": "http" })), format);
        assert_eq!(wrong(&of_its_own, format).code(), Code::PLUGIN_1001);
    }
}

#[test]
fn a_plugin_that_is_off_is_checked_as_well() {
    let text = tax("  enabled: false\n  auth: {method: basic}\n", Format::Yaml);
    assert_eq!(wrong(&text, Format::Yaml).mistakes()[0].code, Code::AUTH_1103);
}

/// It is not missing, too: what comes of another mistake is not told.
#[test]
fn what_is_there_and_wrong_is_told_once() {
    for (members, path) in [
        ("  auth: {method: bearer, token: {file: /nowhere/token}}\n", "plugins.tax.auth.token"),
        ("  auth: {method: api-key, api_key: {env: NOWHERE}}\n", "plugins.tax.auth.api_key"),
        (
            "  auth: {method: basic, username: u, password: {file: /no}}\n",
            "plugins.tax.auth.password",
        ),
        ("  auth: {method: bearer, token: [a]}\n", "plugins.tax.auth.token"),
    ] {
        let text = format!("plugins:\n tax:\n  transport: http\n  endpoint: http://a\n{members}");
        let error = wrong(&text, Format::Yaml);
        assert_eq!(told(&error).iter().map(|of| of.1).collect::<Vec<_>>(), [path], "{error}");
    }
    for place in ["endpoints: '10.0.0.1:80'", "endpoint: [a]", "discover: dns"] {
        for transport in ["http", "grpc", "unix", "exec"] {
            let text = format!("plugins:\n tax:\n  transport: {transport}\n  {place}\n");
            let error = wrong(&text, Format::Yaml);
            let path = format!("plugins.tax.{}", place.split(':').next().unwrap());
            assert_eq!(told(&error).iter().map(|of| of.1).collect::<Vec<_>>(), [path], "{error}");
        }
    }
    // What is missing, or empty, is.
    let text =
        "plugins:\n tax:\n  transport: http\n  endpoints: []\n  auth: {method: bearer, user: u}\n";
    let error = wrong(text, Format::Yaml);
    let paths: Vec<_> = told(&error).iter().map(|of| of.1).collect();
    assert_eq!(
        paths,
        ["plugins.tax.endpoint", "plugins.tax.auth", "plugins.tax.auth.user"],
        "{error}"
    );
}

#[test]
fn numbers_are_checked_with_the_path_of_their_section() {
    let config = json!({ "plugins": [{
        "name": "tax", "transport": "https", "endpoint": "https://tax",
        "retry": { "max_retries": 100, "multiplier": 0.5 },
        "rate_limit": { "burst_size": 0, "requests_per_second": -1 },
        "circuit_breaker": { "failure_ratio": 2, "min_request_threshold": "x" },
        "health_check": { "timeout": "0s" },
        "balance": { "outlier": { "interval": "0s" }, "panic_threshold": 200 },
        "failover": { "hedge": { "quantile": 2 } },
        "concurrency": { "per_endpoint": 0 },
        "budget": { "rule": "share", "ratio": -1 },
        "fallback": { "strategy": "cached", "max_entries": 0 },
    }], "default_connection": { "connection_timeout": "0s" } });
    for format in ALL {
        let text = text(&config, format);
        let error = wrong(&text, format);
        let mut paths: Vec<_> = told(&error).into_iter().map(|(_, path, ..)| path).collect();
        paths.sort_unstable();
        assert_eq!(
            paths,
            [
                "default_connection.connection_timeout",
                "plugins[0].balance.outlier.interval",
                "plugins[0].balance.panic_threshold",
                "plugins[0].budget.ratio",
                "plugins[0].circuit_breaker.failure_ratio",
                "plugins[0].circuit_breaker.min_request_threshold",
                "plugins[0].concurrency.per_endpoint",
                "plugins[0].failover.hedge.quantile",
                "plugins[0].fallback.max_entries",
                "plugins[0].health_check.timeout",
                "plugins[0].rate_limit.burst_size",
                "plugins[0].rate_limit.requests_per_second",
                "plugins[0].retry.max_retries",
                "plugins[0].retry.multiplier",
            ],
            "{error}"
        );
        // Each at its own line.
        for (_, path, line, _) in told(&error) {
            let key = path.rsplit('.').next().unwrap();
            assert!(text.lines().nth(line - 1).unwrap().contains(key), "{line}: {error}");
        }
    }
}

#[test]
fn rules_between_keys_are_checked() {
    for (members, path) in [
        ("  endpoint: http://tax\n", "plugins[0].endpoint"),
        ("  endpoints: [https://b]\n", "plugins[0].endpoints"),
        ("  timeout: 1s\n  failover: {timeout: 5s}\n", "plugins[0].failover.timeout"),
        ("  fallback: nothing\n", "plugins[0].fallback"),
        ("  fallback: tax\n", "plugins[0].fallback"),
        ("  fallback: graceful\n", "plugins[0].fallback"),
    ] {
        let mut text = tax(members, Format::Yaml);
        if members.starts_with("  endpoint: ") {
            text = text.replacen("  endpoint: https://tax\n", "", 1);
        }
        let error = wrong(&text, Format::Yaml);
        assert_eq!(error.mistakes()[0].path, path, "{error}");
        assert_eq!(error.mistakes().len(), 1, "{error}");
    }
    let twice = "plugins: {a: {transport: http, endpoints: [http://a, {address: 'http://b', id: 'http://a'}]}}";
    assert_eq!(wrong(twice, Format::Yaml).mistakes()[0].path, "plugins.a.endpoints[1]");
    for (transport, endpoint) in
        [("https", "http://a"), ("grpc-tls", "grpc://a:1"), ("grpc-tls", "http://a:1")]
    {
        let text = format!("plugins: {{a: {{transport: {transport}, endpoint: '{endpoint}'}}}}");
        let error = wrong(&text, Format::Yaml);
        assert_eq!(told(&error).len(), 1, "{error}");
        assert!(error.to_string().contains("readable"), "{error}");
    }
}

#[test]
fn endpoints_may_lead_over_several_transports() {
    let plugin = |places: &str| format!("plugins: {{a: {{transport: http, {places}}}}}");
    let places = "endpoints: ['http://a', 'unix:/run/a.sock', 'exec:/opt/a', {address: 'tcp://127.0.0.1:1'}]";
    let config = Config::from_str(&plugin(places), Format::Yaml).unwrap();
    assert_eq!(config.plugins[0].endpoints.len(), 4);
    for (places, code, path) in [
        ("endpoint: 'unix:/run/a.sock'", "PLUGIN_1005", "plugins.a.endpoint"),
        ("endpoints: ['http://a', 'unix:run/a.sock']", "PLUGIN_1004", "plugins.a.endpoints[1]"),
        ("endpoints: ['http://a', localhost]", "PLUGIN_1005", "plugins.a.endpoints[1]"),
    ] {
        let error = wrong(&plugin(places), Format::Yaml);
        assert_eq!((told(&error)[0].0, told(&error)[0].1), (code, path), "{error}");
    }
    let error = wrong("plugins: {a: {transport: grpc, endpoint: 'a b:1'}}", Format::Yaml);
    assert_eq!(told(&error)[0].0, "PLUGIN_1004", "{error}");
}

#[cfg(all(feature = "process", unix))]
#[test]
fn mistakes_in_security_are_told_at_their_own_keys() {
    let config = json!({
        "plugins": [{ "name": "a", "transport": "http", "endpoint": "http://a" }],
        "security": {
            "max_file_size": 0, "policy": "lax", "watchfile": true, "forbiddenpaths": ["tmp"],
            "audit": { "max_bytes": 0, "log_authorized": "maybe", "logg_authorized": true },
        },
    });
    for format in ALL {
        let text = text(&config, format);
        let error = wrong(&text, format);
        let mut paths: Vec<_> = told(&error).into_iter().map(|(_, path, ..)| path).collect();
        paths.sort_unstable();
        assert_eq!(
            paths,
            [
                "security.audit.log_authorized",
                "security.audit.logg_authorized",
                "security.audit.max_bytes",
                "security.forbiddenpaths",
                "security.max_file_size",
                "security.policy",
                "security.watchfile",
            ],
            "{error}"
        );
        for (_, path, line, _) in told(&error) {
            let key = path.rsplit('.').next().unwrap();
            assert!(text.lines().nth(line - 1).unwrap().contains(key), "{line}: {error}");
        }
    }
    // As Go reads JSON, and with what has no effect.
    let text = r#"{"Security": {"Enabled": true, "Policy": 2, "Auto_Update": true},
        "plugins": {"a": {"transport": "http", "endpoint": "http://a"}}}"#;
    let config = Config::from_str(text, Format::Json).unwrap();
    assert!(config.security.as_ref().unwrap().is_on());
    assert_eq!(config.notes()[0].path, "security.Auto_Update");
}

#[test]
fn options_that_a_transport_does_not_know_are_notes() {
    let text = "plugins:
- {name: a, transport: http, endpoint: 'http://a', options: {max_line_bytes: 9}}
- {name: b, transport: unix, endpoint: /b, options: {max_message_bytes: 9, max_mesage_bytes: 9}}
- {name: c, transport: mine, options: {anything: 9}}
- {name: d, type: mine, transport: http, endpoint: 'http://d', options: {anything: 9}}
- name: e
  transport: exec
  executable: /e
  options: {handshake_config: {}, stream_sync_config: {}, bridge_config: {}, max_calls: 9, work_dir: /x}
";
    let options = ReadOptions::default().with_transports(["mine"]);
    let config = Config::from_str_with(text, Format::Yaml, &options).unwrap();
    let notes: Vec<_> = config.notes().iter().map(|of| (&*of.path, of.line.unwrap())).collect();
    let mut expected =
        vec![("plugins[0].options.max_line_bytes", 2), ("plugins[1].options.max_mesage_bytes", 3)];
    if cfg!(all(feature = "process", unix)) {
        expected
            .extend([("plugins[4].options.bridge_config", 9), ("plugins[4].options.work_dir", 9)]);
    }
    assert_eq!(notes, expected);
    assert_eq!(config.notes()[1].help.as_deref(), Some("did you mean `max_message_bytes`?"));
}

#[cfg(all(feature = "grpc", feature = "process", unix))]
#[test]
fn wrong_options_of_a_transport_are_told_at_their_own_places() {
    let config = json!({ "plugins": [
        {
            "name": "a", "transport": "unix", "endpoint": "/a",
            "options": { "max_message_bytes": "many", "ping_after": "soon", "allowed_uids": [0, "root"] },
        },
        {
            "name": "b", "transport": "grpc", "endpoint": "b:1",
            "options": { "max_request_bytes": 0, "connection_timeout": "2m" },
        },
        {
            "name": "c", "transport": "exec", "executable": "/c",
            "options": { "args": "x", "env": ["A"], "output": { "stdout": "maybe", "sdterr": true } },
        },
        {
            "name": "d", "transport": "exec", "executable": "/d",
            "options": { "handshake_config": { "ProtocolVersion": 0 }, "max_calls": 0 },
        },
        { "name": "e", "transport": "mine", "options": { "max_message_bytes": "many" } },
        { "name": "f", "type": "mine", "transport": "unix", "options": { "ping_after": "many" } },
    ] });
    let options = ReadOptions::default().with_transports(["mine"]);
    for format in ALL {
        let text = text(&config, format);
        let error = Config::from_str_with(&text, format, &options).unwrap_err();
        let mut paths: Vec<_> = told(&error).into_iter().map(|(_, path, ..)| path).collect();
        paths.sort_unstable();
        assert_eq!(
            paths,
            [
                "plugins[0].options.allowed_uids[1]",
                "plugins[0].options.max_message_bytes",
                "plugins[0].options.ping_after",
                // It is longer than the time for the whole exchange.
                "plugins[1].options.connection_timeout",
                "plugins[1].options.max_request_bytes",
                "plugins[2].options.args",
                "plugins[2].options.env",
                "plugins[2].options.output.sdterr",
                "plugins[2].options.output.stdout",
                "plugins[3].options.handshake_config.protocol_version",
                "plugins[3].options.max_calls",
            ],
            "{error}"
        );
        for (_, path, line, _) in told(&error) {
            let key = path.rsplit('.').next().unwrap().trim_end_matches("[1]");
            let key = if key == "protocol_version" { "handshake_config" } else { key };
            // In JSON, the items of a list have lines of their own.
            let near = text.lines().take(line).collect::<Vec<_>>();
            let near = near[near.len().saturating_sub(3)..].join("\n");
            assert!(near.contains(key), "{line}: {error}");
        }
    }
    let whole = Config::from_str_with(&text(&config, Format::Json), Format::Json, &options);
    let said = whole.unwrap_err().to_string();
    assert!(said.contains("did you mean `stderr`?") && said.contains("`NAME=value`"), "{said}");
    // What stands for a number may be a variable.
    let env = EnvOptions::default().with_variables([("MANY", "7"), ("WAIT", "7s")]);
    let file = "plugins: {a: {transport: unix, endpoint: /a, options: {max_message_bytes: '${MANY}', ping_after: '${WAIT}'}}}";
    Config::from_str_with(file, Format::Yaml, &options.with_env(env)).unwrap();
}

#[test]
fn the_schema_of_a_file_is_for_editors() {
    let file = |schema: &str, format: Format| match format {
        Format::Json => format!(
            "{{\"$schema\": {schema}, \"plugins\": {{\"a\": {{\"transport\": \"unix\", \"endpoint\": \"/a\"}}}}}}"
        ),
        Format::Yaml => {
            format!("$schema: {schema}\nplugins: {{a: {{transport: unix, endpoint: /a}}}}")
        }
        _ => format!("\"$schema\" = {schema}\nplugins.a = {{transport = 'unix', endpoint = '/a'}}"),
    };
    for format in ALL {
        let config = Config::from_str(&file("\"./plugins.schema.json\"", format), format);
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        assert!(config.notes().is_empty(), "{:?}", config.notes());
        assert_eq!(Config::from_str(&file("\"\"", format), format).unwrap(), config);
        // It is a text, and only at the top.
        let error = wrong(&file("[]", format), format);
        assert_eq!((told(&error)[0].1, error.total()), ("$schema", 1), "{error}");
    }
    let error = wrong("plugins: {a: {$schema: x, transport: unix, endpoint: /a}}", Format::Yaml);
    assert_eq!(told(&error)[0].1, "plugins.a.$schema", "{error}");
    for (format, key) in [(Format::Yaml, "\n# $schema:"), (Format::Toml, "\n# \"$schema\" =")] {
        let sample = Config::sample(format).unwrap();
        assert!(sample.contains(key), "{sample}");
    }
}

#[test]
fn settings_of_a_backend_that_go_forgets_are_notes() {
    let text = "plugins:
  a:
    transport: http
    discover:
      mdns: {domain: local., ttl: 120, browse_timeout: 3s}
      service: tax
  b:
    transport: http
    discover:
      mdns:
        interface: eth0
        watch_interval: 30s
        ttl: 0
  c:
    transport: http
    discover:
      kubernetes:
        namespace: shop
        service_type: ClusterIP
  d:
    transport: http
    discover: {kubernetes: {service_type: ''}}
  e:
    transport: http
    discover: {memory: {ttl: 7}}
";
    let config = Config::from_str(text, Format::Yaml).unwrap();
    let notes: Vec<_> = config.notes().iter().map(|of| (&*of.path, of.line.unwrap())).collect();
    let expected = [
        ("plugins.a.discover.mdns.ttl", 5),
        ("plugins.b.discover.mdns.watch_interval", 12),
        ("plugins.c.discover.kubernetes.service_type", 19),
    ];
    assert_eq!(notes, expected);
    let note = config.notes()[2].to_string();
    assert!(note.contains("no effect") && note.contains("read alike"), "{note}");
}

#[test]
fn four_hundred_mistakes_are_told_in_one_run() {
    let mut text = "plugins:\n".to_owned();
    for index in 0..100 {
        text += &format!(
            "- name: p{index}\n  transport: htp\n  endpoint: https://a\n  enabld: true\n  \
             retry: {{max_retries: many}}\n  rate_limit: {{burst_size: 0}}\n"
        );
    }
    let plugins = (0..100).map(|index| {
        json!({
            "name": format!("p{index}"), "transport": "htp", "endpoint": "https://a", "enabld": true,
            "retry": { "max_retries": "many" }, "rate_limit": { "burst_size": 0 },
        })
    });
    let config = json!({ "plugins": plugins.collect::<Vec<_>>() });
    for format in [Format::Json, Format::Toml] {
        assert_eq!(wrong(&self::text(&config, format), format).total(), 400, "{format}");
    }
    let error = wrong(&text, Format::Yaml);
    assert_eq!((error.total(), error.mistakes().len()), (400, 400));
    let lines: Vec<_> = error.mistakes().iter().map(|mistake| mistake.line.unwrap()).collect();
    assert!(lines.is_sorted());
    let many = text.repeat(4).replace("plugins:\n", "");
    let error = wrong(&format!("plugins:\n{many}"), Format::Yaml);
    assert_eq!(error.mistakes().len(), 1_000);
    assert!(error.to_string().ends_with(&format!("and {} more", error.total() - 1_000)));
}

#[test]
fn a_mistake_shows_its_line_and_no_secret() {
    let text = "plugins:\n  tax:\n    transport: https\n    endpoint: https://u:hunter2@tax\n    \
                auth: {method: basic, username: hunter2, pasword: 'hunter2', token: [hunter2]}\n";
    let error = wrong(text, Format::Yaml);
    let shown = error.to_string();
    assert!(
        shown.contains(
            "5:46: [CONFIG_1703] plugins.tax.auth.pasword: unknown key; did you mean `password`?"
        ),
        "{shown}"
    );
    assert!(shown.contains("auth: {method: basic, username: ***, pasword: "), "{shown}");
    assert!(shown.contains("^^^^^^^"), "{shown}");
    assert!(!format!("{shown} {error:?}").contains("hunter2"), "{shown}");
    // Not even where the file is no YAML, JSON or TOML.
    for (text, format) in [
        ("auth:\n  token: hunter2\n  x", Format::Yaml),
        ("auth:\n  token: |\n    hunter2\n   hunter2: [\n", Format::Yaml),
        ("{\"token\": \"hunter2\" \"hunter2\"}", Format::Json),
        ("{\"token\": hunter2}", Format::Json),
        ("token = hunter2\n", Format::Toml),
        ("token = \"hunter2\n", Format::Toml),
    ] {
        let error = wrong(text, format);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        assert!(error.mistakes()[0].line.is_some(), "{error}");
    }
}

#[test]
fn the_path_of_a_file_is_checked_in_the_order_of_go() {
    let dir = std::env::temp_dir().join(format!("upstream-config-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let big = vec![b' '; (10 << 20) + 1];
    let cases = [
        (String::new(), Code::CONFIG_1705),
        ("a\0b".to_owned(), Code::CONFIG_1705),
        ("../plugins.yaml".to_owned(), Code::CONFIG_1705),
        ("%2E%2e/plugins.yaml".to_owned(), Code::CONFIG_1705),
        ("a".repeat(4_096), Code::CONFIG_1705),
        ("a\nb.yaml".to_owned(), Code::CONFIG_1705),
        ("/no/such/file.yaml".to_owned(), Code::CONFIG_1701),
        (dir.to_str().unwrap().to_owned(), Code::CONFIG_1706),
        (write("empty.json", b""), Code::CONFIG_1706),
        (write("blank.json", b"\n"), Code::CONFIG_1706),
        (write("big.json", &big), Code::CONFIG_1706),
        (write("bad.json", b"{"), Code::PLUGIN_1011),
        (write("bad.yaml", b"a: ["), Code::CONFIG_1702),
        (write("latin.yaml", b"a: \xff"), Code::CONFIG_1702),
        (write("plugins.hcl", b"a"), Code::CONFIG_1702),
        (write("plugins.ini", b"a"), Code::CONFIG_1702),
        (write("plugins.properties", b"a"), Code::CONFIG_1702),
    ];
    for (path, code) in cases {
        let error = Config::from_file(&path).unwrap_err();
        assert_eq!(error.code(), code, "{path}: {error}");
    }
    #[cfg(unix)]
    {
        let link = dir.join("zero.yaml");
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        assert_eq!(Config::from_file(&link).unwrap_err().code(), Code::CONFIG_1706);
    }
    let path = write("Plugins.YML", tax("", Format::Yaml).as_bytes());
    assert_eq!(Config::from_file(&path).unwrap().plugins[0].name, "tax");
    let path = write("wrong.yaml", tax("  enabld: true\n", Format::Yaml).as_bytes());
    let error = Config::from_file(&path).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("{path}:5:3: [CONFIG_1703] plugins[0].enabld: ")),
        "{error}"
    );
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn files_that_mean_harm_end_at_a_bound() {
    let deep = |open: &str, close: &str| open.repeat(10_000) + &close.repeat(10_000);
    let many = |sign: &str, end: &str| {
        let keys: Vec<_> = (0..1_000_000).map(|key| format!("k{key}{sign}0")).collect();
        keys.join(end)
    };
    let mut grows = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..9 {
        let of = vec![format!("*a{}", level - 1); 10].join(",");
        grows += &format!("a{level}: &a{level} [{of}]\n");
    }
    let json = many("\":", ",\"");
    let plugins = vec![r#"{"retry": {}}"#; 1_000].join(",");
    let default = (0..201).map(|key| format!("\"k{key}\": 0")).collect::<Vec<_>>().join(",");
    let filled = format!("{{\"default_retry\": {{{default}}}, \"plugins\": [{plugins}]}}");
    for (what, text, format) in [
        ("deep", deep("[", "]"), Format::Json),
        ("deep", deep("[", "]"), Format::Yaml),
        ("deep", format!("plugins: {}", deep("{a: ", "}")), Format::Yaml),
        ("deep", format!("a = {}", deep("[", "]")), Format::Toml),
        ("deep", format!("a = {}", deep("{a=", "}")), Format::Toml),
        ("many", format!("{{\"{json}}}"), Format::Json),
        ("many", many(": ", "\n"), Format::Yaml),
        ("many", many(" = ", "\n"), Format::Toml),
        ("grows", grows, Format::Yaml),
        ("filled in", filled, Format::Json),
        ("plugins", format!("{{\"plugins\": [{}1]}}", "{},".repeat(10_000)), Format::Json),
    ] {
        let error = wrong(&text, format);
        let says = error.mistakes()[0].message.as_str();
        assert!(says.contains("too much for a config file"), "{what}, {format}: {says}");
        assert!(error.total() < 10, "{what}, {format}: {} mistakes", error.total());
    }
}

#[test]
fn a_config_that_is_cut_anywhere_is_read_or_refused() {
    for format in ALL {
        let text = Config::go().to_text(format, Default::default()).unwrap()
            + if format == Format::Yaml { "x: ü\n" } else { "" };
        for cut in (0..text.len()).step_by(13).filter(|&cut| text.is_char_boundary(cut)) {
            for part in [&text[..cut], &text[cut..]] {
                let error = wrong(part, format);
                assert!(error.mistakes().iter().all(|of| of.line != Some(0)), "{error}");
            }
        }
    }
}

#[test]
fn a_secret_may_be_in_a_file() {
    let dir = std::env::temp_dir().join(format!("upstream-secrets-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let read = |name: &str| {
        let env = format!("  env: {{TOKEN: {{file: '{}'}}}}\n", path(name));
        Config::from_str(&tax(&env, Format::Yaml), Format::Yaml)
    };
    let token = |name: &str| read(name).unwrap().plugins[0].env["TOKEN"].clone();
    for (written, expected) in
        [("s3cret", "s3cret"), ("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), ("a\n\n", "a\n")]
    {
        // Read anew each time.
        std::fs::write(path("token"), written).unwrap();
        assert_eq!(token("token"), expected.into(), "{written:?}");
    }
    std::fs::write(path("longest"), "x".repeat(64 << 10)).unwrap();
    assert_eq!(token("longest"), "x".repeat(64 << 10).into());
    std::fs::write(path("longer"), "x".repeat((64 << 10) + 1)).unwrap();
    std::fs::write(path("latin"), b"s3cret\xff").unwrap();
    std::fs::write(path("empty"), "\r\n").unwrap();
    for name in ["longer", "latin", "empty", "none", ""] {
        let error = read(name).unwrap_err();
        let (code, at, line, _) = told(&error)[0];
        assert_eq!((code, at, line), ("CONFIG_1706", "plugins[0].env.TOKEN", 5), "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/dev/zero", path("zero")).unwrap();
        assert_eq!(told(&read("zero").unwrap_err())[0].0, "CONFIG_1706");
        // What waits for a writer when it is opened.
        let made = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
        assert!(made.success());
        let error = read("pipe").unwrap_err();
        assert!(error.to_string().contains("no regular file"), "{error}");
    }
    // The same of what is no secret is a mistake, and its file is not read.
    let endpoint =
        format!("plugins: {{a: {{transport: http, endpoint: {{file: '{}'}}}}}}", path("token"));
    let error = wrong(&endpoint, Format::Yaml);
    assert!(error.to_string().contains("found a map"), "{error}");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_section_of_secrets_may_have_one_that_is_called_file_or_env() {
    let read = |members: &str| {
        let file = tax(members, Format::Yaml);
        Config::from_str(&file, Format::Yaml).unwrap_or_else(|error| panic!("{members}: {error}"))
    };
    for name in ["env", "file"] {
        let config = read(&format!("  env: {{{name}: here}}\n"));
        assert_eq!(config.plugins[0].env[name], "here".into());
        let config = read(&format!("  auth: {{method: custom, headers: {{{name}: here}}}}\n"));
        assert_eq!(config.plugins[0].auth.as_ref().unwrap().headers[name], "here".into());
    }
    // Below such a name there may be one.
    let set = read("  env: {AUTH: {env: PATH}, env: {env: PATH}}\n");
    let path = std::env::var("PATH").unwrap();
    assert_eq!(set.plugins[0].env["AUTH"], path.as_str().into());
    assert_eq!(set.plugins[0].env["env"], path.as_str().into());
    // And `auth` has neither.
    let error = wrong(&tax("  auth: {file: /etc/hostname}\n", Format::Yaml), Format::Yaml);
    assert_eq!(told(&error), [("CONFIG_1703", "plugins[0].auth.file", 5, 10)], "{error}");
}

#[test]
fn the_name_of_a_plugin_makes_no_secret_of_what_it_says() {
    for name in ["auth", "token-exchange", "env", "credentials"] {
        let plugin = |members: &str| {
            format!("plugins:\n  {name}: {{transport: https, endpoint: 'https://a', {members}}}\n")
        };
        let text = plugin("labels: {env: prod}");
        let config =
            Config::from_str(&text, Format::Yaml).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(config.plugins[0].labels["env"], "prod", "{name}");
        let error =
            wrong(&plugin("timeout: soon, auth: {method: bearer, token: s3cret}"), Format::Yaml);
        let shown = error.to_string();
        assert!(shown.contains("timeout: soon") && !shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn a_mistake_in_a_list_is_told_at_its_own_item() {
    // What is read of a list is shorter than what is written.
    let text = "plugins:\n- name: a\n  transport: https\n  endpoints:\n  - ~\n  - 5\n  - https://a\n  \
                - {address: 'https://b', health_check: {interval: 1ms}}\n  - https://a\n";
    let error = wrong(text, Format::Yaml);
    let told: Vec<_> = told(&error).into_iter().map(|(_, path, line, _)| (path, line)).collect();
    let expected = [
        ("plugins[0].endpoints[1]", 6),
        ("plugins[0].endpoints[3].health_check.interval", 8),
        ("plugins[0].endpoints[4]", 9),
    ];
    assert_eq!(told, expected, "{error}");
    let error = wrong(&tax("  env: [A=1, B, C=2]\n", Format::Yaml), Format::Yaml);
    assert!(error.to_string().contains("[1] is not of the form `NAME=value`"), "{error}");
}

#[test]
fn an_address_that_no_transport_reaches_is_a_mistake() {
    let plugin = |transport: &str, address: &str| {
        format!("plugins: {{a: {{transport: {transport}, endpoints: ['{address}']}}}}\n")
    };
    for (transport, address) in [
        ("http", "ftp://a"),
        ("https", "htps://a"),
        ("grpc", "dns://a:1"),
        ("grpc-tls", "xds://a"),
        ("unix", "ws://a"),
        ("exec", "file:///a"),
    ] {
        let error = wrong(&plugin(transport, address), Format::Yaml);
        assert_eq!(error.mistakes()[0].path, "plugins.a.endpoints[0]", "{error}");
        assert!(error.to_string().contains("no transport reaches"), "{error}");
    }
    assert!(wrong(&plugin("https", "htps://a"), Format::Yaml).to_string().contains("`https`?"));
    for (transport, address) in [
        ("http", "http+unix://%2Frun%2Fa"),
        ("grpc", "grpc+unix://%2Frun%2Fa"),
        ("http", "HTTP://a"),
        ("unix", "tcp://127.0.0.1:1"),
        ("unix", "127.0.0.1:1"),
        ("grpc", "a:50051"),
        ("grpc-tls", "grpcs://a:1"),
        ("https", "exec:/a"),
    ] {
        let text = plugin(transport, address);
        Config::from_str(&text, Format::Yaml).unwrap_or_else(|error| panic!("{error}"));
    }
    // A factory of the program's own may know others.
    let options = ReadOptions::default().with_transports(["own"]);
    Config::from_str_with(&plugin("own", "s3://a"), Format::Yaml, &options).unwrap();
}

#[test]
fn decisions_that_are_written_nowhere_are_noted() {
    let notes = |audit: &str| {
        let text = format!("security: {{enabled: true, {audit}}}\n{}", tax("", Format::Yaml));
        let config = Config::from_str(&text, Format::Yaml).unwrap();
        config.notes().iter().map(|of| of.path.clone()).collect::<Vec<_>>()
    };
    for audit in ["audit: {enabled: true}", "auditconfig: {enabled: true, auditfile: ''}"] {
        assert_eq!(notes(audit), ["security.audit.enabled"], "{audit}");
    }
    for audit in ["audit: {enabled: true, audit_file: /a}", "audit: {enabled: false}", "audit: {}"]
    {
        assert_eq!(notes(audit), [""; 0], "{audit}");
    }
}

#[test]
fn credentials_without_a_method_are_noted() {
    for (members, method) in [
        ("token: s3cret", Some("bearer")),
        ("api_key: s3cret", Some("api-key")),
        ("username: u, password: s3cret", Some("basic")),
        ("headers: {X-Key: s3cret}", Some("custom")),
        ("method: none, token: s3cret", None),
        ("method: '', token: s3cret", Some("bearer")),
        ("method: '${NOTHING}', token: s3cret", Some("bearer")),
        ("method: bearer, token: s3cret", None),
        ("ca_file: /ca.pem", None),
    ] {
        let text = tax(&format!("  auth: {{{members}}}\n"), Format::Yaml);
        let config = Config::from_str(&text, Format::Yaml).unwrap();
        let said: String = config.notes().iter().map(ToString::to_string).collect();
        match method {
            Some(method) => assert!(said.contains(&format!("`method: {method}`")), "{said}"),
            None => assert_eq!(said, "", "{members}"),
        }
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[test]
fn what_is_advised_for_credentials_can_be_written() {
    for (name, advised) in [
        ("tax", "${TAX_TOKEN}"),
        ("tax-v2.eu", "${TAXV2EU_TOKEN}"),
        ("2nd", "${PLUGIN_2ND_TOKEN}"),
        ("税", "${TOKEN}"),
    ] {
        let text = format!(
            "plugins: {{'{name}': {{transport: https, endpoint: 'https://a', auth: {{method: bearer}}}}}}"
        );
        let error = wrong(&text, Format::Yaml);
        assert!(error.to_string().contains(advised), "{error}");
        assert!(
            tower_upstream::config::env::expand(advised, &EnvOptions::default())
                .unwrap()
                .is_empty()
        );
    }
    let error = wrong(
        &tax("  auth: {method: basic, username: 'a:b', password: c}\n", Format::Yaml),
        Format::Yaml,
    );
    assert!(
        error.to_string().contains("holds a colon") && !error.to_string().contains("write it"),
        "{error}"
    );
}

#[test]
fn keys_without_effect_are_notes() {
    let text = "metrics_port: 9090\ndiscovery: {enabled: true, watch_mode: true}\npreset: go\n"
        .to_owned()
        + &tax("  cache_ttl: 5s\n", Format::Yaml);
    let config = Config::from_str(&text, Format::Yaml).unwrap();
    let notes: Vec<_> = config.notes().iter().map(|of| (&*of.path, of.line.unwrap())).collect();
    assert_eq!(
        notes,
        [("metrics_port", 1), ("discovery", 2), ("preset", 3), ("plugins[0].cache_ttl", 8)]
    );
    let text = tax("  colour: red\n  retry: {colour: red}\n", Format::Yaml);
    assert_eq!(wrong(&text, Format::Yaml).total(), 2);
    let options = ReadOptions::default().with_unknown(Unknown::Note);
    let config = Config::from_str_with(&text, Format::Yaml, &options).unwrap();
    let notes: Vec<_> = config.notes().iter().map(|note| note.path.as_str()).collect();
    assert_eq!(notes, ["plugins[0].colour", "plugins[0].retry.colour"]);
}

#[test]
fn what_is_hardly_meant_is_a_note() {
    let text = "log_level: inof
plugins:
  a:
    transport: http
    endpoints: [{address: 'http://10.0.0.1', id: tax-1}, 'http://10.0.0.2:80']
    balance: {weights: {tax-1: 2, 'http://10.0.0.2:80': 3, tax-7: 1}}
    auth: {method: bearer, token: t}
  b: {transport: http, endpoint: 'http://localhost:1', auth: {method: bearer, token: t}}
  c: {transport: https, endpoint: 'https://c', auth: {method: bearer, token: t}}
  d: {transport: http, endpoint: 'http://d', auth: {method: bearer, token: t, allow_plaintext: true}}
  e: {transport: grpc, endpoint: 'e:50051', auth: {method: api-key, api_key: k}}
  f: {transport: grpc-tls, endpoint: 'f:50051', auth: {method: api-key, api_key: k}}
  g: {transport: http, discover: {dns: {}, service: 'http://g'}, balance: {weights: {x: 1}}}
  h: {transport: wasm, endpoint: 'http://h', auth: {method: bearer, token: t}, balance: {weights: {x: 1}}}
";
    let options = ReadOptions::default().with_transports(["wasm"]);
    let config = Config::from_str_with(text, Format::Yaml, &options).unwrap();
    let notes: Vec<_> = config
        .notes()
        .iter()
        .map(|of| (of.code.as_str(), &*of.path, of.line.unwrap(), of.help.as_deref().unwrap()))
        .collect();
    let plaintext = "use TLS, or set `auth.allow_plaintext` if they may be read";
    assert_eq!(
        notes,
        [
            ("CONFIG_1703", "log_level", 1, "did you mean `info`?"),
            ("AUTH_1105", "plugins.a.endpoints", 5, plaintext),
            ("CONFIG_1703", "plugins.a.balance.weights", 6, "did you mean `tax-1`?"),
            ("AUTH_1105", "plugins.e.endpoint", 11, plaintext),
        ]
    );
}

#[test]
fn a_program_that_is_a_line_of_a_shell_is_noted() {
    for (members, said) in [
        (
            "endpoint: /opt/tax --currency EUR",
            Some("endpoint: all of this is the path of a program; write its arguments as `args`"),
        ),
        ("executable: /opt/tax -v", Some("executable: all of this is the path of a program; ")),
        (
            "executable: /bin/sh /opt/tax.sh",
            Some("executable: all of this is the path of a program; "),
        ),
        (
            "endpoint: tax",
            Some("endpoint: a program is not looked for in `PATH`; write its whole path"),
        ),
        ("endpoint: 'exec:tax'", Some("endpoint: a program is not looked for in `PATH`; ")),
        ("endpoint: /opt/my plugins/tax", None),
        ("endpoint: ./tax", None),
    ] {
        let text = format!("plugins: {{a: {{transport: exec, {members}}}}}");
        let config = Config::from_str(&text, Format::Yaml).unwrap();
        let notes: Vec<_> = config.notes().iter().map(ToString::to_string).collect();
        assert_eq!(notes.len(), usize::from(said.is_some()), "{members}: {notes:?}");
        assert!(notes.iter().all(|note| note.contains(said.unwrap_or_default())), "{notes:?}");
    }
}

#[test]
fn what_no_program_can_get_is_told_at_its_place() {
    for (members, path, said) in [
        ("args: [a, \"b\\0\"]", "args[1]", "holds a NUL"),
        ("work_dir: \"/tmp\\0\"", "work_dir", "holds a NUL"),
        ("executable: \"/a\\0\"", "executable", "holds a NUL"),
        ("env: {A: \"s3cret\\0\"}", "env", "the value of `A` holds a NUL"),
        ("env: {\"A\\0\": b}", "env", "is no name of a variable"),
        ("env: {A=B: c}", "env", "`A=B` is no name of a variable"),
        ("env: {'': c}", "env", "`` is no name of a variable"),
        ("env: ['=c']", "env", "`` is no name of a variable"),
    ] {
        let endpoint = if members.starts_with("exec") { "" } else { ", endpoint: /a" };
        let text = format!("plugins:\n  a: {{transport: exec{endpoint}, {members}}}\n");
        let error = wrong(&text, Format::Yaml);
        assert_eq!(error.total(), 1, "{error}");
        assert_eq!((told(&error)[0].1, told(&error)[0].2), (&*format!("plugins.a.{path}"), 2));
        assert!(error.mistakes()[0].message.contains(said), "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
        // A factory of the program's own may make something else of them.
        let options = ReadOptions::default().with_transports(["exec"]);
        Config::from_str_with(&text, Format::Yaml, &options).unwrap();
    }
    let text = "plugins: {a: {transport: exec, endpoint: /a, args: ['', ' '], env: ['A=', 'B=c=d', ' e=f']}}";
    assert_eq!(Config::from_str(text, Format::Yaml).unwrap().plugins[0].env.len(), 3);
}

#[test]
fn sessions_that_do_not_begin_and_what_they_leave_without_effect_are_notes() {
    let plugin = |name: &str, balance: &str, rest: &str| {
        format!("  {name}: {{transport: http, endpoint: 'http://a', balance: {balance}{rest}}}\n")
    };
    let hedge = ", failover: {hedge: {after: 50ms}}";
    let off = ", failover: {enabled: false, hedge: {after: 50ms}}";
    let text = "plugins:\n".to_owned()
        + &plugin("a", "{sticky: {session_timeout: 1m, drain_timeout: 5s}}", "")
        + &plugin("b", "{session_timeout: 1m}", "")
        + &plugin("c", "{sticky_session: true, sticky: {enabled: false}}", "")
        + &plugin("d", "{sticky: {enabled: true, session_timeout: 1m}, session_timeout: 2m}", "")
        + &plugin("e", "{sticky: {key: {header: X-User}}}", hedge)
        // Switched off in place, as Go writes it, or as it is meant.
        + &plugin("f", "{sticky: {enabled: false, key: {header: X-User}}}", hedge)
        + &plugin("g", "{sticky_session: false, session_timeout: 30m}", "")
        + &plugin("h", "{sticky: {key: {header: X-User}, session_timeout: 1m}}", off)
        + &plugin("i", "{sticky_session: true, session_timeout: 1m}", "");
    let config = Config::from_str(&text, Format::Yaml).unwrap();
    let notes = config.notes().iter().map(|of| (&*of.path, of.line.unwrap()));
    assert_eq!(
        notes.collect::<Vec<_>>(),
        [
            ("plugins.a.balance.sticky", 2),
            ("plugins.b.balance.session_timeout", 3),
            ("plugins.c.balance.sticky_session", 4),
            ("plugins.d.balance.sticky.session_timeout", 5),
            ("plugins.e.failover.hedge", 6),
        ]
    );
    // Of what all plugins share, none says it.
    let text = "defaults: {balance: {session_timeout: 1m}}\nplugins:\n".to_owned()
        + "  a: {transport: http, endpoint: 'http://a'}\n";
    assert!(Config::from_str(&text, Format::Yaml).unwrap().notes().is_empty());
}

#[test]
fn a_client_that_trusts_every_certificate_is_refused_with_the_reason() {
    for key in ["insecure_skip_verify", "insecure_skip_tls_verify"] {
        let text = tax(&format!("  connection: {{{key}: true}}\n"), Format::Yaml);
        let error = wrong(&text, Format::Yaml);
        let help = error.mistakes()[0].help.as_deref().unwrap();
        assert!(help.starts_with("it is refused on purpose"), "{error}");
    }
}

#[test]
fn transports_of_the_program_are_known() {
    let text = "plugins: {a: {transport: wasm}, b: {type: mine, transport: any}}";
    assert_eq!(wrong(text, Format::Yaml).total(), 2);
    let options = ReadOptions::default().with_transports(["wasm", "mine"]);
    assert_eq!(Config::from_str_with(text, Format::Yaml, &options).unwrap().plugins.len(), 2);
}

#[test]
fn the_environment_is_in_values_only() {
    let variables = [
        ("GO_PLUGINS_HOST", "tax.example"),
        ("HOST", "other"),
        ("BURST", "50"),
        ("ON", "off"),
        ("WAIT", "1500ms"),
        ("EVIL", "x\nrate_limit: {burst: 1}"),
        ("TOKEN", "s3cret"),
    ];
    let env = EnvOptions::default().with_variables(variables);
    let options = ReadOptions::default().with_env(env.clone());
    let text = "plugins:\n  tax:\n    transport: https\n    endpoint: https://${HOST}:${PORT:-443}/\n    version: $${HOST}\n    \
                enabled: ${ON}\n    timeout: ${WAIT}\n    rate_limit: {burst_size: '${BURST}'}\n    \
                labels: {evil: '${EVIL}', none: '${NOTHING}', kept: '$HOST ${A.B} ${HOST:x}'}\n    \
                auth: {method: bearer, token: {env: TOKEN}}\n";
    let config = Config::from_str_with(text, Format::Yaml, &options).unwrap();
    let tax = &config.plugins[0];
    assert_eq!(tax.endpoint, "https://tax.example:443/");
    assert_eq!(tax.version, "${HOST}");
    assert!(!tax.enabled);
    assert_eq!(tax.timeout.unwrap().as_millis(), 1_500);
    assert_eq!(tax.rate_limit.as_ref().unwrap().burst, 50);
    assert_eq!(tax.labels["evil"], "x\nrate_limit: {burst: 1}");
    assert_eq!(tax.labels["none"], "");
    assert_eq!(tax.labels["kept"], "$HOST ${A.B} ${HOST:x}");
    assert_eq!(tax.auth.as_ref().unwrap().token, "s3cret".into());

    let strict = ReadOptions::default().with_env(env.with_fail_on_missing(true));
    let error = Config::from_str_with(text, Format::Yaml, &strict).unwrap_err();
    assert_eq!(told(&error), [("CONFIG_1703", "plugins.tax.labels.none", 9, 37)], "{error}");
    assert!(error.to_string().contains("`NOTHING`"));
    // And once, whatever is asked for there.
    let text = crate::tax(
        "  timeout: '${A}'\n  enabled: '${B}'\n  retry: {attempts: '${C}'}\n  args: ['${D}']\n",
        Format::Yaml,
    );
    let error = Config::from_str_with(&text, Format::Yaml, &strict).unwrap_err();
    let paths: Vec<_> = told(&error).into_iter().map(|(_, path, ..)| path).collect();
    assert_eq!(
        paths,
        ["timeout", "enabled", "retry.attempts", "args[0]"].map(|of| format!("plugins[0].{of}")),
        "{error}"
    );
}

#[test]
fn variables_that_may_not_be_used_are_mistakes() {
    let variables = [("NUL", "a\0"), ("BELL", "\u{7}"), ("TABS", "a\tb\r\n"), ("EMPTY", "")];
    let long = "x".repeat(4_097);
    let variables = variables.into_iter().chain([("LONG", long.as_str())]);
    let options = ReadOptions::default().with_env(EnvOptions::default().with_variables(variables));
    for (name, is_good) in
        [("NUL", false), ("BELL", false), ("LONG", false), ("TABS", true), ("EMPTY:-x", true)]
    {
        let text = tax(&format!("  version: ${{{name}}}\n"), Format::Yaml);
        let read = Config::from_str_with(&text, Format::Yaml, &options);
        assert_eq!(read.is_ok(), is_good, "{name}: {read:?}");
    }
}

#[test]
fn a_variable_sets_a_value_by_its_path() {
    let set = |variables: &[(&str, &str)], text: &str| {
        let env = EnvOptions::default()
            .with_override_prefix("MYAPP_".to_owned())
            .with_variables(variables.iter().copied());
        Config::from_str_with(text, Format::Yaml, &ReadOptions::default().with_env(env))
    };
    let text = tax("  rate_limit: {burst: 1}\n", Format::Yaml);
    let config = set(
        &[
            ("MYAPP_PLUGINS__TAX__RATE_LIMIT__BURST_SIZE", "50"),
            ("MYAPP_PLUGINS__0__RETRY__MAX_RETRIES", "7"),
            ("MYAPP_LOG_LEVEL", "debug"),
            ("OTHER", "1"),
        ],
        &text,
    )
    .unwrap();
    assert_eq!(config.plugins[0].rate_limit.as_ref().unwrap().burst, 50);
    assert_eq!(config.plugins[0].retry.as_ref().unwrap().config.attempts, 8);
    assert_eq!(config.log_level, "debug");
    for (name, help) in [
        ("MYAPP_PLUGINS__TAXX__ENABLED", Some("did you mean `tax`?")),
        ("MYAPP_PLUGINS__TAX__ENABLD", Some("did you mean `enabled`?")),
        ("MYAPP_PLUGINS__TAX__NAME__X", None),
        ("MYAPP_PLUGINS____X", None),
        (
            "MYAPP_NOTHING_LIKE_IT",
            Some(
                "there are `$schema`, `preset`, `log_level`, `metrics_port`, `defaults`, `default_retry`, \
                 `default_circuit_breaker`, `default_health_check`, `default_connection`, `default_rate_limit`, \
                 `plugins`, `discovery`, `security`",
            ),
        ),
    ] {
        let error = set(&[(name, "true")], &text).unwrap_err();
        let mistake = &error.mistakes()[0];
        assert_eq!(mistake.variable.as_deref(), Some(name), "{error}");
        assert_eq!(mistake.help.as_deref(), help, "{error}");
        assert!(error.to_string().starts_with(&format!("${name}: [CONFIG_1703]")), "{error}");
    }
    let error = set(&[("MYAPP_PLUGINS__TAX__RATE_LIMIT__BURST", "many")], &text).unwrap_err();
    assert_eq!(error.mistakes()[0].path, "plugins[0].rate_limit.burst");
    // A variable has no name for each character of a plugin's.
    let plugin = |name: &str| format!("  {name}: {{transport: unix, endpoint: /a}}\n");
    let names = |names: &[&str]| {
        format!("plugins:\n{}", names.iter().map(|name| plugin(name)).collect::<String>())
    };
    let variable = [("MYAPP_PLUGINS__TAX_V2__VERSION", "7")];
    for (written, wanted) in [(&["tax.v2", "vat"][..], 0), (&["tax-v2", "tax_v2"], 1)] {
        let config = set(&variable, &names(written)).unwrap();
        assert_eq!(config.plugins[wanted].version, "7", "{written:?}");
        assert_eq!(config.plugins[1 - wanted].version, "", "{written:?}");
    }
    for written in [&["tax-v2", "tax.v2"], &["TAX_V2", "tax_v2"]] {
        let error = set(&variable, &names(written)).unwrap_err();
        assert!(error.to_string().contains("leads to several: `"), "{error}");
    }
}

#[test]
fn what_finds_the_endpoints_is_one_backend() {
    for (members, column) in [
        ("discover: {}", 3),
        ("discover: {service: tax, tags: [blue]}", 3),
        ("discover: {file: {path: /a}, memory: {}}", 3),
    ] {
        let text = format!("plugins:\n- name: tax\n  transport: http\n  {members}\n");
        let error = wrong(&text, Format::Yaml);
        let place = told(&error)[0];
        let at = if members.contains("{}") && !members.contains(',') { 13 } else { column };
        assert_eq!(place, ("CONFIG_1703", "plugins[0].discover", 4, at), "{error}");
    }
    for (text, format, line, column) in [
        (
            "{\"plugins\": [{\"name\": \"tax\", \"transport\": \"http\",\n\"discover\": {\"dns\": {}, \"file\": {}}}]}",
            Format::Json,
            2,
            1,
        ),
        (
            "[[plugins]]\nname = 'tax'\ntransport = 'http'\n[plugins.discover]\nservice = 'x'\n",
            Format::Toml,
            4,
            10,
        ),
    ] {
        let error = wrong(text, format);
        assert_eq!(told(&error), [("CONFIG_1703", "plugins[0].discover", line, column)], "{error}");
    }
    let error =
        wrong("plugins: {a: {transport: http, discover: {dns: {}, file: {}}}}", Format::Yaml);
    assert!(error.to_string().contains("names `dns` and `file`"), "{error}");
}

#[test]
fn the_settings_of_a_backend_are_checked_at_their_own_places() {
    let plugin = |name: &str, discover: Value| json!({ "name": name, "transport": "http", "discover": discover });
    let config = json!({ "plugins": [
        plugin("a", json!({ "fil": { "path": "/a" } })),
        plugin("b", json!({ "file": { "pth": "/a", "interval": "soon" } })),
        plugin("c", json!({ "file": { "watch": { "max_stale": [] } } })),
        plugin("d", json!({ "file": {} })),
        plugin("e", json!({ "http": { "seeds": "http://a", "timeout": "1s" } })),
        plugin("f", json!({ "http": { "timeout": "1s" } })),
        plugin("g", json!({ "memory": { "anything": 1 } })),
    ] });
    let wanted = [
        "plugins[0].discover.fil",
        "plugins[1].discover.file.interval",
        "plugins[1].discover.file.pth",
        "plugins[2].discover.file.watch.max_stale",
        "plugins[3].discover.file",
        "plugins[4].discover.http.seeds",
        "plugins[5].discover.http",
    ];
    for format in ALL {
        let text = text(&config, format);
        let error = wrong(&text, format);
        let mut paths: Vec<_> = told(&error).into_iter().map(|(_, path, ..)| path).collect();
        paths.sort_unstable();
        assert_eq!(paths, wanted, "{error}");
        for (code, path, line, _) in told(&error) {
            let key = path.rsplit('.').next().unwrap();
            assert!(text.lines().nth(line - 1).unwrap().contains(key), "{line}: {error}");
            assert_eq!(code, "REGISTRY_1906");
        }
        assert!(error.to_string().contains("did you mean `file`?"), "{error}");
    }
    #[cfg(feature = "consul")]
    for (settings, path, line) in [
        ("{adress: 'c:8500'}", "plugins.a.discover.consul.adress", 5),
        ("{token: [hunter2]}", "plugins.a.discover.consul.token", 5),
        ("7", "plugins.a.discover.consul", 5),
    ] {
        let text = format!(
            "plugins:\n  a:\n    transport: http\n    discover:\n      consul: {settings}\n"
        );
        let error = wrong(&text, Format::Yaml);
        assert_eq!((told(&error)[0].1, told(&error)[0].2), (path, line), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

/// What could be told of a backend without asking it is not left to the start of the program.
#[test]
fn the_values_of_a_backend_and_what_it_is_asked_for_are_checked() {
    for (feature, discover, path) in [
        (cfg!(feature = "dns"), "{dns: {}}", "service"),
        (cfg!(feature = "dns"), "{dns: {}, service: 'http://10.0.0.1:80'}", "service"),
        (cfg!(feature = "etcd"), "{etcd: {endpoints: []}}", "etcd.endpoints"),
        (cfg!(feature = "etcd"), "{etcd: {lease_ttl: 1s}}", "etcd.lease_ttl"),
        (cfg!(feature = "eureka"), "{eureka: {request_timeout: 1ms}}", "eureka.request_timeout"),
        (cfg!(feature = "kubernetes"), "{kubernetes: {}, service: Tax}", "service"),
        (cfg!(feature = "kubernetes"), "{kubernetes: {}, service: shop/tax/1}", "service"),
        (
            cfg!(feature = "kubernetes"),
            "{kubernetes: {request_timeout: 1ms}}",
            "kubernetes.request_timeout",
        ),
        (cfg!(feature = "mdns"), "{mdns: {}, service: more-than-15-letters}", "service"),
        (cfg!(feature = "mdns"), "{mdns: {port: 0}}", "mdns.port"),
    ] {
        let text = format!("plugins:\n  a:\n    transport: http\n    discover: {discover}\n");
        let read = Config::from_str(&text, Format::Yaml);
        let Some(error) = read.err() else {
            assert!(!feature, "{discover} has no mistake");
            continue;
        };
        let path = format!("plugins.a.discover.{path}");
        assert_eq!((told(&error)[0].1, told(&error)[0].2), (&*path, 4), "{error}");
    }
    for discover in [
        "{kubernetes: {}, service: shop/tax}",
        "{mdns: {service_type: _farp._tcp}, service: more-than-15-letters}",
        "{dns: {}, service: _http._tcp.tax.internal}",
    ] {
        let text = format!("plugins: {{a: {{transport: http, discover: {discover}}}}}");
        Config::from_str(&text, Format::Yaml).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn the_version_of_a_program_is_a_semantic_one() {
    let file = |version: &str| {
        json!({ "plugins": [
        { "executable": "/opt/tax", "name": "tax", "transport": "exec", "version": version },
    ] })
    };
    for (format, line, column) in
        [(Format::Json, 7, 18), (Format::Yaml, 7, 18), (Format::Toml, 5, 11)]
    {
        let error = wrong(&text(&file("1.2"), format), format);
        assert_eq!(told(&error), [("PLUGIN_1001", "plugins[0].version", line, column)], "{error}");
        assert!(error.to_string().contains("`1.4.2`"), "{error}");
        Config::from_str(&text(&file("1.2.0-rc.1+x"), format), format).unwrap();
    }
}

#[test]
fn a_name_is_one_that_can_be_registered() {
    let file = |name: &str| {
        let plugin = json!({ "name": name, "transport": "http", "endpoint": "http://a" });
        json!({ "plugins": [plugin] }).to_string()
    };
    for name in ["a\u{7}", "a\u{85}b", "a\n", "a..b", "a/b", "a`b", "$a"] {
        let error = wrong(&file(name), Format::Json);
        assert_eq!(error.mistakes()[0].code, Code::PLUGIN_1001, "{name:?}: {error}");
        // As building says.
        let plugin = serde_json::from_str::<Value>(&file(name)).unwrap()["plugins"][0].clone();
        let plugin = serde_json::from_value(plugin).unwrap();
        let plugins = tower_upstream::plugins::Plugins::<u64, u64>::new();
        assert_eq!(plugins.register_config(plugin).unwrap_err().code(), Code::PLUGIN_1001);
    }
}

#[test]
fn a_fallback_of_all_plugins_is_checked_as_well() {
    let file = |fallback: &str, own: &str| {
        format!(
            "defaults:\n  fallback: {fallback}\nplugins:\n  a: {{transport: http, endpoint: 'http://a'}}\n  \
             b: {{transport: http, endpoint: 'http://b'{own}}}\n"
        )
    };
    let error = wrong(&file("c", ""), Format::Yaml);
    assert_eq!(told(&error), [("CONFIG_1703", "defaults.fallback", 2, 13)], "{error}");
    let error = wrong(&file("b", ""), Format::Yaml);
    assert_eq!(told(&error).len(), 1, "{error}");
    assert_eq!((told(&error)[0].1, told(&error)[0].2), ("plugins.b.fallback", 5), "{error}");
    assert!(error.to_string().contains("in a circle: `b`, `b`"), "{error}");
    Config::from_str(&file("b", ", fallback: none"), Format::Yaml).unwrap();
    // Each circle once, also if it is long.
    let names: Vec<_> = (0..5_000).collect();
    let plugins = names.iter().map(|at| {
        format!("{{\"name\": \"p{at}\", \"transport\": \"unix\", \"endpoint\": \"/a\", \"fallback\": \"p{}\"}}", (at + 1) % 5_000)
    });
    let text = format!("{{\"plugins\": [{}]}}", plugins.collect::<Vec<_>>().join(",\n"));
    let error = wrong(&text, Format::Json);
    assert_eq!(error.total(), 1);
    assert!(
        error.to_string().len() < 1_000 && error.to_string().contains("`p7`, …, `p0`"),
        "{error}"
    );
    // As many that lead nowhere.
    let error = wrong(&text.replace("\"fallback\": \"p", "\"fallback\": \"q"), Format::Json);
    assert_eq!(error.total(), 5_000);
    assert_eq!(error.mistakes()[0].help.as_deref(), Some("did you mean `p1`?"));
}

#[test]
fn the_check_of_an_endpoint_is_checked() {
    let file = |transport: &str, check: &str| {
        format!(
            "plugins:\n- name: tax\n  transport: {transport}\n  endpoints:\n  - address: 'tax.example:443'\n    \
             health_check: {check}\n"
        )
    };
    let path = "plugins[0].endpoints[0].health_check";
    for (check, keys) in [
        ("{path: ready, interval: 10ms}", &["interval", "path"][..]),
        ("{interval: 2h, timeout: 0s}", &["interval", "timeout"]),
        ("{path: '/a b', method: CONNECT, headers: {'a b': c}}", &["headers", "method", "path"]),
        ("{expected: [300, 200]}", &["expected"]),
        ("{expected: [0, 200]}", &["expected"]),
        ("{pth: /a, interval: soon}", &["interval", "pth"]),
    ] {
        let text = file("http", check).replace("'tax", "'http://tax");
        let error = wrong(&text, Format::Yaml);
        let mut paths: Vec<_> = told(&error).into_iter().map(|(_, path, ..)| path).collect();
        paths.sort_unstable();
        let wanted: Vec<_> = keys.iter().map(|key| format!("{path}.{key}")).collect();
        assert_eq!(paths, wanted, "{error}");
        assert!(
            told(&error).iter().all(|(.., line, column)| (*line, *column) > (6, 18)),
            "{error}"
        );
    }
    // Over other transports there is no path.
    let error = wrong(&file("grpc", "{path: /ready}"), Format::Yaml);
    assert_eq!(told(&error), [("CONFIG_1703", path, 6, 5)], "{error}");
    Config::from_str(&file("grpc", "{interval: 1s, timeout: 1s}"), Format::Yaml).unwrap();
    let empty = wrong(&file("unix", "{}").replace("'tax.example:443'", "''"), Format::Yaml);
    assert_eq!(told(&empty), [("PLUGIN_1003", "plugins[0].endpoints[0]", 5, 5)], "{empty}");
}
