//! Configs as data: every key is read, a wrong one is named, and what is written is read again.
#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{fmt::Debug, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tower_upstream::{
    Attempts, CircuitBreakerConfig,
    balance::{BalanceConfig, LocalityMode, OutlierConfig, SlowStartConfig, ZoneAware},
    budget::BudgetConfig,
    failover::Hedge,
    health::{HealthConfig, RetryChecks},
    limit::{ConcurrencyLimitConfig, RateLimitConfig},
    retry::RetryConfig,
};

/// Reads `value`, which must set every key, and checks that an unknown key is refused by its name.
fn read<T>(value: serde_json::Value) -> T
where
    T: Serialize + DeserializeOwned + Default + PartialEq + Debug,
{
    let config: T = serde_json::from_value(value.clone()).unwrap();
    let defaults = serde_json::to_value(T::default()).unwrap();
    for (key, default) in defaults.as_object().unwrap() {
        let given = value.get(key).unwrap_or_else(|| panic!("{key} is not tried"));
        assert_ne!(given, default, "{key} is tried with its default");
        // Alone, each key changes exactly itself.
        let alone: T = serde_json::from_value(json!({ key: given })).unwrap();
        assert_ne!(alone, T::default(), "{key} has no effect");
    }
    let again: T = serde_json::from_value(serde_json::to_value(&config).unwrap()).unwrap();
    assert_eq!(again, config);
    let unknown = serde_json::from_value::<T>(json!({ "no_such_key": 1 })).unwrap_err();
    assert!(unknown.to_string().contains("no_such_key"), "{unknown}");
    config
}

#[test]
fn circuit_breaker() {
    let config: CircuitBreakerConfig = read(json!({
        "enabled": false,
        "metrics_only": true,
        "manual": true,
        "failures": 7,
        "failures_min_calls": 9,
        "failure_ratio": 0.25,
        "slow_ratio": 0.75,
        "slow_after": "3s",
        "window": { "calls": 50 },
        "min_calls": 10,
        "cancelled": "ignored",
        "open_for": "1m30s",
        "open_growth": 2.0,
        "max_open_for": "5m0s",
        "open_jitter": 0.3,
        "probes": 3,
        "successes": 5,
        "probe_failures": 2,
        "half_open_for": 2_000_000_000_u64,
    }));
    assert_eq!(config.open_for, Duration::from_secs(90));
    assert_eq!(config.half_open_for, Duration::from_secs(2));
}

#[test]
fn balance() {
    let outlier = json!({
        "consecutive_failures": 7,
        "success_rate_factor": 2.5,
        "success_rate_hosts": 3,
        "success_rate_calls": 50,
            "success_rate_failures": 9,
        "failure_percent": 85,
        "failure_percent_hosts": 4,
        "failure_percent_calls": 20,
        "interval": "10s",
        "base_ejection": "5s",
        "max_ejection": "1m",
        "jitter_percent": 20,
        "max_ejected_percent": 50,
    });
    let slow_start = json!({ "window": "30s", "aggression": 2.0, "min_percent": 5 });
    read::<OutlierConfig>(outlier.clone());
    read::<SlowStartConfig>(slow_start.clone());
    let config: BalanceConfig = read(json!({
        "fail_fast_after": "250ms",
        "panic_threshold": 30,
        "panic_mode": "last_known_good",
        "overprovisioning_percent": 120,
        "fail_back_delay": "1s",
        "fail_back_percent": 50,
        "outlier": outlier,
        "slow_start": slow_start,
        "locality": { "weighted": { "weights": { "eu-a": 2, "eu-b": 1 }, "others": 3 } },
        "debounce": "20ms",
        "explain": 0.01,
    }));
    assert_eq!(config.fail_fast_after, Duration::from_millis(250));
    let near = ZoneAware::from("eu-a").with_callers([("eu-a", 1), ("eu-a", 1), ("eu-b", 3)]);
    let near = near.with_min_cluster_size(4).with_force_local_zone(2);
    for (written, expected) in [
        (json!("off"), LocalityMode::Off),
        (
            json!({ "zone_aware": {
                "zone": "eu-a",
                "callers": { "eu-a": 2, "eu-b": 3 },
                "min_cluster_size": 4,
                "force_local_zone": 2,
            } }),
            LocalityMode::ZoneAware(near),
        ),
    ] {
        let config: BalanceConfig = serde_json::from_value(json!({ "locality": written })).unwrap();
        assert_eq!(config.locality, expected);
        assert_eq!(serde_json::to_value(config).unwrap()["locality"], written);
    }
    let misspelt = json!({ "locality": { "zone_aware": { "zones": "eu-a" } } });
    assert!(serde_json::from_value::<BalanceConfig>(misspelt).is_err());
}

#[test]
fn attempts() {
    let config: Attempts = read(json!({
        "max": 5,
        "timeout": "1s",
        "overall": "5s",
        "backoff": "10ms",
        "max_backoff": "1s",
        "multiplier": 3.5,
        "jitter": "equal",
        "max_retry_after": "3s",
        "wait_for_endpoint": "10s",
        "hedge": { "after": "50ms" },
    }));
    assert_eq!(config.max_retry_after, Duration::from_secs(3));
    assert_eq!(config.timeout, Some(Duration::from_secs(1)));
    for (hedge, expected) in [
        (json!({ "after": "50ms" }), Hedge::After(Duration::from_millis(50))),
        (json!({ "quantile": 0.95 }), Hedge::Quantile(0.95)),
    ] {
        let config: Attempts = serde_json::from_value(json!({ "hedge": hedge })).unwrap();
        assert_eq!(config.hedge, Some(expected));
        assert_eq!(serde_json::to_value(config).unwrap()["hedge"], hedge);
    }
    assert!(serde_json::from_value::<Attempts>(json!({ "hedge": "50ms" })).is_err());
    let none: Attempts = serde_json::from_value(json!({ "timeout": null })).unwrap();
    assert_eq!(none.timeout, None);
}

#[test]
fn health() {
    #[cfg_attr(not(feature = "http"), allow(unused_mut))]
    let mut health = json!({
        "enabled": false,
        "interval": "10s",
        "interval_unhealthy": "2s",
        "timeout": "500ms",
        "rise": 4,
        "fall": 5,
        "initial": "first_result",
        "parallel": 20,
        "parallel_scheduled": 30,
        "jitter": 0.2,
    });
    #[cfg(feature = "http")]
    {
        health["endpoint"] = json!("/ready");
    }
    let config: HealthConfig = read(health);
    assert_eq!(config.timeout, Duration::from_millis(500));
    #[cfg(feature = "http")]
    {
        let endpoint = json!({ "endpoint": "/ready" });
        let config: HealthConfig = serde_json::from_value(endpoint.clone()).unwrap();
        assert_eq!(config, HealthConfig::default().with_endpoint("/ready"));
        assert_eq!(serde_json::to_value(config).unwrap()["endpoint"], endpoint["endpoint"]);
    }
    let retry: RetryChecks = read(json!({ "max_retries": 3, "initial": "1s", "max": "3s" }));
    assert_eq!(retry.max, Duration::from_secs(3));

    // As Go's manager writes it.
    let config: HealthConfig = serde_json::from_value(json!({
        "enabled": true,
        "interval": 30_000_000_000_u64,
        "timeout": 5_000_000_000_u64,
        "failure_limit": 3,
    }))
    .unwrap();
    let expected = HealthConfig::default().with_interval(Duration::from_secs(30));
    assert_eq!(config, expected.with_timeout(Duration::from_secs(5)));
}

#[cfg(feature = "http")]
#[test]
fn http() {
    #[allow(unused_mut)]
    let mut http = json!({
        "request_timeout": "10s",
        "connect_timeout": "1s",
        "idle_timeout": "1m",
        "max_idle_connections": 7,
        "max_connections": 9,
        "max_connection_age": "5m",
        "keep_alive": false,
        "max_response_bytes": 1_000,
        "max_header_bytes": 10_000,
        "disable_compression": true,
        "health_path": "/healthz",
        "allowed_uids": [1000],
        "allow_any_user": true,
    });
    #[cfg(feature = "tls")]
    {
        let files = json!({ "ca_file": "ca.pem", "cert_file": "c.pem", "key_file": "c.key" });
        http["tls"] = files;
        http["tls"]["server_name"] = json!("tax.example.com");
        http["tls"]["http2"] = json!(false);
    }
    let config: tower_upstream::transport::HttpConfig = read(http);
    assert_eq!(config.idle_timeout, Duration::from_secs(60));
}

#[test]
fn rate_limit() {
    let config: RateLimitConfig = read(json!({
        "enabled": false,
        "requests_per_second": 100.5,
        "burst": 7,
        "time_window": "1m0s",
    }));
    assert_eq!((config.burst, config.time_window), (7, Duration::from_secs(60)));
}

#[test]
fn concurrency_limit() {
    let config: ConcurrencyLimitConfig = read(json!({ "max": 50, "pending": 0 }));
    assert_eq!((config.max, config.pending), (50, 0));
}

#[test]
fn a_duration_that_is_none_is_refused_with_what_to_write() {
    for wrong in [json!("soon"), json!(-5), json!("5")] {
        let error = serde_json::from_value::<BalanceConfig>(json!({ "fail_fast_after": wrong }));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("1m30s") || error.contains("negative"), "{error}");
    }
}

#[test]
fn retry() {
    use tower_upstream::{backoff::Jitter, retry::RetryConfig};

    let config: RetryConfig = read(json!({
        "attempts": 5,
        "initial_interval": "20ms",
        "max_interval": "2s",
        "multiplier": 1.5,
        "jitter": "decorrelated",
        "overall": "30s",
        "max_retry_after": "1m",
    }));
    assert_eq!((config.attempts, config.jitter), (5, Jitter::Decorrelated));
}

#[test]
fn budgets() {
    use tower_upstream::budget::{ConcurrentBudget, ShareBudget, StandardBudget, ThrottleBudget};

    let share: ShareBudget =
        read(json!({ "ratio": 0.6, "floor": 0.5, "capacity": 50, "start": 5, "ttl": "10s" }));
    assert_eq!(share.ttl, Some(Duration::from_secs(10)));
    read::<ThrottleBudget>(json!({ "max_tokens": 10, "token_ratio": 0.5 }));
    read::<StandardBudget>(json!({ "capacity": 100, "cost": 10, "overload_cost": 2 }));
    read::<ConcurrentBudget>(json!({ "percent": 10.0, "min": 1 }));
}

/// The text of the mistake in a config.
fn mistake<T: DeserializeOwned>(text: &str) -> String {
    match serde_json::from_str::<T>(text) {
        Ok(_) => panic!("{text} is no mistake"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn mistakes_name_their_key_and_what_may_stand_there() {
    let duration = "expected a duration such as `1m30s`, or whole nanoseconds, not negative";
    type Read = fn(&str) -> String;
    let breaker: Read = mistake::<CircuitBreakerConfig>;
    let (balance, attempts): (Read, Read) = (mistake::<BalanceConfig>, mistake::<Attempts>);
    let (budget, retry): (Read, Read) = (mistake::<BudgetConfig>, mistake::<RetryConfig>);
    let (rate, at_once): (Read, Read) =
        (mistake::<RateLimitConfig>, mistake::<ConcurrencyLimitConfig>);
    #[cfg(feature = "http")]
    {
        let found = mistake::<tower_upstream::transport::HttpConfig>(r#"{"request_timeout": "x"}"#);
        assert!(found.starts_with("`request_timeout`: invalid value"), "{found}");
    }
    let health: Read = mistake::<HealthConfig>;
    for (read, text, expected) in [
        (
            breaker,
            r#"{"window": 100}"#,
            "`window`: invalid type: integer `100`, expected `{\"calls\": 100}` or `{\"time\": \"10s\"}`",
        ),
        (
            breaker,
            r#"{"window": {"time": "x"}}"#,
            &format!("`window.time`: invalid value: string \"x\", {duration}"),
        ),
        (
            breaker,
            r#"{"window": {"colls": 1}}"#,
            "unknown variant `colls`, expected `calls` or `time`",
        ),
        (
            breaker,
            r#"{"open_for": "5 parsecs"}"#,
            &format!("`open_for`: invalid value: string \"5 parsecs\", {duration}"),
        ),
        (
            breaker,
            r#"{"recovery_timeout": true}"#,
            "`recovery_timeout`: invalid type: boolean `true`, expected a duration",
        ),
        (
            breaker,
            r#"{"cancelled": "no"}"#,
            "`cancelled`: unknown variant `no`, expected one of `ignored`",
        ),
        (breaker, r#"{"failure_ratio": "half"}"#, "`failure_ratio`: invalid type: string \"half\""),
        (breaker, r#"{"failurs": 5}"#, "unknown field `failurs`, expected one of `enabled`"),
        (
            budget,
            r#""share""#,
            "invalid type: string \"share\", expected a budget such as `{\"rule\": \"share\", \"ratio\": 0.2}`",
        ),
        (budget, r#"{"rule": "shar"}"#, "`rule`: unknown variant `shar`"),
        (budget, r#"{"ratio": 0.2}"#, "needs a `rule`: `share`, `throttle`"),
        (budget, r#"{"rule": "share", "ratio": "x"}"#, "`ratio`: invalid type: string \"x\""),
        (
            budget,
            r#"{"rule": "throttle", "ttl": "5s"}"#,
            "`ttl` is no key of this `rule`, which has `max_tokens`, `token_ratio`",
        ),
        (
            budget,
            r#"{"rule": "empty", "min": 5}"#,
            "`min` is no key of this `rule`, which has none",
        ),
        (health, r#"{"interval": "x"}"#, "`interval`: invalid value: string \"x\""),
        (health, r#"{"initial": "ok"}"#, "`initial`: unknown variant `ok`"),
        (
            rate,
            r#"{"requests_per_second": "x"}"#,
            "`requests_per_second`: invalid type: string \"x\"",
        ),
        (at_once, r#"{"max": -1}"#, "`max`: invalid value: integer `-1`"),
        (
            balance,
            r#"{"outlier": {"base_ejection": "x"}}"#,
            "`outlier.base_ejection`: invalid value: string \"x\"",
        ),
        (
            balance,
            r#"{"slow_start": {"window": 1.5}}"#,
            "`slow_start.window`: invalid value: floating point `1.5`",
        ),
        (attempts, r#"{"hedge": {"after": "x"}}"#, "`hedge.after`: invalid value: string \"x\""),
        (retry, r#"{"jitter": "x"}"#, "`jitter`: unknown variant `x`"),
    ] {
        let found = read(text);
        assert!(found.contains(expected), "{text}: {found}, not {expected}");
        assert!(!found.contains("Written"), "{text}: {found}");
    }
}

#[test]
fn keys_that_contradict_each_other_are_mistakes() {
    let mut attempts = Attempts::up_to(2).with_overall(Duration::from_secs(1));
    attempts.timeout = Some(Duration::from_secs(2));
    let mistake = attempts.validate().unwrap_err().to_string();
    assert!(
        mistake.contains("`timeout` is 2s, but must not be longer than `overall`, 1s"),
        "{mistake}"
    );
    let health = HealthConfig::default().with_interval(Duration::from_millis(1));
    assert!(health.validate().is_ok(), "the default is meant for any interval");
    let health = health.with_timeout(Duration::from_millis(2));
    let mistake = health.validate().unwrap_err().to_string();
    assert!(mistake.contains("must not be longer than `interval`, 1ms"), "{mistake}");
}

#[cfg(all(feature = "grpc", unix))]
#[test]
fn a_timeout_that_could_never_be_reached_is_a_mistake_of_every_transport() {
    use tower_upstream::{
        Error,
        transport::{GrpcConfig, HttpConfig, SocketConfig},
    };

    let (short, long) = (Duration::from_secs(1), Duration::from_secs(2));
    let http = |connect| {
        HttpConfig::default().with_request_timeout(short).with_connect_timeout(connect).validate()
    };
    let socket = |connect| {
        SocketConfig::default().with_request_timeout(short).with_connect_timeout(connect).validate()
    };
    let grpc = |connect| {
        GrpcConfig::default().with_request_timeout(short).with_connect_timeout(connect).validate()
    };
    let expected = "`request_timeout` is 1s, but must not be shorter than `connect_timeout`, 2s";
    for validate in [&http as &dyn Fn(Duration) -> Result<(), Error>, &socket, &grpc] {
        let mistake = validate(long).unwrap_err().to_string();
        assert!(mistake.contains(expected), "{mistake}");
        assert!(validate(short).is_ok());
        assert!(validate(Duration::from_secs(5)).is_ok(), "the default is meant for any exchange");
    }
}
