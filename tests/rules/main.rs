//! The published tables of other systems, every case of them, against the public rules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod choosing;
#[cfg(feature = "hash")]
mod hashing;
mod latency;
#[cfg(feature = "hash")]
mod observed;
mod outliers;
mod spreading;
mod theory;

use std::time::Duration;

use serde_json::Value;

/// The cases of a file, checked against the number that it says it has. Lists by topic become one.
fn cases(text: &str) -> Vec<Value> {
    let vectors: Value = serde_json::from_str(text).unwrap();
    let cases: Vec<_> = match &vectors["cases"] {
        Value::Object(topics) => topics.values().flat_map(list).cloned().collect(),
        cases => list(cases).clone(),
    };
    assert_eq!(cases.len() as u64, number(&vectors["case_count"]));
    cases
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn float(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn numbers(value: &Value) -> Vec<u64> {
    list(value).iter().map(number).collect()
}

fn floats(value: &Value) -> Vec<f64> {
    list(value).iter().map(float).collect()
}

fn indices(value: &Value) -> Vec<usize> {
    list(value).iter().map(|value| number(value) as usize).collect()
}

/// How often each of `len` was picked.
fn counts(len: usize, picks: impl IntoIterator<Item = usize>) -> Vec<u64> {
    let mut counts = vec![0; len];
    picks.into_iter().for_each(|index| counts[index] += 1);
    counts
}

fn near(one: f64, other: f64, tolerance: f64) -> bool {
    (one - other).abs() <= tolerance
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
