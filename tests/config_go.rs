//! Files of the Go plugin manager, which load as they are.
#![cfg(all(feature = "config", feature = "yaml"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::time::Duration;

use serde_json::{Value, json};
use tower_upstream::{
    auth::AuthMethod,
    backoff::Jitter,
    config::{
        BreakerScope, Config, Format, PluginConfig, Preset, ReadOptions, Secrets, Sections,
        env::EnvOptions,
    },
};

fn sample(name: &str, variables: &[(&str, &str)]) -> Config {
    let path = format!("{}/tests/config/go/{name}", env!("CARGO_MANIFEST_DIR"));
    let env = EnvOptions::default().with_variables(variables.iter().copied());
    Config::from_file_with(&path, &ReadOptions::default().with_env(env))
        .unwrap_or_else(|error| panic!("{error}"))
}

fn read(text: &str) -> Config {
    Config::from_str(text, Format::Yaml).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// One plugin over HTTP with `members`, below `file`.
fn tax(file: &str, members: &str) -> PluginConfig {
    let text = format!(
        "{file}plugins:\n- name: tax\n  transport: http\n  endpoint: http://tax\n{members}"
    );
    read(&text).plugins.remove(0)
}

#[test]
fn what_go_writes_is_read_member_by_member() {
    let config = sample("written.json", &[]);
    assert_eq!((config.log_level.as_str(), config.metrics_port), ("info", Some(9090)));
    let defaults = &config.defaults;
    let go = Sections::go();
    assert_eq!(defaults.retry.config, go.retry.config);
    let breaker = &defaults.circuit_breaker.config;
    assert_eq!((breaker.failures, breaker.failures_min_calls, breaker.successes), (5, 3, 2));
    assert_eq!(breaker.open_for, Duration::from_secs(30));
    let health = &defaults.health_check;
    assert_eq!((health.interval.as_secs(), health.timeout.as_secs(), health.fall), (30, 5, 3));
    let connection = &defaults.connection;
    assert_eq!((connection.max_connections, connection.max_idle_connections), (Some(10), 5));
    assert_eq!(connection.idle_timeout, Duration::from_secs(30));
    assert_eq!(connection.connect_timeout, Duration::from_secs(10));
    assert_eq!(connection.request_timeout, Duration::from_secs(30));
    assert!(connection.keep_alive && !connection.disable_compression);
    assert_eq!(defaults.rate_limit, go.rate_limit);

    let [payment, cache] = &config.plugins[..] else { panic!("{config:?}") };
    assert_eq!((payment.name.as_str(), payment.kind.as_str()), ("payment-service", "http"));
    assert_eq!(payment.transport, "https");
    assert_eq!(payment.endpoint, "https://payments.example.com/api/v1");
    assert_eq!((payment.priority, payment.enabled), (1, true));
    let auth = payment.auth.as_ref().unwrap();
    assert_eq!((auth.method, &auth.token), (AuthMethod::Bearer, &"tok<en".into()));
    // Written with zeros, and so not there.
    assert_eq!((&payment.retry, &payment.health_check, &payment.connection), (&None, &None, &None));
    let breaker = &payment.circuit_breaker.as_ref().unwrap().config;
    assert_eq!((breaker.failures, breaker.failures_min_calls, breaker.successes), (10, 5, 3));
    assert_eq!(breaker.open_for, Duration::from_secs(60));
    let rate = payment.rate_limit.as_ref().unwrap();
    assert_eq!((rate.requests_per_second, rate.burst), (100.5, 200));
    assert_eq!(payment.options["nested"], json!({ "Key": [1, "x"] }));
    assert_eq!(
        (&*payment.labels["Team"], &*payment.annotations["owner"]),
        ("payments", "a@b.example")
    );

    // Names in any case, as Go reads them.
    assert_eq!((cache.name.as_str(), cache.kind.as_str()), ("local-cache", "unix"));
    assert!(!cache.enabled);
    assert_eq!(cache.endpoint, "/run/plugins/cache.sock");
    assert_eq!((&cache.auth, &cache.circuit_breaker, &cache.rate_limit), (&None, &None, &None));
    let notes: Vec<_> = config.notes().iter().map(|note| note.path.as_str()).collect();
    let options = ["plugins[0].options.retries", "plugins[0].options.nested"];
    assert_eq!(notes, ["metrics_port", options[0], options[1]]);
}

#[test]
fn what_its_guide_shows_is_read() {
    let config = sample("readme.yaml", &[("AUTH_HOST", "auth.internal")]);
    let [auth, tax] = &config.plugins[..] else { panic!("{config:?}") };
    assert_eq!(auth.endpoint, "https://auth.internal/api");
    assert_eq!(auth.auth, None);
    let health = auth.health_check.as_ref().unwrap();
    assert_eq!(health.endpoint.as_deref(), Some("/healthz"));
    assert_eq!(tax.executable, "/opt/plugins/tax/bin/tax");
    assert_eq!(tax.args, ["--port", "0"]);
    assert_eq!((tax.env["LOG"].clone(), tax.env["TOKEN"].clone()), ("debug".into(), "none".into()));
    assert_eq!(tax.work_dir, "/opt/plugins/tax");
    assert_eq!(config.defaults.retry.config.jitter, Jitter::TenPercent);
}

#[test]
fn its_sample_is_read() {
    let config = sample("sample.json", &[]);
    let plugin = &config.plugins[0];
    assert_eq!(
        (plugin.transport.as_str(), plugin.endpoint.as_str()),
        ("grpc-tls", "grpc.example.com:443")
    );
    let auth = plugin.auth.as_ref().unwrap();
    assert_eq!((auth.method, &auth.api_key), (AuthMethod::ApiKey, &"your-api-key-here".into()));
    let retry = &plugin.retry.as_ref().unwrap().config;
    assert_eq!((retry.attempts, retry.multiplier, retry.jitter), (6, 1.5, Jitter::None));
    assert_eq!(retry.initial_interval, Duration::from_millis(200));
}

#[test]
fn a_section_of_zeros_is_absent_only_if_go_may_have_written_it() {
    let default = "default_retry: {max_retries: 7}\n";
    let zeros = "  retry: {max_retries: 0, initial_interval: 0s, max_interval: 0s, multiplier: 0, \
                 random_jitter: false}\n";
    let plugin = tax(default, zeros);
    assert_eq!(plugin.retry, None);
    // One member less, and it says what it says.
    let retries = tax(default, "  retry: {max_retries: 0}\n").retry.unwrap();
    assert_eq!(retries.config.attempts, 1);
    let limit = "  rate_limit: {enabled: false}\n";
    let plugin = tax("default_rate_limit: {burst_size: 9}\n", limit);
    assert!(!plugin.rate_limit.unwrap().enabled);
    let zeros =
        "  rate_limit: {enabled: false, requests_per_second: 0, burst_size: 0, time_window: 0s}\n";
    assert_eq!(tax("", zeros).rate_limit, None);
    // One more, too.
    let more = zeros.replace("0s}", "0s, burst: 0}");
    assert!(Config::from_str(&format!("plugins:\n- name: a\n{more}"), Format::Yaml).is_err());
    // And a default that Go wrote.
    let text = format!(
        "default_{}plugins: {{a: {{transport: http, endpoint: 'http://a'}}}}\n",
        zeros.trim_start()
    );
    assert_eq!(read(&text).defaults.rate_limit, Sections::default().rate_limit);
}

#[test]
fn a_zero_that_go_writes_among_others_is_not_set() {
    // As Go writes what a program sets in part.
    let sections = [
        (
            "retry",
            r#"{"max_retries": 5, "initial_interval": 0, "max_interval": 0, "multiplier": 0, "random_jitter": true}"#,
            1,
        ),
        (
            "circuit_breaker",
            r#"{"enabled": true, "failure_threshold": 9, "recovery_timeout": 0, "min_request_threshold": 0, "success_threshold": 0}"#,
            2,
        ),
        (
            "health_check",
            r#"{"enabled": true, "interval": 0, "timeout": 0, "failure_limit": 0}"#,
            3,
        ),
        (
            "connection",
            r#"{"max_connections": 7, "max_idle_connections": 0, "idle_timeout": 0, "connection_timeout": 0, "request_timeout": 0, "keep_alive": true, "disable_compression": false}"#,
            3,
        ),
        (
            "rate_limit",
            r#"{"enabled": true, "requests_per_second": 5, "burst_size": 9, "time_window": 0}"#,
            1,
        ),
    ];
    for (section, written, unset) in sections {
        let plugin = r#"{"name": "a", "transport": "http", "endpoint": "http://a""#;
        let in_plugin = format!(r#"{{"plugins": [{plugin}, "{section}": {written}}}]}}"#);
        let in_default = format!(r#"{{"default_{section}": {written}, "plugins": [{plugin}}}]}}"#);
        for (text, path) in [
            (&in_plugin, format!("plugins[0].{section}")),
            (&in_default, format!("default_{section}")),
        ] {
            let config = Config::from_str(text, Format::Json).unwrap_or_else(|e| panic!("{e}"));
            let notes = config.notes();
            assert_eq!(notes.len(), unset, "{text}: {notes:?}");
            assert!(notes.iter().all(|note| note.path.starts_with(&path)), "{notes:?}");
        }
        // Of the same keys without one of them, it says what it says.
        let (_, fewer) = written[1..].split_once(", ").unwrap();
        let text = in_plugin.replace(written, &format!("{{{fewer}"));
        assert!(Config::from_str(&text, Format::Json).is_err(), "{text}");
    }
    let breaker = r#"{"enabled": true, "failure_threshold": 0, "recovery_timeout": 0, "min_request_threshold": 0, "success_threshold": 0}"#;
    let text = format!(
        r#"{{"preset": "go", "plugins": [{{"name": "a", "transport": "http", "endpoint": "http://a", "circuit_breaker": {breaker}}}]}}"#
    );
    let config = Config::from_str(&text, Format::Json).unwrap();
    let breaker = &config.plugins[0].circuit_breaker.as_ref().unwrap().config;
    assert_eq!((breaker.open_for, breaker.successes), (Duration::from_secs(30), 2));
    // No more than that is let pass.
    let text = r#"{"plugins": [{"name": "a", "transport": "http", "endpoint": "http://a", "rate_limit":
        {"enabled": true, "requests_per_second": 0, "burst_size": 0, "time_window": 0}}]}"#;
    assert!(Config::from_str(text, Format::Json).is_err());
}

/// In any case, which JSON leaves free; of a plugin in a map, of a default, and where a key has no value.
#[test]
fn what_go_has_not_set_is_known_wherever_and_however_it_is_written() {
    let read = |config: &Value| {
        let text = config.to_string();
        Config::from_str(&text, Format::Json).unwrap_or_else(|error| panic!("{error}\n{text}"))
    };
    let limit =
        json!({ "enabled": true, "requests_per_second": 5, "burst_size": 9, "time_window": 0 });
    let upper =
        json!({ "Enabled": true, "Requests_Per_Second": 5, "Burst_Size": 9, "Time_Window": 0 });
    let plugin = |key: &str, limit: &Value| json!({ "name": "tax", "transport": "http", "endpoint": "http://a", key: limit });
    let mut named = plugin("rate_limit", &limit);
    named.as_object_mut().unwrap().remove("name");
    let first = json!({ "name": "other", "transport": "http", "endpoint": "http://b" });
    let bare = json!({ "name": "tax", "transport": "http", "endpoint": "http://a" });
    let cases = [
        (json!({ "plugins": { "tax": named } }), "plugins.tax.rate_limit.time_window"),
        (
            json!({ "plugins": [first, plugin("rate_limit", &limit)] }),
            "plugins[1].rate_limit.time_window",
        ),
        (json!({ "plugins": [plugin("Rate_Limit", &limit)] }), "plugins[0].Rate_Limit.time_window"),
        (json!({ "plugins": [plugin("rate_limit", &upper)] }), "plugins[0].rate_limit.Time_Window"),
        (
            json!({ "defaults": { "rate_limit": limit }, "plugins": [bare] }),
            "defaults.rate_limit.time_window",
        ),
    ];
    for (config, path) in &cases {
        let config = read(config);
        let notes: Vec<_> = config.notes().iter().map(|note| &*note.path).collect();
        assert_eq!(notes, [*path]);
    }
    // What is null is not set either, and nothing that Go has written.
    let mut null = limit.clone();
    null["time_window"] = Value::Null;
    let config = read(&json!({ "plugins": [plugin("rate_limit", &null)] }));
    assert!(config.notes().is_empty(), "{:?}", config.notes());
    // A section without anything is one by any of its names.
    let zeros = json!({ "Enabled": false, "requests_per_second": 0, "burst": 0, "time_window": 0 });
    let config = read(&json!({ "plugins": [plugin("rate_limit", &zeros)] }));
    assert_eq!(config.plugins[0].rate_limit, None);
}

#[test]
fn credentials_of_all_plugins_may_be_completed_by_each() {
    let file = "defaults: {auth: {method: basic, username: svc}}\n";
    let own = tax(file, "  auth: {password: s3cret}\n").auth.unwrap();
    assert_eq!((own.method, own.username), (AuthMethod::Basic, "svc".into()));
    // For one that does not, they are a mistake where they are, once.
    let text = format!(
        "{file}plugins:\n  a: {{transport: https, endpoint: 'https://a', auth: {{password: x}}}}\n  \
         b: {{transport: https, endpoint: 'https://b'}}\n  c: {{transport: https, endpoint: 'https://c'}}\n"
    );
    let error = Config::from_str(&text, Format::Yaml).unwrap_err();
    let told: Vec<_> = error.mistakes().iter().map(|of| (of.code.as_str(), &*of.path)).collect();
    assert_eq!(told, [("AUTH_1103", "defaults.auth")], "{error}");
    // What is there, and wrong, is not missing.
    let text = r#"{"defaults": {"auth": {"method": "bearer", "token": 5}},
        "plugins": {"a": {"transport": "https", "endpoint": "https://a"}}}"#;
    let error = Config::from_str(text, Format::Json).unwrap_err();
    let told: Vec<_> = error.mistakes().iter().map(|of| &*of.path).collect();
    assert_eq!(told, ["defaults.auth.token"], "{error}");
}

#[test]
fn a_section_of_all_plugins_is_given_by_one_of_its_names() {
    let text = "default_retry: {max_retries: 1}\ndefaults: {retry: {attempts: 0}}\nplugins:\n  \
                a: {transport: http, endpoint: 'http://a'}\n";
    let error = Config::from_str(text, Format::Yaml).unwrap_err();
    let told: Vec<_> = error.mistakes().iter().map(|of| (&*of.path, of.line)).collect();
    // And what is wrong with the other is told as well.
    assert_eq!(told, [("default_retry", Some(1)), ("defaults.retry.attempts", Some(2))], "{error}");
}

#[test]
fn defaults_fill_in_member_by_member() {
    let file = "default_retry: {max_retries: 7, multiplier: 3}\n\
                defaults: {circuit_breaker: {failures: 9, scope: upstream, enabled: false}}\n";
    let plugin = tax(
        file,
        "  retry: {initial_interval: 1s}\n  circuit_breaker: {failure_threshold: 2}\n  \
         health_check: {interval: 9s}\n",
    );
    let retry = plugin.retry.unwrap().config;
    assert_eq!((retry.attempts, retry.multiplier), (8, 3.0));
    assert_eq!(retry.initial_interval, Duration::from_secs(1));
    // A plugin's name for a member hides the default's, whichever they are.
    let breaker = plugin.circuit_breaker.unwrap();
    assert_eq!((breaker.config.failures, breaker.scope), (2, BreakerScope::Upstream));
    // What is written is on.
    assert!(breaker.config.enabled);
    assert_eq!(plugin.health_check.unwrap().fall, 3);
    // None at all: that of the file, as a whole.
    let plugin = tax(file, "");
    assert_eq!((&plugin.retry, &plugin.circuit_breaker), (&None, &None));
    let config = read(&format!("{file}plugins: {{a: {{transport: http, endpoint: 'http://a'}}}}"));
    let sections = config.plugins[0].sections(&config.defaults);
    assert_eq!(sections.retry.config.attempts, 8);
    assert!(!sections.circuit_breaker.config.enabled);
}

#[test]
fn the_preset_holds_for_what_the_file_leaves_out() {
    let file = "preset: go\ndefault_retry: {max_retries: 1}\n";
    let config = read(&format!(
        "{file}plugins: {{a: {{transport: http, endpoint: 'http://a', health_check: {{timeout: 1s}}}}}}"
    ));
    let go = Sections::go();
    assert_eq!(config.defaults.retry.config.attempts, 2);
    assert_eq!(config.defaults.retry.config.max_interval, go.retry.config.max_interval);
    assert_eq!(config.defaults.circuit_breaker, go.circuit_breaker);
    let health = config.plugins[0].health_check.as_ref().unwrap();
    assert_eq!((health.timeout.as_secs(), health.interval), (1, go.health_check.interval));
    // Without it, ours hold.
    let ours = tax("", "  health_check: {timeout: 1s}\n").health_check.unwrap();
    assert_eq!(ours.interval, Sections::default().health_check.interval);
}

#[test]
fn a_program_may_say_the_preset_of_a_file_without_one() {
    let text =
        "plugins: {tax: {transport: http, endpoint: 'http://tax', retry: {max_retries: 1}}}\n";
    let options = ReadOptions::default().with_preset(Preset::Go);
    let config = Config::from_str_with(text, Format::Yaml, &options).unwrap();
    let written = Config::from_str(&format!("preset: go\n{text}"), Format::Yaml).unwrap();
    assert_eq!(config.preset, Some(Preset::Go));
    assert_eq!((&config.defaults, &config.plugins), (&written.defaults, &written.plugins));
    assert_ne!(config.defaults, Config::from_str(text, Format::Yaml).unwrap().defaults);
    let null = Config::from_str_with(&format!("preset:\n{text}"), Format::Yaml, &options).unwrap();
    assert_eq!(null.defaults, written.defaults);
    // What is written of it reads the same without the program's word.
    for format in [Format::Json, Format::Yaml, Format::Toml] {
        let text = config.to_text(format, Secrets::Written).unwrap();
        assert_eq!(Config::from_str(&text, format).unwrap(), config, "{text}");
    }
}

#[test]
fn a_mistake_in_a_default_is_told_once() {
    let text = "default_rate_limit: {burst_size: 0}\nplugins:\n".to_owned()
        + &["a", "b", "c"]
            .map(|name| {
                format!(
                    "- {{name: {name}, transport: http, endpoint: 'http://a', rate_limit: {{}}}}\n"
                )
            })
            .concat();
    let error = Config::from_str(&text, Format::Yaml).unwrap_err();
    let paths: Vec<_> = error.mistakes().iter().map(|mistake| mistake.path.as_str()).collect();
    assert_eq!(paths, ["default_rate_limit.burst_size"]);
}

#[test]
fn a_program_of_go_is_read_member_by_member() {
    let config = sample("exec.yaml", &[]);
    assert_eq!(config.log_level, "debug");
    let tax = &config.plugins[0];
    assert_eq!((&*tax.name, &*tax.kind, &*tax.version, tax.priority), ("tax", "exec", "2.1.0", 5));
    assert_eq!(
        (&*tax.transport, &*tax.executable, &*tax.endpoint),
        ("exec", "/opt/plugins/tax/bin/tax", "/opt/plugins/tax/bin/tax")
    );
    assert_eq!(
        (&tax.args[..], &*tax.work_dir),
        (&["--mode".to_owned(), "plugin".to_owned()][..], "/opt/plugins/tax")
    );
    let env = ["EMPTY", "LOG", "PAIR"].map(|name| tax.env[name].clone());
    assert_eq!(env, ["".into(), "debug".into(), "a=b".into()]);
    assert_eq!(tax.auth.as_ref().unwrap().method, AuthMethod::None);
    let retry = &tax.retry.as_ref().unwrap().config;
    assert_eq!((retry.attempts, retry.multiplier, retry.jitter), (3, 1.5, Jitter::TenPercent));
    assert_eq!((retry.initial_interval.as_millis(), retry.max_interval.as_secs()), (250, 2));
    let breaker = &tax.circuit_breaker.as_ref().unwrap().config;
    assert!(breaker.enabled);
    assert_eq!((breaker.failures, breaker.failures_min_calls, breaker.successes), (4, 2, 1));
    assert_eq!(breaker.open_for, Duration::from_secs(45));
    let health = tax.health_check.as_ref().unwrap();
    assert_eq!((health.interval.as_secs(), health.timeout.as_secs(), health.fall), (20, 3, 2));
    let connection = tax.connection.as_ref().unwrap();
    assert_eq!((connection.max_connections, connection.max_idle_connections), (Some(4), 2));
    assert_eq!((connection.idle_timeout.as_secs(), connection.connect_timeout.as_secs()), (60, 4));
    assert_eq!(connection.request_timeout, Duration::from_secs(15));
    assert!(connection.keep_alive && connection.disable_compression);
    let rate = tax.rate_limit.as_ref().unwrap();
    assert_eq!((rate.enabled, rate.requests_per_second, rate.burst), (true, 12.5, 25));
    assert_eq!(rate.time_window, Duration::from_secs(2));
    let handshake = json!({ "protocolversion": 1, "magiccookiekey": "AGILIRA_PLUGIN_MAGIC_COOKIE", "magiccookievalue": "agilira-go-plugins-v1" });
    assert_eq!(tax.options["handshake_config"], handshake);
    assert_eq!(tax.options["stream_sync_config"]["output_prefix"], "[tax]");
    assert_eq!(tax.options["bridge_config"]["max_channels"], 100);
    assert_eq!(
        (&*tax.labels["tier"], &*tax.labels["critical"], &*tax.labels["team"]),
        ("1", "true", "payments")
    );
    assert_eq!(
        (&*tax.annotations["owner"], &*tax.annotations["env_REGION"]),
        ("a@b.example", "eu")
    );
    let notes: Vec<_> = config.notes().iter().map(|note| note.path.as_str()).collect();
    let wanted: &[&str] = if cfg!(all(feature = "process", unix)) {
        &["plugins[0].options.bridge_config"]
    } else {
        &[]
    };
    assert_eq!(notes, wanted);
}

#[cfg(all(feature = "process", unix))]
#[test]
fn the_security_of_go_is_read_in_both_spellings() {
    use tower_upstream::allow::Policy;

    for (name, policy, file) in [
        ("security.yaml", Policy::Strict, "/var/log/plugins/audit.jsonl"),
        // Its audit is off.
        ("security.json", Policy::AuditOnly, ""),
    ] {
        let config = sample(name, &[]);
        let security = config.security.as_ref().unwrap();
        let allow = &security.allow;
        assert!(security.is_on() && allow.watch, "{name}");
        assert_eq!(allow.policy, Some(policy), "{name}");
        assert_eq!(allow.file, "/etc/plugins/allowed.json");
        assert_eq!(allow.max_file_size, 100 << 20);
        assert_eq!(
            (&allow.allowed_types[..], allow.forbidden_paths.len()),
            (&["exec".to_owned()][..], 1)
        );
        let audit = &allow.audit;
        assert_eq!(audit.file, file, "{name}");
        assert_eq!((audit.log_unauthorized, audit.log_authorized), (true, false));
        assert_eq!((audit.log_config_changes, audit.include_metadata), (true, false));
        let inert: Vec<_> = security.inert.keys().map(String::as_str).collect();
        assert_eq!(inert, ["auto_update", "hash_algorithm", "reload_delay", "validate_on_start"]);
    }
    let discovery = sample("security.json", &[]).discovery.unwrap();
    assert!(discovery.enabled && discovery.watch_mode);
    assert_eq!(
        (&discovery.directories[..], &discovery.patterns[..]),
        (&["/opt/plugins".to_owned()][..], &["*.so".to_owned()][..])
    );
    assert_eq!((discovery.max_depth, discovery.follow_symlinks), (Some(3), Some(false)));
    assert_eq!(discovery.discovery_timeout, Some(Duration::from_secs(10)));
    assert_eq!(discovery.allowed_transports, ["grpc", "exec"]);
    assert_eq!((discovery.required_capabilities.len(), discovery.exclude_paths.len()), (1, 1));
    assert_eq!((discovery.search_paths.len(), discovery.file_patterns.len()), (1, 1));
    assert_eq!((discovery.network_interfaces.len(), discovery.validate_manifests), (1, Some(true)));
}

fn file(name: &str) -> serde_json::Value {
    let path = format!("{}/tests/config/go/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_options_of_its_environment_are_read() {
    let options: EnvOptions = serde_json::from_value(file("env.json")).unwrap();
    let expected = EnvOptions::default().with_default("REGION", "eu").with_override("TIER", "1");
    assert_eq!(options, expected);
}

#[test]
fn the_configs_of_the_failover_library_are_read_member_by_member() {
    use tower_upstream::{breaker::Window, config::StrategyName, endpoint::Status};

    let config = Config::from_failover(&file("failover.json")).unwrap();
    let sections = &config.defaults;
    assert_eq!(sections.balance.strategy, StrategyName::RoundRobin, "the algorithm comes first");
    let (health, outlier) = (&sections.health_check, &sections.balance.config.outlier);
    assert_eq!((health.interval.as_secs(), health.timeout.as_secs(), health.fall), (30, 5, 3));
    assert_eq!((outlier.consecutive_failures, outlier.base_ejection.as_secs()), (3, 60));
    let retry = &sections.retry.config;
    assert_eq!(
        (retry.attempts, retry.initial_interval, retry.max_interval),
        (3, Duration::from_secs(1), Duration::from_secs(1))
    );
    assert_eq!((retry.multiplier, retry.jitter), (1.0, Jitter::None));
    assert_eq!(sections.timeout, Duration::from_secs(30));
    let breaker = &sections.circuit_breaker.config;
    assert_eq!(
        (breaker.enabled, breaker.failures, breaker.successes, breaker.probes),
        (true, 5, 3, 10)
    );
    assert_eq!(
        (breaker.open_for.as_secs(), breaker.window),
        (60, Window::Time(Duration::from_secs(10)))
    );
    assert_eq!(sections.balance.session_timeout, Some(Duration::from_secs(1_800)));
    assert!(!sections.balance.sticky_session);
    assert_eq!(sections.concurrency.per_endpoint, Some(1_000));
    assert_eq!(sections.connection.connect_timeout, Duration::from_secs(10));
    assert_eq!(sections.connection.idle_timeout, Duration::from_secs(30));
    let tax = &config.plugins[0];
    let [first, second] = &tax.endpoints[..] else { panic!("{tax:?}") };
    assert_eq!((&*tax.name, &*tax.transport), ("tax", "http"));
    assert_eq!(
        (&*first.id, &*first.address, first.weight),
        ("tax-1", "http://10.0.0.1:8080", Some(3))
    );
    assert_eq!(
        (first.tier, first.status, &first.tags[..]),
        (1, Status::Passing, &["eu".to_owned()][..])
    );
    assert_eq!(first.metadata["zone"], "eu-1a");
    // 3 is degraded there.
    assert_eq!((second.status, second.weight), (Status::Warning, Some(100)));

    let config = Config::from_failover(&file("failover_guide.json")).unwrap();
    let sections = &config.defaults;
    assert_eq!(sections.balance.strategy, StrategyName::WeightedRoundRobin);
    assert_eq!((sections.balance.weights["tax-1"], sections.balance.sticky_session), (7, true));
    assert_eq!(
        (sections.retry.config.attempts, sections.retry.config.initial_interval.as_millis()),
        (3, 500)
    );
    assert_eq!((sections.timeout.as_secs(), sections.health_check.enabled), (10, true));
    let breaker = &sections.circuit_breaker.config;
    assert_eq!(
        (breaker.failures, breaker.successes, breaker.probes, breaker.open_for.as_secs()),
        (4, 2, 6, 45)
    );
    let endpoint = &config.plugins[0].endpoints[0];
    assert_eq!(
        (&*endpoint.address, endpoint.status, endpoint.tier),
        ("https://10.0.0.1:8443", Status::Critical, 2)
    );
    let check = endpoint.health_check.as_ref().unwrap();
    assert_eq!((&*check.path, &*check.method, &check.body), ("/ready", "POST", &"up?".into()));
    assert_eq!(
        (check.interval, check.timeout),
        (Some(Duration::from_secs(15)), Some(Duration::from_secs(2)))
    );
    assert_eq!(check.headers["X-Probe"], "1".into());
    assert_eq!(config.plugins[0].transport, "https");

    let config = Config::from_failover(&file("failover_manager.json")).unwrap();
    let sections = &config.defaults;
    assert_eq!((sections.retry.config.attempts, sections.timeout.as_secs()), (3, 30));
    assert!(sections.fallback.enabled && config.plugins.is_empty());
    for (health_check, told) in [
        (json!({ "path": "ready" }), "`path`"),
        (json!({ "interval": 1 }), "health_check.interval: "),
        (json!({ "pth": "/x" }), "did you mean `path`?"),
        (json!(7), "must be an object"),
    ] {
        let endpoints = json!({ "endpoints": [{ "address": "a", "health_check": health_check }] });
        let error = Config::from_failover(&endpoints).unwrap_err().to_string();
        assert!(error.contains(told), "{told}: {error}");
    }
}

#[test]
fn the_settings_of_its_backends_are_taken_by_each() {
    use tower_upstream::{discover::Memory, plugins::Plugins};

    let config = sample("discover.yaml", &[]);
    let settings = |name: &str| {
        let plugin = config.plugins.iter().find(|plugin| plugin.name == name).unwrap();
        let (backend, settings) = plugin.discover.as_ref().unwrap().backend().unwrap();
        assert_eq!(backend, name);
        settings
    };
    assert_eq!(settings("consul")["datacenter"], "dc1");
    assert_eq!(settings("etcd")["endpoints"], json!(["127.0.0.1:2379"]));
    assert_eq!(settings("etcd")["key_prefix"], "/services");
    assert_eq!(settings("eureka")["registry_fetch_interval"], "30s");
    assert_eq!(settings("http")["seeds"], json!(["http://127.0.0.1:8080"]));
    for plugin in &config.plugins {
        let plugins = Plugins::<u64, u64>::new();
        plugins.register_source("memory", Memory::new(["a:1"]).unwrap());
        let registered = plugins.register_config(plugin.clone());
        let has = match plugin.name.as_str() {
            "consul" => cfg!(feature = "consul"),
            "etcd" => cfg!(feature = "etcd"),
            "eureka" => cfg!(feature = "eureka"),
            _ => true,
        };
        let error = registered.as_ref().err().map(ToString::to_string);
        assert_eq!(registered.is_ok(), has, "{}: {error:?}", plugin.name);
        let feature = format!("the Cargo feature `{}`", plugin.name);
        assert!(error.is_none_or(|error| error.contains(&feature)), "{}", plugin.name);
    }
}
