use serde_json::json;
use tokio::time::{Instant, sleep};
use tower_upstream::{
    Call,
    breaker::{CircuitBreakerConfig, CircuitState},
    config::{Config, Sections},
    discover,
    error::{Code, Kind},
    failover::Attempts,
    limit::{ConcurrencyLimitConfig, RateLimitConfig},
    plugins::{Layers, Plugins},
};

use crate::world::{World, ms, tax};

#[test]
fn the_layers_are_shown_in_the_order_in_which_a_call_meets_them() {
    let endpoints = discover::fixed(["a:1"]).unwrap();
    let layers = Layers::<u64, String>::new(&Sections::default(), endpoints).unwrap();
    let shown = format!("{layers:#?}");
    let fields = shown.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(": "));
    let fields: Vec<_> =
        fields.map(|(field, _)| field).filter(|field| !field.starts_with(' ')).collect();
    assert_eq!(
        fields,
        [
            "rate_limit",
            "concurrency",
            "terms",
            "fallback",
            "breaker",
            "failover",
            "balance",
            "health",
            "endpoint_breaker",
            "endpoint_concurrency",
            "auth"
        ]
    );
}

#[test]
fn a_handle_is_shown_with_its_stack_in_that_order() {
    let shown = format!("{:?}", World::default().tax(json!({})).get("tax").unwrap());
    let layers = [
        "Upstream",
        "RateLimit",
        "ConcurrencyLimit",
        "Terms",
        "Fallback",
        "CircuitBreaker",
        "Failover",
        "Balance",
    ];
    let places: Vec<_> = layers.iter().map(|layer| shown.find(*layer)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} in {shown}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_enabled_lets_pass_until_it_is_switched_on_in_place() {
    let world = World::default();
    world.fail("a", true);
    let plugins = world.tax(json!({
        "transport": "checked", "endpoints": ["a"],
        "retry": { "enabled": false, "idempotent": true },
        "circuit_breaker": { "enabled": false }, "health_check": { "enabled": false },
        "concurrency": { "enabled": false, "max": 1 },
    }));
    let call = async || plugins.call("tax", Call::new(1)).await.unwrap_err();
    for _ in 0..50 {
        assert_eq!((call().await.is_refused(), world.seen().len()), (false, 1));
    }
    sleep(ms(60_000)).await;
    assert_eq!(world.checks(), 0);
    let layers = plugins.layers("tax").unwrap();

    layers.failover.handle().update(&Attempts::up_to(3)).unwrap();
    assert_eq!((call().await.attempts(), world.seen().len()), (3, 3));

    world.slow("a", ms(50));
    let one = ConcurrencyLimitConfig::default().with_max(1).with_pending(0);
    layers.concurrency.handle().update(&one).unwrap();
    let both = futures::future::join(call(), call()).await;
    assert!([both.0.code(), both.1.code()].contains(&Code::RATELIMIT_1502), "{both:?}");

    let circuits = CircuitBreakerConfig::default().with_failures(2);
    layers.endpoint_breaker.handle().update(&circuits).unwrap();
    while call().await.code() != Code::CIRCUIT_1401 {}
    assert_eq!(plugins.breakers()[&("tax".into(), "a".to_owned())], CircuitState::Open);

    let health = layers.health.handle();
    health.update(&health.config().with_enabled(true)).unwrap();
    sleep(ms(60_000)).await;
    assert!(world.checks() > 5, "{}", world.checks());
    let found = &plugins.list()["tax"];
    assert_eq!(found.status.as_str(), "unhealthy");
    assert!(found.message.starts_with("Issues detected: a: "), "{}", found.message);
    assert!(found.last_check.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_refuses_and_can_be_switched_on_in_place() {
    let world = World::default();
    let plugins = world.tax(json!({ "rate_limit": { "requests_per_second": 1, "burst_size": 2 } }));
    for n in 0..2 {
        plugins.call("tax", Call::new(n)).await.unwrap();
    }
    let error = plugins.call("tax", Call::new(3)).await.unwrap_err();
    assert_eq!((error.code(), error.guard()), (Code::RATELIMIT_1501, Some("tax")));
    assert!(error.retry_after().is_some_and(|wait| wait <= ms(1_000)));

    let off =
        json!({ "rate_limit": { "enabled": false, "requests_per_second": 1, "burst_size": 1 } });
    let plugins = world.tax(off);
    for n in 0..100 {
        plugins.call("tax", Call::new(n)).await.unwrap();
    }
    let limit = plugins.layers("tax").unwrap().rate_limit;
    let mut on = RateLimitConfig::default();
    (on.requests_per_second, on.burst) = (0.1, 1);
    limit.handle().update(&on).unwrap();
    plugins.call("tax", Call::new(1)).await.unwrap();
    assert!(plugins.call("tax", Call::new(1)).await.unwrap_err().is_refused());
}

#[tokio::test(start_paused = true)]
async fn calls_at_once_are_limited_for_a_plugin_and_for_each_endpoint() {
    let world = World::default();
    world.slow("a", ms(100));
    let burst = async |sections| {
        let plugins = world.tax(sections);
        let calls = (0..6).map(|n| plugins.call("tax", Call::new(n)));
        let all = futures::future::join_all(calls).await;
        let refused = all.iter().filter_map(|reply| reply.as_ref().err());
        refused.map(|error| error.code()).collect::<Vec<_>>()
    };
    assert_eq!(burst(json!({})).await, []);
    assert_eq!(burst(json!({ "concurrency": { "max": 4 } })).await, [Code::RATELIMIT_1502; 2]);
    assert_eq!(burst(json!({ "concurrency": { "enabled": false, "max": 4 } })).await, []);
    assert_eq!(burst(json!({ "concurrency": { "max": 2, "wait": "1s" } })).await, []);
    let few = json!({ "concurrency": { "max": 2, "wait": "1s", "pending": 1 } });
    assert_eq!(burst(few).await.len(), 3);
    // Below the balancer calls wait for a place, or for another endpoint.
    let start = Instant::now();
    assert_eq!(burst(json!({ "concurrency": { "per_endpoint": 2 } })).await, []);
    assert!(start.elapsed() >= ms(300));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_for_calls_without_a_deadline_and_zero_is_none() {
    let world = World::default();
    let timeout = async |sections, call: Call<u64>| {
        world.tax(sections).call("tax", call).await.unwrap();
        world.seen()[0].timeout
    };
    assert_eq!(timeout(json!({ "timeout": "5s" }), Call::new(1)).await, Some(ms(5_000)));
    let own = Call::new(1).with_timeout(ms(70));
    assert_eq!(timeout(json!({ "timeout": "5s" }), own).await, Some(ms(70)));
    for none in [json!({}), json!({ "timeout": 0 }), json!({ "timeout": "0s" })] {
        assert_eq!(timeout(none, Call::new(1)).await, None);
    }
    let mut config = Config::default().with_plugin(tax(json!({ "timeout": 0 })));
    config.defaults.timeout = ms(1_000);
    world.with(config).call("tax", Call::new(1)).await.unwrap();
    assert_eq!(world.seen()[0].timeout, None, "a plugin opts out of a default");

    world.slow("a", ms(10_000));
    let start = Instant::now();
    let error = world.tax(json!({ "timeout": "2s" })).call("tax", Call::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Timeout, Code::PLUGIN_1204));
    assert_eq!(start.elapsed(), ms(2_000));
}

#[tokio::test(start_paused = true)]
async fn retries_are_those_of_the_section_at_one_endpoint_and_at_several() {
    let world = World::default();
    world.fail("a", true);
    let retry = json!({
        "max_retries": 3, "initial_interval": "100ms", "multiplier": 3.0, "max_interval": "250ms",
        "random_jitter": false, "idempotent": true,
    });
    let plugins = world.tax(json!({ "retry": retry }));
    let start = Instant::now();
    let error = plugins.call("tax", Call::new(1)).await.unwrap_err();
    assert_eq!((error.code(), error.attempts()), (Code::PLUGIN_1203, 4));
    assert_eq!(start.elapsed(), ms(100 + 250 + 250));
    assert_eq!(world.seen().iter().map(|seen| seen.attempt).collect::<Vec<_>>(), [1, 2, 3, 4]);

    // Not twice, unless the plugin or the call says that it may be.
    let plugins = world.tax(json!({ "retry": { "max_retries": 3 } }));
    plugins.call("tax", Call::new(1)).await.unwrap_err();
    assert_eq!(world.seen().len(), 1);
    plugins.call("tax", Call::new(1).idempotent()).await.unwrap_err();
    assert_eq!(world.seen().len(), 4);

    let off = json!({ "retry": { "enabled": false, "max_retries": 3, "idempotent": true } });
    world.tax(off).call("tax", Call::new(1)).await.unwrap_err();
    assert_eq!(world.seen().len(), 1);
    let none = json!({ "retry": { "max_retries": 0, "idempotent": true } });
    world.tax(none).call("tax", Call::new(1)).await.unwrap_err();
    assert_eq!(world.seen().len(), 1);

    let several =
        json!({ "retry": { "max_retries": 1, "idempotent": true }, "endpoints": ["a", "b"] });
    let plugins = world.tax(several);
    for n in 0..20 {
        plugins.call("tax", Call::new(n)).await.unwrap();
    }
    assert!(world.counts()["a"] > 0);

    let limit = json!({ "retry": { "max_retries": 9, "idempotent": true, "overall": "300ms",
        "initial_interval": "200ms", "random_jitter": false } });
    let start = Instant::now();
    world.tax(limit).call("tax", Call::new(1)).await.unwrap_err();
    assert!(start.elapsed() <= ms(300));
    let broke =
        json!({ "retry": { "max_retries": 9, "idempotent": true }, "budget": { "rule": "empty" } });
    world.seen();
    world.tax(broke).call("tax", Call::new(1)).await.unwrap_err();
    assert_eq!(world.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_has_a_time_limit_of_its_own() {
    let world = World::default();
    world.slow("a", ms(10_000));
    let sections = json!({
        "endpoints": ["a", "b"], "failover": { "timeout": "100ms" }, "retry": { "idempotent": true },
        "balance": { "strategy": "round-robin" },
    });
    let plugins = world.tax(sections);
    for n in 0..4 {
        let start = Instant::now();
        plugins.call("tax", Call::new(n)).await.unwrap();
        assert!(start.elapsed() <= ms(200));
    }
    assert!(world.counts()["a"] > 0);
}

#[tokio::test(start_paused = true)]
async fn a_circuit_is_that_of_each_endpoint_or_of_the_plugin() {
    let world = World::default();
    world.fail("a", true);
    let sections = |scope: &str| {
        json!({
            "endpoints": ["a", "b"], "balance": { "strategy": "round-robin" },
            "retry": { "max_retries": 2, "idempotent": true },
            "circuit_breaker": { "failure_threshold": 3, "failure_ratio": null, "scope": scope },
        })
    };
    let plugins = world.tax(sections("endpoint"));
    for n in 0..30 {
        plugins.call("tax", Call::new(n)).await.unwrap();
    }
    let circuit = |key: &str| ("tax".into(), key.to_owned());
    assert_eq!(plugins.breakers()[&circuit("a")], CircuitState::Open);
    assert_eq!(plugins.breakers()[&circuit("b")], CircuitState::Closed);
    assert_eq!(world.counts()["a"], 3);

    // One verdict for each call, whatever its attempts: none has failed.
    let plugins = world.tax(sections("upstream"));
    for n in 0..30 {
        plugins.call("tax", Call::new(n)).await.unwrap();
    }
    assert_eq!(plugins.breakers(), [(circuit(""), CircuitState::Closed)].into());
    world.fail("b", true);
    for n in 0..3 {
        plugins.call("tax", Call::new(n)).await.unwrap_err();
    }
    assert_eq!(plugins.breakers()[&circuit("")], CircuitState::Open);
    world.seen();
    let error = plugins.call("tax", Call::new(1)).await.unwrap_err();
    assert_eq!((error.code(), world.seen().len()), (Code::CIRCUIT_1401, 0));

    let off = json!({ "circuit_breaker": { "enabled": false, "failure_threshold": 1 } });
    let plugins = world.tax(off);
    for n in 0..50 {
        plugins.call("tax", Call::new(n)).await.unwrap_err();
    }
    assert_eq!(world.seen().len(), 50);
    plugins.layers("tax").unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_strategy_chooses_and_weights_are_those_of_the_section() {
    use tower_upstream::config::StrategyName;

    let world = World::default();
    for strategy in StrategyName::ALL {
        let balance = json!({ "strategy": strategy });
        let plugins = world.tax(json!({ "endpoints": ["a", "b", "c"], "balance": balance }));
        for n in 0..30 {
            plugins.call("tax", Call::new(n)).await.unwrap();
        }
        assert_eq!(world.counts().values().sum::<usize>(), 30, "{strategy}");
    }
    let sections = json!({
        "endpoints": [{ "address": "a", "weight": 1 }, { "address": "b:1", "id": "b" }],
        "balance": { "strategy": "weighted-round-robin", "weights": { "b": 3 } },
    });
    let plugins = world.tax(sections);
    for n in 0..40 {
        plugins.call("tax", Call::new(n)).await.unwrap();
    }
    assert_eq!(world.counts(), [("a".into(), 10), ("b".into(), 30)].into());
    let sections = json!({ "endpoints": [{ "address": "a", "tier": 1 }, "b"] });
    let plugins = world.tax(sections);
    for n in 0..10 {
        plugins.call("tax", Call::new(n)).await.unwrap();
    }
    assert_eq!(world.counts(), [("b".into(), 10)].into());
}

#[tokio::test(start_paused = true)]
async fn a_preset_of_go_gives_a_call_30_seconds_and_three_retries() {
    let world = World::default();
    world.fail("a", true);
    let plugins = world.with(Config::go().with_plugin(tax(json!({}))));
    plugins.call("tax", Call::new(1).idempotent()).await.unwrap_err();
    let seen = world.seen();
    assert_eq!((seen.len(), seen[0].timeout), (4, Some(ms(30_000))));
    let plugins = world.with(Config::default().with_plugin(tax(json!({}))));
    plugins.call("tax", Call::new(1).idempotent()).await.unwrap_err();
    assert_eq!((world.seen().len(), world.seen().len()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn credentials_go_with_each_call_and_wrong_ones_are_a_mistake() {
    let world = World::default();
    let wrong = Config::default().with_plugin(tax(json!({ "auth": { "method": "bearer" } })));
    let error = world.plugins().apply(wrong).unwrap_err();
    assert_eq!(error.code(), Code::AUTH_1102);
    sleep(ms(1)).await;
}

/// The endpoints that 30 calls with this header went to.
async fn places(plugins: &Plugins<u64, String>, world: &World, header: &str, value: &str) -> usize {
    world.counts();
    for n in 0..30 {
        plugins.call("tax", Call::new(n).with_header(header, value)).await.unwrap();
    }
    world.counts().len()
}

#[tokio::test(start_paused = true)]
async fn calls_with_one_key_go_to_one_endpoint_by_every_scheme_and_by_sessions() {
    let world = World::default();
    let schemes =
        ["maglev", "ring", "libketama", "libmemcached", "nginx", "skipper", "rendezvous", "modulo"];
    let by = |scheme| {
        json!({ "strategy": "consistent-hash", "hash": {
            "scheme": scheme, "key": { "header": "X-User" }, "load_factor": 0.0,
        } })
    };
    let session = json!({ "sticky": { "key": { "header": "X-User" } } });
    let none = json!({ "sticky": { "enabled": false, "key": { "header": "X-User" } } });
    let sections = schemes.map(|scheme| (by(scheme), true)).into_iter();
    for (balance, stays) in sections.chain([(session, true), (none, false)]) {
        let endpoints = ["a:1", "b:1", "c:1", "d:1"];
        let plugins = world.tax(json!({ "endpoints": endpoints, "balance": balance }));
        let mut seen = 0;
        for user in ["ann", "bob", "cid"] {
            let count = places(&plugins, &world, "x-user", user).await;
            assert_eq!(count == 1, stays, "{balance}: {count}");
            seen += count;
        }
        assert!(seen >= 3);
        assert!(places(&plugins, &world, "x-other", "ann").await > 1, "{balance}: no key");
    }
}

#[tokio::test(start_paused = true)]
async fn names_of_go_choose_by_the_address_of_a_client_and_by_its_session() {
    let world = World::default();
    let endpoints = ["a:1", "b:1", "c:1", "d:1"];
    let balance = json!({ "strategy": "ip_hash", "hash": { "load_factor": 0 } });
    let plugins = world.tax(json!({ "endpoints": endpoints, "balance": balance }));
    assert_eq!(places(&plugins, &world, "X-Forwarded-For", "10.1.2.3").await, 1);
    let mut calls = Vec::new();
    for proxies in ["", ", 10.0.0.1", " , 10.0.0.2, 10.0.0.3"] {
        let value = format!("10.1.2.3{proxies}");
        let call = Call::new(1).with_header("x-forwarded-for", value);
        plugins.call("tax", call).await.unwrap();
        calls.extend(world.counts().into_keys());
    }
    calls.dedup();
    assert_eq!(calls.len(), 1, "of what proxies add, nothing counts: {calls:?}");

    let balance = json!({ "strategy": "random", "sticky_session": true, "session_timeout": "1m" });
    let plugins = world.tax(json!({ "endpoints": endpoints, "balance": balance }));
    assert_eq!(places(&plugins, &world, "X-Session-ID", "s-1").await, 1);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..30 {
        let call = Call::new(1).with_metadata("session_id", "s-1");
        plugins.call("tax", call).await.unwrap();
        seen.extend(world.counts().into_keys());
        tokio::time::advance(std::time::Duration::from_secs(61)).await;
    }
    assert!(seen.len() > 1, "a session ends");
}

#[tokio::test(start_paused = true)]
async fn an_empty_key_is_none() {
    let world = World::default();
    let endpoints = ["a:1", "b:1", "c:1", "d:1"];
    for balance in [
        json!({ "strategy": "consistent-hash", "hash": { "load_factor": 0 } }),
        json!({ "strategy": "ip_hash", "hash": { "load_factor": 0 } }),
        json!({ "sticky_session": true }),
    ] {
        let plugins = world.tax(json!({ "endpoints": endpoints, "balance": balance }));
        for header in ["X-Session-ID", "X-Forwarded-For"] {
            assert!(places(&plugins, &world, header, "").await > 1, "{balance}");
        }
        assert!(places(&plugins, &world, "X-Forwarded-For", " , 10.0.0.1").await > 1, "{balance}");
    }
    // Then the other place of the key counts.
    let balance = json!({ "sticky_session": true });
    let plugins = world.tax(json!({ "endpoints": endpoints, "balance": balance }));
    for n in 0..30 {
        let call = Call::new(n).with_header("X-Session-ID", "").with_metadata("session_id", "s-1");
        plugins.call("tax", call).await.unwrap();
    }
    assert_eq!(world.counts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn settings_of_the_failover_manager_of_go_keep_a_session_at_one_endpoint() {
    let world = World::default();
    let plugins = |balancer: serde_json::Value| {
        let settings = json!({ "strategy": "round_robin", "load_balancer": balancer });
        let config = Config::from_failover(&settings).unwrap();
        let endpoints = json!({ "endpoints": ["a:1", "b:1", "c:1", "d:1"] });
        world.with(config.with_plugin(tax(endpoints)))
    };
    let session = async |plugins: &_| places(plugins, &world, "X-Session-ID", "s-1").await;
    let minute = json!({ "sticky_session": true, "session_timeout": "1m" });
    assert_eq!(session(&plugins(minute.clone())).await, 1);
    assert_eq!(session(&plugins(json!({ "sticky_session": false }))).await, 4);
    // The names of its documentation.
    let documented = json!({ "Algorithm": "WeightedRoundRobin", "Sticky": true });
    assert_eq!(session(&plugins(documented)).await, 1);
    let documented = json!({ "Algorithm": "WeightedRoundRobin", "Sticky": false });
    assert_eq!(session(&plugins(documented)).await, 4);
    assert_eq!(session(&plugins(json!({ "session_timeout": "1m" }))).await, 4);
    for (algorithm, header) in [
        ("consistent-hash", "X-Session-ID"),
        ("consistent_hash", "X-Session-ID"),
        ("ip_hash", "X-Forwarded-For"),
        ("IPHash", "X-Forwarded-For"),
    ] {
        let plugins = plugins(json!({ "algorithm": algorithm }));
        assert_eq!(places(&plugins, &world, header, "10.1.2.3").await, 1, "{algorithm}");
    }
    // Without a call for a minute, it is over, and the next one is in turn.
    for (after, ended) in [(59, false), (61, true)] {
        let plugins = plugins(minute.clone());
        for _ in 0..8 {
            let call = Call::new(1).with_header("X-Session-ID", "s-1");
            plugins.call("tax", call).await.unwrap();
            tokio::time::advance(std::time::Duration::from_secs(after)).await;
        }
        assert_eq!(world.counts().len() > 1, ended, "{after}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_are_explained_if_a_section_says_so() {
    let world = World::default();
    for (balance, is_explained) in [(json!({ "explain": 1 }), true), (json!({}), false)] {
        let plugins = world.tax(json!({ "endpoints": ["a:1", "b:1"], "balance": balance }));
        let reply = plugins.call("tax", Call::new(1)).await.unwrap();
        let decision = reply.decision();
        assert_eq!(decision.is_some(), is_explained);
        assert!(decision.is_none_or(|of| of.strategy() == "LeastRequest" && of.members() == 2));
    }
}
