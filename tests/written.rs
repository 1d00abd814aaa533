//! What a config says that cannot be read.
#![cfg(all(feature = "serde", feature = "json"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use tower_upstream::{Attempts, CircuitBreakerConfig, limit::ConcurrencyLimitConfig};

fn mistake<T: serde::de::DeserializeOwned>(text: &str) -> String {
    serde_json::from_str::<T>(text).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn a_mistake_says_what_may_stand_there_in_words_of_the_file() {
    let window = r#"{"window": {"calls": 100, "time": "10s"}}"#;
    let window = mistake::<CircuitBreakerConfig>(window);
    assert!(window.starts_with("`window`: more than one key, expected `{\"calls\""), "{window}");
    let hedge = mistake::<Attempts>(r#"{"hedge": 0.95}"#);
    assert!(hedge.contains("expected `{\"after\": \"50ms\"}` or `{\"quantile\""), "{hedge}");
    let limit = mistake::<ConcurrencyLimitConfig>("5");
    assert!(limit.contains("expected an object with settings"), "{limit}");
    for broken in ["{", "{,", "{\"max\": 3,"] {
        let syntax = mistake::<Attempts>(broken);
        assert!(!syntax.is_empty() && !syntax.contains('?'), "{syntax}");
    }
    for good in [r#"{"hedge": null}"#, r#"{"hedge": {"quantile": 0.95}}"#, "{}"] {
        assert_eq!(mistake::<Attempts>(good), "");
    }
}
