//! What is written of a config reads as the same config.
#![cfg(all(feature = "config", feature = "yaml"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::time::Duration;

use proptest::prelude::*;
use tower_upstream::{
    CircuitBreakerConfig,
    auth::{AuthConfig, AuthMethod},
    config::{
        Config, Format, PluginConfig, Preset, ReadOptions, Secrets, Sections, env::EnvOptions,
    },
    health::HealthConfig,
    limit::RateLimitConfig,
    retry::RetryConfig,
};

const ALL: [Format; 3] = [Format::Json, Format::Yaml, Format::Toml];

fn read(text: &str, format: Format) -> Config {
    // What looks like a placeholder is none here: the names of these variables are not set, and would be
    // empty.
    let options = ReadOptions::default().with_env(EnvOptions::default());
    Config::from_str_with(text, format, &options)
        .unwrap_or_else(|error| panic!("{format}: {error}\n{text}"))
}

fn check(config: &Config) {
    for format in ALL {
        let text = config.to_text(format, Secrets::Written).unwrap();
        assert_eq!(read(&text, format), *config, "{format}: {text}");
    }
}

fn durations() -> impl Strategy<Value = Duration> {
    (1_000_000..3_600_000_000_000_u64).prop_map(Duration::from_nanos)
}

/// Texts without placeholders, which reading replaces.
fn texts() -> impl Strategy<Value = String> {
    "[^$\0]{0,12}|yes|no|null|~|1e3|0x10|- a|a: b|#x|'|\"|\\\\|\u{7f}|\u{85}|\u{feff}|\u{2028}|nan"
}

fn auths() -> impl Strategy<Value = AuthConfig> {
    ("[!-#%-~]{1,20}", 0..4_u8).prop_map(|(secret, method)| {
        let mut auth = AuthConfig::default();
        match method {
            0 => {}
            1 => (auth.method, auth.token) = (AuthMethod::Bearer, secret.into()),
            2 => (auth.method, auth.api_key) = (AuthMethod::ApiKey, secret.into()),
            _ => {
                auth.method = AuthMethod::Basic;
                (auth.username, auth.password) = ("u".into(), secret.into());
            }
        }
        auth
    })
}

fn breakers() -> impl Strategy<Value = CircuitBreakerConfig> {
    (any::<bool>(), 1..100_u32, prop::option::of(0.01..1.0_f64), durations()).prop_map(
        |(enabled, failures, ratio, open_for)| {
            CircuitBreakerConfig::default()
                .with_enabled(enabled)
                .with_failures(failures)
                .with_failure_ratio(ratio)
                .with_open_for(open_for)
                .with_max_open_for(open_for)
        },
    )
}

prop_compose! {
    fn plugins()(
        name in "[a-z][a-z0-9 .:#-]{0,12}".prop_filter("two dots", |name| !name.contains("..")),
        kind in texts(),
        label in (texts(), texts()),
        enabled in any::<bool>(),
        priority in any::<i64>(),
        auth in prop::option::of(auths()),
        breaker in prop::option::of(breakers()),
        attempts in prop::option::of(1..64_u32),
        timeout in prop::option::of(durations()),
        rate in prop::option::of((0.1..1e6_f64, 1..1_000_u32)),
        health in prop::option::of(durations()),
        option in prop::option::of((texts(), texts())),
    ) -> PluginConfig {
        let mut plugin = PluginConfig::new(name, "https")
            .with_endpoint("https://tax.example")
            .with_kind(kind)
            .with_label(label.0, label.1)
            .with_enabled(enabled)
            .with_priority(priority)
            .with_auth(auth)
            .with_timeout(timeout)
            .with_retry(attempts.map(|attempts| RetryConfig::up_to(attempts).into()))
            .with_circuit_breaker(breaker.map(Into::into));
        plugin.rate_limit = rate.map(|(rate, burst)| {
            let mut config = RateLimitConfig::default();
            (config.requests_per_second, config.burst) = (rate, burst);
            config
        });
        plugin.health_check = health.map(|interval| {
            HealthConfig::default().with_interval(interval).with_timeout(interval)
        });
        match option {
            Some((key, value)) => plugin.with_option(key, value),
            None => plugin,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_config_survives_each_format(
        plugins in prop::collection::vec(plugins(), 1..4),
        breaker in prop::option::of(breakers()),
        is_go in any::<bool>(),
        level in texts(),
    ) {
        let mut config = if is_go { Config::go() } else { Config::default() };
        config.log_level = level;
        if let Some(breaker) = breaker {
            let defaults = config.defaults.clone();
            config = config.with_defaults(Sections::with_circuit_breaker(defaults, breaker));
        }
        for (index, mut plugin) in plugins.into_iter().enumerate() {
            plugin.name = format!("{}{index}", plugin.name);
            config = config.with_plugin(plugin);
        }
        check(&config);
    }
}

#[test]
fn no_ratio_survives_toml() {
    let breaker = CircuitBreakerConfig::default().with_failure_ratio(None);
    let plugin = PluginConfig::new("tax", "http")
        .with_endpoint("http://tax")
        .with_circuit_breaker(Some(breaker.into()));
    check(&Config::default().with_plugin(plugin));
}

#[test]
fn secrets_are_stars_unless_asked_for() {
    let text = "plugins: {tax: {transport: exec, executable: /bin/tax, env: [KEY=s3cret],
        auth: {method: custom, headers: {X-Key: s3cret}}}}";
    let config = read(text, Format::Yaml);
    for text in [
        config.to_json().unwrap(),
        config.to_yaml().unwrap(),
        config.to_toml().unwrap(),
        config.to_go_json(Secrets::Masked).unwrap(),
        serde_json::to_string(&config).unwrap(),
        format!("{config:?}"),
    ] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    assert!(config.to_yaml().unwrap().contains("X-Key: \"***\""));
    let go = config.to_go_json(Secrets::Written).unwrap();
    assert!(go.contains("KEY=s3cret"), "{go}");
    check(&config);
}

#[test]
fn what_is_written_for_go_reads_as_go_means_it() {
    let text = "preset: go\nplugins:\n- name: tax\n  transport: https\n  endpoint: https://tax\n  \
                retry: {max_retries: 5}\n  circuit_breaker: {failure_threshold: 7, recovery_timeout: 1m}\n  \
                rate_limit: {burst_size: 3}\n";
    let config = read(text, Format::Yaml);
    let go = config.to_go_json(Secrets::Masked).unwrap();
    let again = read(&go, Format::Json);
    let (before, after) = (&config.plugins[0], &again.plugins[0]);
    assert_eq!(after.retry.as_ref().unwrap().config.attempts, 6);
    let breakers = [before, after].map(|plugin| plugin.circuit_breaker.clone().unwrap().config);
    assert_eq!(breakers[0].failures, breakers[1].failures);
    assert_eq!(breakers[0].open_for, breakers[1].open_for);
    assert_eq!(after.rate_limit, before.rate_limit);
    // What the plugin does not have is written with zeros, and read as not there.
    assert_eq!((&after.health_check, &after.connection), (&None, &None));
    assert_eq!(again.log_level, "info");
}

/// As it is after Go has read it: of a plugin without `auth` Go needs to be told that it has none.
fn as_go_has_it(mut config: Config) -> Config {
    for plugin in &mut config.plugins {
        plugin.auth.get_or_insert_with(|| config.defaults.auth.clone());
    }
    config
}

fn survives_go(config: &Config) {
    let text = config.to_go_json(Secrets::Written).unwrap();
    let options = ReadOptions::default().with_preset(config.preset);
    let again = Config::from_str_with(&text, Format::Json, &options)
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    let expected = as_go_has_it(config.clone());
    assert_eq!(again.plugins, expected.plugins, "{text}");
    assert_eq!(again.security, expected.security, "{text}");
    assert_eq!(again.discovery, expected.discovery, "{text}");
    assert_eq!(again.log_level, expected.log_level, "{text}");
}

#[test]
fn what_is_written_for_go_is_read_as_it_was() {
    let preset = ReadOptions::default().with_preset(Preset::Go);
    for name in [
        "written.json",
        "sample.json",
        "readme.yaml",
        "exec.yaml",
        "security.json",
        "security.yaml",
    ] {
        let path = format!("{}/tests/config/go/{name}", env!("CARGO_MANIFEST_DIR"));
        for options in [&preset, &ReadOptions::default()] {
            let config =
                Config::from_file_with(&path, options).unwrap_or_else(|error| panic!("{error}"));
            survives_go(&config);
        }
    }
    // Go writes every section, also those that are not there.
    let bare =
        Config::default().with_plugin(PluginConfig::new("tax", "http").with_endpoint("http://tax"));
    survives_go(&bare);
    let text = "preset: go
log_level: debug
plugins:
- name: tax
  transport: exec
  executable: /opt/tax
  args: [--port, '0']
  env: [A=b=c, 'B=']
  work_dir: /opt
  type: vat
  version: 1.2.3
  priority: -3
  enabled: false
  options: {max_calls: 3}
  labels: {a: b}
  annotations: {c: d}
  retry: {max_retries: 0, initial_interval: 1ms, max_interval: 2ms, multiplier: 1, random_jitter: false}
  connection: {max_connections: 0, request_timeout: 1m, keep_alive: false, disable_compression: true}
  health_check: {enabled: false, endpoint: /x}
  auth: {method: custom, headers: {X-Key: k}}
discovery: {enabled: true, directories: [/a], discovery_timeout: 5s, max_depth: 3, follow_symlinks: false}
";
    survives_go(&read(text, Format::Yaml));
}

#[cfg(all(feature = "process", unix))]
#[test]
fn the_security_that_is_written_for_go_is_read_as_it_was() {
    let plugins = "plugins: {tax: {transport: http, endpoint: 'http://tax'}}\n";
    for security in [
        "{enabled: true, policy: permissive, file: /a, watch: false}",
        "{enabled: false}",
        "{enabled: false, policy: strict, max_file_size: 7, auto_update: true, hash_algorithm: sha256}",
        "{policy: audit-only, allowed_types: [a], forbidden_paths: [/b], reload_delay: 1000000000}",
        "{policy: strict, audit: {file: /c, log_authorized: true, include_metadata: true}}",
        "{policy: strict, audit: {audit_file: /c, log_unauthorized: false, log_config_changes: false}}",
    ] {
        survives_go(&read(&format!("{plugins}security: {security}\n"), Format::Yaml));
    }
    // Go would let all programs run without one.
    let config =
        read(&format!("{plugins}security: {{file: /a, reload_delay: 1s}}\n"), Format::Yaml);
    let go: serde_json::Value =
        serde_json::from_str(&config.to_go_json(Secrets::Written).unwrap()).unwrap();
    assert_eq!(go["security"]["policy"], 2);
    assert_eq!(go["security"]["audit"]["enabled"], false);
    assert_eq!(go["security"]["reload_delay"], 1_000_000_000);
}

#[test]
fn what_holds_for_a_plugin_is_written_for_go_where_it_has_no_default() {
    let text = "defaults: {auth: {method: bearer, token: s3cret}}
plugins:
- {name: a, transport: https, endpoint: 'https://a', retry: {enabled: false}}
- {name: b, transport: https, endpoint: 'https://b', auth: {method: none}}
";
    let config = read(text, Format::Yaml);
    let go = config.to_go_json(Secrets::Written).unwrap();
    let again = read(&go, Format::Json);
    assert_eq!(again.plugins[0].auth, Some(config.defaults.auth.clone()));
    assert_eq!(again.plugins[1].auth.as_ref().unwrap().method, AuthMethod::None);
    assert_eq!(again.plugins[0].retry.as_ref().unwrap().config.attempts, 1);
}
