//! The file as data: every key has its place, with the names of both worlds.
#![cfg(feature = "config")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tower_upstream::{
    CircuitBreakerConfig,
    config::{
        BalanceSection, BreakerScope, BreakerSection, ConcurrencySection, Config, DiscoverConfig,
        DiscoveryConfig, EndpointCheckConfig, EndpointConfig, FailoverSection, FallbackConfig,
        HashSection, KeySource, LocalityConfig, PluginConfig, Preset, RetrySection, SchemeName,
        Sections, SecurityConfig, StickySection, StrategyName,
        env::{self, EnvOptions},
    },
    endpoint::Status,
    health::HealthConfig,
    limit::{ConcurrencyLimitConfig, RateLimitConfig},
    retry::RetryConfig,
    transport::HttpConfig,
};

/// Reads `value`, each of whose keys must have an effect, and checks that it is written as it is read, and that
/// an unknown key is refused by its name.
fn read<T>(value: Value) -> T
where
    T: Serialize + DeserializeOwned + Default + PartialEq + Debug,
{
    let config: T = serde_json::from_value(value.clone()).unwrap();
    for (key, given) in value.as_object().unwrap() {
        let alone: T = serde_json::from_value(json!({ key: given })).unwrap();
        assert_ne!(alone, T::default(), "{key} has no effect");
    }
    let again: T = serde_json::from_value(serde_json::to_value(&config).unwrap()).unwrap();
    assert_eq!(again, config);
    let unknown = serde_json::from_value::<T>(json!({ "no_such_key": 1 })).unwrap_err();
    assert!(unknown.to_string().contains("no_such_key"), "{unknown}");
    config
}

/// All keys of `T` that are written are in `value`.
fn tries_all<T: Serialize + Default>(value: &Value) {
    let defaults = serde_json::to_value(T::default()).unwrap();
    for key in defaults.as_object().unwrap().keys() {
        assert!(value.get(key).is_some(), "{key} is not tried");
    }
}

fn mistake<T: DeserializeOwned>(value: Value) -> String {
    match serde_json::from_value::<T>(value) {
        Ok(_) => panic!("no mistake"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn sections_have_the_keys_of_their_part_and_their_own() {
    let retry: RetrySection =
        read(json!({ "enabled": false, "idempotent": true, "max_retries": 4, "overall": "9s" }));
    assert_eq!(retry.config, RetryConfig::up_to(5).with_overall(Duration::from_secs(9)));
    assert!(!retry.enabled && retry.idempotent);

    let breaker: BreakerSection =
        read(json!({ "scope": "upstream", "failure_threshold": 9, "enabled": false }));
    let expected = CircuitBreakerConfig::default().with_failures(9).with_enabled(false);
    assert_eq!((breaker.scope, breaker.config), (BreakerScope::Upstream, expected));

    let limits: ConcurrencySection =
        read(json!({ "enabled": false, "wait": "1s", "per_endpoint": 5, "max": 20, "pending": 3 }));
    assert_eq!(limits.config, ConcurrencyLimitConfig::default().with_max(20).with_pending(3));
    assert_eq!((limits.enabled, limits.per_endpoint), (false, Some(5)));

    let balance: BalanceSection = read(json!({
        "strategy": "geographic",
        "weights": { "a": 2 },
        "choices": 3,
        "full_scan": true,
        "region": "eu",
        "zone": "eu-a",
        "regions": ["us"],
        "panic_threshold": 30,
        "hash": {
            "scheme": "nginx", "size": 7, "points": 5, "load_factor": 2.0, "fade_in": "1s",
            "key": { "header": "X-A", "metadata": "b" },
        },
        "sticky": {
            "enabled": false, "key": { "header": "X-A" }, "session_timeout": "1m",
            "max_sessions": 5, "drain_timeout": "2s",
        },
        "sticky_session": true,
        "session_timeout": "2m",
    }));
    let key = KeySource::default().with_header("X-A");
    let hash = HashSection::default()
        .with_scheme(SchemeName::Nginx)
        .with_size(7)
        .with_points(5)
        .with_load_factor(2.0)
        .with_fade_in(Duration::from_secs(1))
        .with_key(key.clone().with_metadata("b"));
    assert_eq!(balance.hash, hash);
    let sticky = StickySection::default()
        .with_enabled(false)
        .with_key(key)
        .with_session_timeout(Duration::from_secs(60))
        .with_max_sessions(5)
        .with_drain_timeout(Duration::from_secs(2));
    assert_eq!(balance.sticky, sticky);
    assert!(balance.sticky_session);
    assert_eq!(balance.session_timeout, Some(Duration::from_secs(120)));
    let absurd = json!({
        "hash": { "size": 8, "points": 10001, "load_factor": 0.5 },
        "sticky": { "session_timeout": 0, "max_sessions": 0 },
        "panic_threshold": 101,
    });
    let absurd = read::<BalanceSection>(absurd).validate().unwrap_err().to_string();
    for key in [
        "hash.size",
        "hash.points",
        "hash.load_factor",
        "sticky.session_timeout",
        "sticky.max_sessions",
        "panic_threshold",
    ] {
        assert!(absurd.contains(&format!("`{key}`")), "{key}: {absurd}");
    }
    let by_its_name =
        read::<BalanceSection>(json!({ "sticky_session": true, "session_timeout": 0 }));
    let by_its_name = by_its_name.validate().unwrap_err().to_string();
    assert!(by_its_name.contains("`session_timeout` is 0s"), "{by_its_name}");
    assert_eq!(balance.config.panic_threshold, 30);
    assert_eq!((balance.strategy, balance.weights["a"]), (StrategyName::Geographic, 2));

    let failover = json!({
        "enabled": false, "timeout": "1s", "wait_for_endpoint": "2s", "hedge": { "after": "50ms" },
    });
    tries_all::<FailoverSection>(&failover);
    let failover: FailoverSection = read(failover);
    assert_eq!(failover.wait_for_endpoint, Some(Duration::from_secs(2)));

    let fallback = json!({
        "enabled": false,
        "strategy": "cached",
        "default_response": { "tax": 0 },
        "enable_caching": false,
        "cache_duration": "1m",
        "max_entries": 5,
        "max_bytes": 100,
    });
    let fallback: FallbackConfig = read(fallback);
    assert_eq!((fallback.max_entries, fallback.max_bytes), (5, 100));
    assert_eq!(fallback.cache_duration, Duration::from_secs(60));
}

#[test]
fn a_place_is_text_or_an_object() {
    let whole = json!({
        "address": "http://a:1", "id": "a", "weight": 3, "tier": 1, "tags": ["blue"], "status": "degraded",
        "metadata": { "k": "v" }, "locality": { "region": "eu", "zone": "eu-a", "sub_zone": "r1" },
        "health_check": { "endpoint": "/ready", "interval": "10s", "expected": [200, 204] },
    });
    let endpoint = read::<EndpointConfig>(whole).endpoint().unwrap();
    assert_eq!((endpoint.key(), endpoint.weight(), endpoint.priority()), ("a", 3, 1));
    assert_eq!((endpoint.tags(), &*endpoint.metadata()["k"]), (&["blue".to_owned()][..], "v"));
    assert_eq!((&*endpoint.locality().zone, endpoint.status()), ("eu-a", Status::Warning));
    let check = endpoint.check().unwrap();
    assert_eq!((check.path(), check.interval()), ("/ready", Some(Duration::from_secs(10))));
    assert_eq!((check.expected(), check.timeout(), check.method()), (Some(200..=204), None, None));
    read::<LocalityConfig>(json!({ "region": "eu", "zone": "eu-a", "sub_zone": "r1" }));
    let check = json!({
        "path": "/ready", "interval": "10s", "timeout": "1s", "method": "POST", "headers": { "x-probe": "1" },
        "body": "are you?", "expected": [200, 204],
    });
    let check: EndpointCheckConfig = serde_json::from_value(check).unwrap();
    let expected = EndpointCheckConfig::default()
        .with_path("/ready")
        .with_interval(Duration::from_secs(10))
        .with_timeout(Duration::from_secs(1))
        .with_method("POST")
        .with_header("x-probe", "1")
        .with_body("are you?")
        .with_expected((200, 204));
    assert_eq!(check, expected);
    let endpoint = EndpointConfig::new("a:1").with_health_check(check).endpoint().unwrap();
    let check = endpoint.check().unwrap();
    assert_eq!((check.method(), check.body()), (Some("POST"), Some("are you?")));
    assert_eq!(
        (&*check.headers()["x-probe"], check.timeout()),
        ("1", Some(Duration::from_secs(1)))
    );
    let text: EndpointConfig = serde_json::from_value(json!("http://b:1")).unwrap();
    assert_eq!(serde_json::to_value(&text).unwrap(), json!("http://b:1"));
    assert_eq!(text.endpoint().unwrap().key(), "http://b:1");

    let dns = json!({ "dns": { "max_ttl": "10s" }, "service": "tax", "tags": ["blue"] });
    let discover: DiscoverConfig = serde_json::from_value(dns).unwrap();
    assert_eq!((discover.backend().unwrap().0, &*discover.service), ("dns", "tax"));
    for (wrong, text) in
        [(json!({}), "names no backend"), (json!({ "dns": {}, "file": {} }), "one")]
    {
        let wrong: DiscoverConfig = serde_json::from_value(wrong).unwrap();
        assert!(wrong.backend().unwrap_err().to_string().contains(text));
    }
}

#[test]
fn the_defaults_of_go_are_those_of_go() {
    let go = Config::go();
    assert_eq!(
        (go.preset, &*go.log_level, go.metrics_port),
        (Some(Preset::Go), "info", Some(9090))
    );
    let Sections { retry, circuit_breaker, health_check, connection, rate_limit, .. } = go.defaults;
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    assert_eq!(retry.config.attempts, 3 + 1);
    assert_eq!((retry.config.initial_interval, retry.config.max_interval), (ms(100), s(5)));
    assert_eq!(retry.config.multiplier, 2.0);
    assert_eq!(serde_json::to_value(retry.config.jitter).unwrap(), "ten_percent");
    let CircuitBreakerConfig { enabled, failures, open_for, failures_min_calls, successes, .. } =
        circuit_breaker.config;
    assert_eq!((enabled, failures, open_for), (true, 5, s(30)));
    assert_eq!((failures_min_calls, successes), (3, 2));
    let HealthConfig { enabled, interval, timeout, fall, .. } = health_check;
    assert_eq!((enabled, interval, timeout, fall), (true, s(30), s(5), 3));
    let HttpConfig { max_connections, max_idle_connections, idle_timeout, .. } = connection;
    assert_eq!((max_connections, max_idle_connections, idle_timeout), (Some(10), 5, s(30)));
    assert_eq!((connection.connect_timeout, connection.request_timeout), (s(10), s(30)));
    assert!(connection.keep_alive);
    let RateLimitConfig { enabled, requests_per_second, burst, time_window, .. } = rate_limit;
    assert_eq!((enabled, requests_per_second, burst, time_window), (false, 10.0, 20, s(1)));
}

/// As Go's `ToJSON` writes it.
fn of_go() -> Value {
    json!({
        "log_level": "debug",
        "metrics_port": 9191,
        "default_retry": {
            "max_retries": 2, "initial_interval": 100_000_000, "max_interval": 5_000_000_000_u64,
            "multiplier": 2.0, "random_jitter": true,
        },
        "default_rate_limit": {
            "enabled": true, "requests_per_second": 10.0, "burst_size": 20, "time_window": 1_000_000_000,
        },
        "plugins": [{
            "name": "tax", "type": "payment", "version": "1.0.0", "transport": "exec",
            "endpoint": "/opt/tax", "priority": 1, "enabled": true,
            "executable": "/opt/tax", "args": ["-v"], "env": ["A=1", "B=x=y"], "work_dir": "/tmp",
            "auth": { "method": "api-key", "api_key": "s3cret" },
            "circuit_breaker": {
                "enabled": true, "failure_threshold": 5, "recovery_timeout": 30_000_000_000_u64,
                "min_request_threshold": 3, "success_threshold": 2,
            },
            "health_check": {
                "enabled": true, "interval": 30_000_000_000_u64, "timeout": 5_000_000_000_u64,
                "failure_limit": 3,
            },
            "connection": {
                "max_connections": 10, "max_idle_connections": 5, "idle_timeout": 30_000_000_000_u64,
                "connection_timeout": 10_000_000_000_u64, "request_timeout": 30_000_000_000_u64,
                "keep_alive": true, "disable_compression": false,
            },
            "options": { "region": "eu" }, "labels": { "team": "a" }, "annotations": { "note": "b" },
        }],
        "discovery": { "enabled": false, "directories": ["/p"], "patterns": ["*.so"], "watch_mode": true },
        "security": {
            "enabled": true, "policy": 2, "whitelist_file": "/w.json", "auto_update": false,
            "hash_algorithm": "sha256", "audit": { "enabled": true, "audit_file": "/a.jsonl" },
        },
    })
}

#[test]
fn a_file_of_go_is_read_member_by_member() {
    let config: Config = serde_json::from_value(of_go()).unwrap();
    assert_eq!((&*config.log_level, config.metrics_port), ("debug", Some(9191)));
    assert_eq!(config.defaults.retry, RetrySection::from(RetryConfig::go().with_attempts(3)));
    assert_eq!(config.defaults.rate_limit, RateLimitConfig::default());
    assert_eq!(config.defaults.health_check, HealthConfig::default(), "ours hold for the rest");
    let tax = &config.plugins[0];
    assert_eq!((&*tax.name, &*tax.kind, &*tax.transport), ("tax", "payment", "exec"));
    assert_eq!((&*tax.executable, &tax.args[0], tax.priority), ("/opt/tax", &"-v".to_owned(), 1));
    assert_eq!(tax.env.keys().collect::<Vec<_>>(), ["A", "B"]);
    assert_eq!(tax.env["B"], "x=y".into());
    assert_eq!((&*tax.work_dir, &*tax.labels["team"]), ("/tmp", "a"));
    assert_eq!((&tax.options["region"], &*tax.annotations["note"]), (&json!("eu"), "b"));
    assert_eq!(tax.auth.as_ref().unwrap().api_key, "s3cret".into());
    let sections = tax.sections(&config.defaults);
    assert_eq!(sections.connection, HttpConfig::go());
    assert_eq!(sections.retry, config.defaults.retry);
    assert_eq!(config.discovery.unwrap().directories, ["/p"]);
    let security = config.security.unwrap();
    assert!(security.is_on() && security.inert.len() == 2);
}

#[test]
fn plugins_are_a_list_or_an_object_by_name() {
    let plugin = json!({ "transport": "http", "endpoint": "http://a:1" });
    let config: Config = serde_json::from_value(json!({ "plugins": { "tax": plugin } })).unwrap();
    let expected = PluginConfig::new("tax", "http").with_endpoint("http://a:1");
    assert_eq!(config.plugins, [expected]);
    let wrong = mistake::<Config>(json!({ "plugins": { "tax": { "name": "other" } } }));
    assert!(wrong.contains("calls itself `other`"), "{wrong}");
}

#[test]
fn a_preset_holds_for_what_is_left_out() {
    let config: Config = serde_json::from_value(json!({
        "preset": "go", "defaults": { "timeout": "5s" }, "default_retry": { "max_retries": 0 },
    }))
    .unwrap();
    assert_eq!(config.defaults.timeout, Duration::from_secs(5));
    assert_eq!(config.defaults.retry.config.attempts, 1);
    assert_eq!(config.defaults.connection, HttpConfig::go());
    let again: Config = serde_json::from_value(serde_json::to_value(&config).unwrap()).unwrap();
    assert_eq!(again, config);
    let twice = json!({ "defaults": { "retry": {} }, "default_retry": {} });
    assert!(mistake::<Config>(twice).contains("are the same"));
}

#[test]
fn gos_spelling_in_yaml_is_read_and_no_policy_is_no_list() {
    let security: SecurityConfig = serde_json::from_value(json!({
        "enabled": true, "policy": 3, "whitelistfile": "/w.json", "reloaddelay": 1_000_000_000,
        "auditconfig": { "enabled": true, "auditfile": "/a", "logauthorized": true },
    }))
    .unwrap();
    assert!(security.is_on());
    let none: SecurityConfig =
        serde_json::from_value(json!({ "enabled": true, "policy": 0 })).unwrap();
    assert!(!none.is_on());
    #[cfg(all(feature = "process", unix))]
    {
        assert_eq!(security.allow.file, "/w.json");
        assert!(security.allow.audit.log_authorized && security.allow.audit.file == "/a");
        let off: SecurityConfig = serde_json::from_value(json!({
            "audit": { "audit_file": "/a", "enabled": false, "max_bytes": 9 }, "policy": "permissive",
        }))
        .unwrap();
        assert_eq!((&*off.allow.audit.file, off.allow.audit.max_bytes, off.is_on()), ("", 9, true));
        assert_eq!(off.allow.policy, Some(tower_upstream::allow::Policy::Permissive));
    }
}

#[test]
fn mistakes_name_their_key() {
    for (wrong, text) in [
        (json!({ "plugins": [{ "retry": { "jitter": "x" } }] }), "`plugins[0].retry.jitter`"),
        (json!({ "plugins": [{ "retry": { "idempotent": 1 } }] }), "`plugins[0].retry.idempotent`"),
        (
            json!({ "plugins": [{ "balance": { "strategy": "best" } }] }),
            "there are `least-request`",
        ),
        (json!({ "plugins": [{ "balance": { "strategy": "maglev" } }] }), "`hash.scheme`"),
        (json!({ "plugins": [{ "balance": { "strategy": "sticky" } }] }), "matter of `sticky`"),
        (json!({ "plugins": [{ "balance": { "sticky": { "cookie": "a" } } }] }), "`cookie`"),
        (
            json!({ "plugins": [{ "balance": { "hash": { "scheme": "best" } } }] }),
            "`plugins[0].balance.hash.scheme`",
        ),
        (json!({ "plugins": [{ "env": ["A"] }] }), "NAME=value"),
        (json!({ "defaults": { "retri": {} } }), "unknown field `retri`"),
    ] {
        let found = mistake::<Config>(wrong);
        assert!(found.contains(text), "{found}, not {text}");
    }
    let graceful = FallbackConfig::new("graceful").validate().unwrap_err().to_string();
    assert!(graceful.contains("`default_response`"), "{graceful}");
}

#[test]
fn nothing_secret_is_shown() {
    let mut file = of_go();
    file["plugins"][0]["endpoint"] = json!("http://user:s3cret@a:1");
    file["plugins"][0]["endpoints"] = json!(["http://user:s3cret@b:1"]);
    file["plugins"][0]["env"] = json!(["TOKEN=s3cret"]);
    file["plugins"][0]["options"] = json!({ "token": "s3cret" });
    file["plugins"][0]["discover"] = json!({ "consul": { "token": "s3cret" } });
    file["plugins"][0]["fallback"] = json!({ "default_response": "s3cret" });
    let config: Config = serde_json::from_value(file).unwrap();
    let shown = format!("{config:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(shown.contains("TOKEN"));
}

#[test]
fn what_is_written_is_read_again() {
    let mut file = of_go();
    // Secrets are not written.
    file["plugins"][0]["env"] = json!([]);
    file["plugins"][0]["auth"] = json!({});
    let config: Config = serde_json::from_value(file).unwrap();
    let again: Config = serde_json::from_value(serde_json::to_value(&config).unwrap()).unwrap();
    assert_eq!(again, config);
    for discovery in [DiscoveryConfig::default(), config.discovery.unwrap()] {
        let written = serde_json::to_value(&discovery).unwrap();
        assert_eq!(serde_json::from_value::<DiscoveryConfig>(written).unwrap(), discovery);
    }
}

#[test]
fn all_that_is_wrong_with_settings_of_the_failover_manager_is_told_by_the_names_that_are_written() {
    let error = Config::from_failover(&json!({
        "RetryAttempts": "three", "stratgy": "random", "timeout": 30,
        "circuit_breaker": { "failure_threshold": true, "max_request": 1 },
        "endpoints": [
            { "id": "a" }, { "address": "b", "port": 99_999, "tags": ["v2", 2] },
            "http://c", { "address": "d", "health_check": { "interval": "1x" } },
        ],
    }));
    let error = error.unwrap_err();
    assert_eq!(error.code(), tower_upstream::error::Code::CONFIG_1703);
    let text = error.to_string();
    for told in [
        "RetryAttempts: expected a whole number, not negative, found a text",
        "unknown key `stratgy`; did you mean `strategy`? there are `name`",
        "timeout: a number is nanoseconds",
        "circuit_breaker.failure_threshold: expected a whole number, not negative, found a bool",
        "unknown key `circuit_breaker.max_request`; did you mean `max_requests`?",
        "`endpoints[0]` needs an `address`",
        "endpoints[1].port: expected a whole number from 0 to 65535, found 99999",
        "endpoints[1].tags[1]: expected a text, found a number",
        "`endpoints[2]` must be an object",
        "endpoints[3].health_check.interval: ",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert!(!text.contains("u16") && !text.contains("u32"), "{text}");
    let text = Config::from_failover(&json!([])).unwrap_err().to_string();
    assert!(text.ends_with("failover config: it must be an object"), "{text}");
}

/// So does Go write what is not set.
#[test]
fn what_is_null_in_settings_of_the_failover_manager_is_not_set() {
    let settings = json!({
        "strategy": null, "metadata": null, "circuit_breaker": null, "timeout": null,
        "load_balancer": { "weights": null },
        "endpoints": [{ "address": "a", "port": 80, "tags": null, "metadata": null, "health_check": null }],
    });
    let config = Config::from_failover(&settings).unwrap();
    let plain = json!({ "endpoints": [{ "address": "a", "port": 80 }] });
    assert_eq!(config, Config::from_failover(&plain).unwrap());
    assert_eq!(Config::from_failover(&json!({ "endpoints": null })).unwrap().plugins.len(), 0);
}

#[test]
fn settings_of_the_failover_manager_are_taken_by_both_of_their_spellings() {
    let go = |settings: Value| Config::from_failover(&settings).map(|config| config.defaults);
    let (s, nothing) = (Duration::from_secs, go(json!({})).unwrap());
    assert_eq!((nothing.retry.config.attempts, nothing.timeout), (3, s(30)));
    assert_eq!(
        (nothing.retry.config.initial_interval, nothing.retry.config.multiplier),
        (s(1), 1.0)
    );
    assert_eq!(nothing.concurrency.per_endpoint, Some(1_000));
    let all = go(json!({
        "name": "x", "strategy": "random", "health_check_interval": "15s",
        "health_check_timeout": 3_000_000_000_u64, "max_failures": 4, "recovery_time": "90s",
        "retry_attempts": 5, "retry_delay": "200ms", "timeout": "9s", "metadata": { "a": "b" },
        "circuit_breaker": { "enabled": true, "failure_threshold": 7, "success_threshold": 2,
            "timeout": "70s", "max_requests": 6, "interval": "20s" },
        "load_balancer": { "algorithm": "least_connections", "sticky_session": false,
            "max_connections": 50, "connection_timeout": "4s", "keep_alive_timeout": "40s" },
    }))
    .unwrap();
    assert_eq!(all.balance.strategy, StrategyName::LeastRequest, "the algorithm comes first");
    assert_eq!((all.retry.config.attempts, all.retry.config.max_interval), (5, s(1) / 5));
    assert_eq!((all.health_check.interval, all.health_check.fall, all.timeout), (s(15), 4, s(9)));
    let breaker = &all.circuit_breaker.config;
    assert_eq!((breaker.failures, breaker.successes, breaker.probes), (7, 2, 6));
    assert_eq!((breaker.open_for, all.concurrency.per_endpoint), (s(70), Some(50)));
    assert_eq!((all.connection.connect_timeout, all.connection.idle_timeout), (s(4), s(40)));
    let docs = go(json!({
        "MaxRetries": 4, "LoadBalancer": { "Weights": { "a": 2 } },
        "CircuitBreaker": { "RecoveryTimeout": "70s", "HalfOpenMaxCalls": 6 },
    }))
    .unwrap();
    assert_eq!((docs.retry.config.attempts, docs.balance.weights["a"]), (5, 2));
    assert_eq!(docs.circuit_breaker.config.probes, 6);
    let sticky = go(json!({
        "strategy": "ip_hash",
        "load_balancer": { "sticky_session": true, "session_timeout": 1_800_000_000_000_u64 },
    }))
    .unwrap();
    assert_eq!(sticky.balance.strategy, StrategyName::IpHash);
    assert!(sticky.balance.sticky_session);
    assert_eq!(sticky.balance.session_timeout, Some(s(1_800)));
    let hashed = go(json!({ "LoadBalancer": { "Algorithm": "consistent-hash", "Sticky": true } }));
    assert_eq!(hashed.unwrap().balance.strategy, StrategyName::ConsistentHash);
    // Numbers of its own: 2 is unhealthy, where it is degraded for a plugin.
    let of =
        |health: Value| json!({ "id": "a", "address": "10.0.0.1", "port": 80, "health": health });
    let listed = json!({ "Name": "tax", "Endpoints": [of(json!(2)), of(json!(3)), of(json!("unhealthy")),
        { "address": "b", "protocol": "https", "Priority": 1, "Weight": 5, "LastCheck": "x" }] });
    let tax = Config::from_failover(&listed).unwrap().plugins.remove(0);
    assert_eq!((&*tax.name, &*tax.transport), ("tax", "http"));
    let statuses: Vec<_> = tax.endpoints.iter().map(|of| of.status).collect();
    let (critical, warning) = (Status::Critical, Status::Warning);
    assert_eq!(statuses, [critical, warning, critical, Status::Unknown]);
    let last = tax.endpoints[3].endpoint().unwrap();
    assert_eq!((last.key(), last.weight(), last.priority()), ("https://b", 5, 1));
    assert_eq!(tax.endpoints[0].address, "http://10.0.0.1:80");
    for (wrong, text) in [
        (json!({ "endpoints": [{ "health": 4 }] }), "`endpoints[0].health` must be"),
        (json!({ "endpoints": [{ "adress": "a" }] }), "did you mean `address`?"),
        (json!({ "max_retry": 1 }), "did you mean `max_retries`?"),
        (json!({ "timeout": "soon" }), "timeout: expected a duration"),
        (json!({ "circuit_breaker": 5 }), "must be an object"),
    ] {
        let found = go(wrong).unwrap_err().to_string();
        assert!(found.contains(text), "{found}, not {text}");
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Id(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Zone {
    East,
    West,
}

/// A config of a program, with what `serde` knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Own {
    by_number: BTreeMap<u16, String>,
    by_offset: BTreeMap<i64, u8>,
    by_id: BTreeMap<Id, BTreeMap<bool, Option<f32>>>,
    by_zone: BTreeMap<Zone, (char, i8)>,
    #[serde(flatten)]
    more: BTreeMap<String, Value>,
}

#[test]
fn a_config_of_any_type_is_taken_from_the_environment() {
    let text = |text: &str| text.to_owned();
    let own = |host: &str| Own {
        by_number: BTreeMap::from([(0, text("a")), (65_535, text(host))]),
        by_offset: BTreeMap::from([(-1, 1), (i64::MAX, 255)]),
        by_id: BTreeMap::from([(
            Id(text("x")),
            BTreeMap::from([(true, None), (false, Some(0.5))]),
        )]),
        by_zone: BTreeMap::from([(Zone::East, ('e', -3)), (Zone::West, ('\u{7a0e}', 4))]),
        more: BTreeMap::from([(text("other"), json!([1, { "b": "c" }]))]),
    };
    let mut config = own("${HOST}");
    let variables =
        [("HOST", "tax.example"), ("OWN_BY_NUMBER__0", "b"), ("OWN_BY_ZONE__EAST__1", "7")];
    let options =
        EnvOptions::default().with_override_prefix("OWN_".to_owned()).with_variables(variables);
    env::process(&mut config, &options).unwrap();
    let mut wanted = own("tax.example");
    wanted.by_number.insert(0, text("b"));
    wanted.by_zone.insert(Zone::East, ('e', 7));
    assert_eq!(config, wanted);
    // A key that is none of them is told at its path.
    let variables = [("OWN_BY_NUMBER__65536", "b"), ("OWN_BY_ZONE__NORTH", "7")];
    let options =
        EnvOptions::default().with_override_prefix("OWN_".to_owned()).with_variables(variables);
    let error = env::process(&mut config, &options).unwrap_err().to_string();
    assert!(error.contains("by_number.65536: ") && error.contains("by_zone.north: "), "{error}");
    assert_eq!(config, wanted, "nothing has changed");
    // Nor is one that nothing reads, also where the type has nothing against it.
    #[derive(Serialize, Deserialize)]
    struct Lenient {
        port: u16,
        limits: BTreeMap<String, Limits>,
    }
    #[derive(Default, Serialize, Deserialize)]
    struct Limits {
        #[serde(rename = "maxCalls")]
        max_calls: u32,
    }
    let limits = BTreeMap::from([(text("a"), Limits::default())]);
    let mut lenient = Lenient { port: 80, limits };
    for (name, path) in
        [("PROT", "prot"), ("X__Y", "x"), ("LIMITS__A__MAX_CALLS", "limits.a.max_calls")]
    {
        let options = EnvOptions::default()
            .with_override_prefix("OWN_".to_owned())
            .with_variables([(format!("OWN_{name}"), "7")]);
        let error = env::process(&mut lenient, &options).unwrap_err().to_string();
        assert!(error.contains(&format!("$OWN_{name}: ")), "{error}");
        assert!(error.contains(&format!("{path}: leads nowhere")), "{error}");
    }
    let variables = [("OWN_PORT", "81"), ("OWN_LIMITS__A__MAXCALLS", "7")];
    let options =
        EnvOptions::default().with_override_prefix("OWN_".to_owned()).with_variables(variables);
    env::process(&mut lenient, &options).unwrap();
    assert_eq!((lenient.port, lenient.limits["a"].max_calls), (81, 7));
}
