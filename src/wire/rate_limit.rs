//! The `RateLimit` and `RateLimit-Policy` fields (draft-ietf-httpapi-ratelimit-headers), read where an
//! upstream sends them and written where a client is told.

use std::{fmt::Write, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::structured::{Item, list};

const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// More items than this are not looked at.
const MAX_ITEMS: usize = 32;

// Parameters of the items. Those that an older draft had as well are read, and never written.
/// Calls left.
const REMAINING: &[&str] = &["r"];
/// Seconds until the quota is whole again.
const RESET: &[&str] = &["t", "w"];
/// Calls in each window.
const QUOTA: &[&str] = &["q", "l"];
/// Seconds of a window.
const WINDOW: &[&str] = &["w"];

/// How long until there is quota again, where a policy says that there is none left: the longest
/// of their resets, or, without one, of their windows.
pub(crate) fn exhausted_for(headers: &HeaderMap) -> Option<Duration> {
    let limits = all(headers, &LIMIT);
    let spent: Vec<&Item> =
        limits.iter().filter(|item| item.number(REMAINING) == Some(0)).collect();
    if spent.is_empty() {
        return None;
    }
    let policies = all(headers, &POLICY);
    let window = |name: &str| policies.iter().find(|item| item.name == name)?.number(WINDOW);
    spent
        .into_iter()
        .filter_map(|item| item.number(RESET).or_else(|| window(&item.name)))
        .max()
        .map(Duration::from_secs)
}

/// The items of all fields of that name. A malformed field is as if it were not there.
fn all(headers: &HeaderMap, name: &HeaderName) -> Vec<Item> {
    let integers = [REMAINING, RESET, QUOTA, WINDOW].concat();
    let fields = headers.get_all(name).iter().filter_map(|field| field.to_str().ok());
    fields.filter_map(|field| list(field, &integers)).flatten().take(MAX_ITEMS).collect()
}

/// A quota, and how a client stands with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// Calls in each window.
    pub(crate) quota: u64,
    /// Seconds of a window.
    pub(crate) window: u64,
    /// Calls left.
    pub(crate) remaining: u64,
    /// Seconds until all are back.
    pub(crate) reset: u64,
}

/// Adds both fields for `limits`, of which the second is called `name-2`, and so on. The name is
/// [`plain`](super::plain).
pub(crate) fn write_limits(
    headers: &mut HeaderMap,
    name: &str,
    limits: impl IntoIterator<Item = Limit>,
) {
    let (mut policies, mut standing) = (String::new(), String::new());
    for (index, Limit { quota, window, remaining, reset }) in limits.into_iter().enumerate() {
        let (comma, number) = match index {
            0 => ("", String::new()),
            _ => (", ", format!("-{}", index + 1)),
        };
        // Writing to a string cannot fail.
        let _ = write!(policies, "{comma}\"{name}{number}\";q={quota};w={window}");
        let _ = write!(standing, "{comma}\"{name}{number}\";r={remaining};t={reset}");
    }
    for (field, value) in [(POLICY, policies), (LIMIT, standing)] {
        if let (Ok(value), false) = (HeaderValue::try_from(&value), value.is_empty()) {
            headers.append(field, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::structured::plain, *};
    use proptest::prelude::*;
    use serde_json::Value as Json;

    fn headers(case: &Json) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (key, name) in [("ratelimit", "ratelimit"), ("policy", "ratelimit-policy")] {
            if let Some(text) = case[key].as_str() {
                headers.insert(name, text.parse().unwrap());
            }
        }
        headers
    }

    /// Those of [`headers`](super::super::headers) are run there.
    #[test]
    fn retry_after_ratelimit_headers() {
        let text = include_str!("../../tests/vectors/retry_after_ratelimit_headers.json");
        let vectors: Json = serde_json::from_str(text).unwrap();
        let mut run = 0;
        for case in vectors["cases"].as_array().unwrap() {
            if case["kind"] != "ratelimit" || case.get("expect_wait_s").is_some() {
                continue;
            }
            run += 1;
            let headers = headers(case);
            let number = |value: &Json| value.as_u64();
            let limits = all(&headers, &LIMIT);
            if let Some(expect) = case["expect"].as_array() {
                assert_eq!(limits.len(), expect.len(), "{case}");
                for (item, expect) in limits.iter().zip(expect) {
                    assert_eq!(item.name, expect["policy"], "{case}");
                    assert_eq!(item.number(REMAINING), number(&expect["remaining"]), "{case}");
                    assert_eq!(item.number(RESET), number(&expect["reset_s"]), "{case}");
                    let none_left = item.number(REMAINING) == Some(0);
                    let wait = none_left.then(|| Duration::from_secs(item.number(RESET).unwrap()));
                    assert_eq!(exhausted_for(&headers), wait, "{case}");
                }
            } else if case.get("expect").is_some() {
                assert_eq!((limits, exhausted_for(&headers)), (Vec::new(), None), "{case}");
            }
            let policies = all(&headers, &POLICY);
            if let Some(expect) = case["expect_policies"].as_array() {
                assert_eq!(policies.len(), expect.len(), "{case}");
                for (item, expect) in policies.iter().zip(expect) {
                    assert_eq!(item.name, expect[0], "{case}");
                    assert_eq!(item.number(QUOTA), number(&expect[1]), "{case}");
                    assert_eq!(item.number(WINDOW), number(&expect[2]), "{case}");
                }
            }
            if let Some(rate) = number(&case["expect_rate_cap_per_s"]) {
                // Plenty left for a short time is not taken for a rate, nor for a reason to wait.
                assert_eq!(
                    policies[0].number(QUOTA).unwrap() / policies[0].number(WINDOW).unwrap(),
                    rate
                );
                assert_eq!(exhausted_for(&headers), None);
            }
        }
        assert_eq!(run, 8);
    }

    #[test]
    fn what_is_spent_for_longest_counts_and_a_window_stands_in_for_a_reset() {
        let wait = |limits: &str, policies: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("ratelimit", limits.parse().unwrap());
            headers.insert("ratelimit-policy", policies.parse().unwrap());
            exhausted_for(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("a;r=0;t=5, b;r=0;t=9, c;r=1;t=70", "x"), Some(9));
        assert_eq!(wait("\"a\";r=0", "b;q=1;w=7, \"a\";q=5;w=60"), Some(60));
        assert_eq!(wait("a;r=0", "b;q=1;w=7"), None);
        assert_eq!(wait("a;r=0;w=3", "a;q=1;w=7"), Some(3));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(
            name in "\\PC{0,20}",
            numbers in prop::collection::vec(prop::array::uniform4(0_u64..1_000_000_000_000_000), 0..5),
        ) {
            let limits: Vec<_> = numbers
                .iter()
                .map(|&[quota, window, remaining, reset]| Limit { quota, window, remaining, reset })
                .collect();
            let mut headers = HeaderMap::new();
            write_limits(&mut headers, &plain(&name), limits.iter().copied());
            let (policies, standing) = (all(&headers, &POLICY), all(&headers, &LIMIT));
            prop_assert_eq!((policies.len(), standing.len()), (limits.len(), limits.len()));
            for (index, limit) in limits.iter().enumerate() {
                let (policy, left) = (&policies[index], &standing[index]);
                prop_assert_eq!(&policy.name, &left.name);
                prop_assert_eq!(policy.number(QUOTA), Some(limit.quota));
                prop_assert_eq!(policy.number(WINDOW), Some(limit.window));
                prop_assert_eq!(left.number(REMAINING), Some(limit.remaining));
                prop_assert_eq!(left.number(RESET), Some(limit.reset));
            }
            let spent = limits.iter().filter(|limit| limit.remaining == 0);
            let wait = spent.map(|limit| Duration::from_secs(limit.reset)).max();
            prop_assert_eq!(exhausted_for(&headers), wait);
        }
    }
}
