//! `Retry-After`, read where an endpoint sends it and written where a client is told.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{DATE, RETRY_AFTER},
};

use super::rate_limit;

/// Longest wait that an endpoint can ask for.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// The wait that the sender of a 429 or 503 asks for, at most a day: `Retry-After`, or the reset of a
/// `RateLimit` with nothing remaining. With any other status they mean nothing.
pub(crate) fn retry_after(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    retry_after_at(status, headers, SystemTime::now(), MAX_RETRY_AFTER)
}

fn retry_after_at(
    status: StatusCode,
    headers: &HeaderMap,
    now: SystemTime,
    cap: Duration,
) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let asked = match headers.get(RETRY_AFTER) {
        Some(value) => delay(value, headers, now),
        None => None,
    };
    Some(asked.or_else(|| rate_limit::exhausted_for(headers))?.min(cap))
}

/// Seconds, or a date, which is one of the sender's clock if it tells that.
fn delay(value: &HeaderValue, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a number holds is for ever.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let sent = headers.get(DATE).and_then(|value| date(value.to_str().ok()?.trim()));
    Some(date(text)?.duration_since(sent.unwrap_or(now)).unwrap_or_default())
}

/// A `Retry-After` of whole seconds, rounded up: a client that comes back early is refused again.
pub(crate) fn retry_after_value(wait: Duration) -> HeaderValue {
    let up = u64::from(wait.subsec_nanos() > 0);
    HeaderValue::from(wait.as_secs().saturating_add(up))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Pushback, parse_rfc3339, pushback, system_time};
    use serde_json::Value;

    fn asked(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
        retry_after(StatusCode::TOO_MANY_REQUESTS, &headers)
    }

    fn headers(pairs: &[(&'static str, Option<&str>)]) -> HeaderMap {
        let given = pairs.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        given.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    /// The items of `RateLimit` fields are run in [`rate_limit`].
    #[test]
    fn retry_after_ratelimit_headers() {
        let text = include_str!("../../tests/vectors/retry_after_ratelimit_headers.json");
        let vectors: Value = serde_json::from_str(text).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        let mut run = 0;
        for case in cases {
            let cap = Duration::from_secs_f64(case["cap_s"].as_f64().unwrap_or(300.0));
            let expect = case["expect_s"].as_f64().map(Duration::from_secs_f64);
            match case["kind"].as_str() {
                Some("retry_after") => {
                    let now = case["now"].as_str().and_then(parse_rfc3339).and_then(system_time);
                    let status = case["status"].as_u64().unwrap() as u16;
                    let found = retry_after_at(
                        StatusCode::from_u16(status).unwrap(),
                        &headers(&[("retry-after", case["value"].as_str())]),
                        now.unwrap_or_else(SystemTime::now),
                        cap,
                    );
                    assert_eq!(found, expect, "{case}");
                }
                Some("grpc_pushback") => {
                    let value = case["value"].as_str();
                    let found = pushback(&headers(&[("grpc-retry-pushback-ms", value)]));
                    let wait = match found {
                        Some(Pushback::After(wait)) => Some(wait.min(cap)),
                        Some(Pushback::Never) | None => None,
                    };
                    assert_eq!(wait, expect, "{case}");
                    let refuses = value.is_some() && expect.is_none();
                    assert_eq!(found == Some(Pushback::Never), refuses, "{case}");
                }
                _ if case.get("expect_wait_s").is_some() => {
                    let headers = headers(&[
                        ("retry-after", case["retry_after"].as_str()),
                        ("date", case["date"].as_str()),
                        ("ratelimit", case["ratelimit"].as_str()),
                    ]);
                    let found = retry_after(StatusCode::TOO_MANY_REQUESTS, &headers);
                    assert_eq!(found.map(|wait| wait.as_secs()), case["expect_wait_s"].as_u64());
                }
                _ => continue,
            }
            run += 1;
        }
        assert_eq!((run, cases.len()), (22, 30));
    }

    #[test]
    fn seconds_dates_and_nonsense() {
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("0"), Some(Duration::ZERO));
        assert_eq!(asked("99999999999999999999999"), Some(MAX_RETRY_AFTER));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("Fri, 31 Dec 9999 23:59:59 GMT"), Some(MAX_RETRY_AFTER));
        for nonsense in ["", "-1", "1.5", "soon"] {
            assert_eq!(asked(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_date_is_one_of_the_senders_clock() {
        let headers = headers(&[
            ("retry-after", Some("Mon, 05 Aug 2019 09:27:05 GMT")),
            ("date", Some("Mon, 05 Aug 2019 09:27:00 GMT")),
            ("ratelimit", Some("default;r=0;t=50")),
        ]);
        let found = retry_after(StatusCode::SERVICE_UNAVAILABLE, &headers);
        assert_eq!(found, Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_spent_quota_stands_in_for_what_is_missing() {
        let headers = headers(&[("ratelimit", Some("default;r=0;t=50"))]);
        let found = |status| retry_after(status, &headers);
        assert_eq!(found(StatusCode::TOO_MANY_REQUESTS), Some(Duration::from_secs(50)));
        assert_eq!(found(StatusCode::OK), None);
    }

    #[test]
    fn a_wait_is_rounded_up() {
        let written = |nanos| retry_after_value(Duration::from_nanos(nanos));
        assert_eq!(written(0), "0");
        assert_eq!(written(1), "1");
        assert_eq!(written(1_000_000_000), "1");
        assert_eq!(written(1_000_000_001), "2");
    }
}
