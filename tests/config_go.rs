//! Files of the Go plugin manager, which load as they are.
#![cfg(all(feature = "config", feature = "yaml"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::time::Duration;

use serde_json::json;
use tower_upstream::{
    auth::AuthMethod,
    backoff::Jitter,
    config::{BreakerScope, Config, Format, PluginConfig, ReadOptions, Sections, env::EnvOptions},
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
