//! Headers that more than one part reads or writes.

use std::time::{Duration, SystemTime};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, DATE, RETRY_AFTER},
};

use super::{rate_limit, rpc_status};

pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(crate) const GRPC_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// No endpoint is left alone for longer than this because it asked for it.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// How long the sender of a 429 or 503 asks to be left alone, at most a day: `Retry-After`, or the
/// reset of a `RateLimit` with nothing remaining. With any other status they mean nothing.
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

/// Seconds, or a date, which is one of the sender's clock where it tells that.
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

/// What a gRPC server says about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushback {
    /// `grpc-retry-pushback-ms`: try again after this.
    After(Duration),
    /// The same, but do not try again: it is below zero, or nothing that can be read (gRFC A6), or there are several.
    Never,
    /// `RetryInfo` in the details: wait for so long, if the call may be tried again at all.
    Advice(Duration),
}

impl Pushback {
    /// How long to wait, if it says that.
    pub(crate) fn wait(self) -> Option<Duration> {
        match self {
            Self::After(wait) | Self::Advice(wait) => Some(wait),
            Self::Never => None,
        }
    }
}

/// Bytes in metadata of gRPC, with padding or without.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The wish of a gRPC server, at most a day.
pub(crate) fn pushback(headers: &HeaderMap) -> Option<Pushback> {
    let mut values = headers.get_all(GRPC_PUSHBACK).iter();
    let Some(value) = values.next() else {
        let details = BASE64.decode(headers.get("grpc-status-details-bin")?).ok()?;
        return retry_info(&details);
    };
    // Several are one list, which is no number.
    let value = Some(value).filter(|_| values.next().is_none());
    let text = value.and_then(|value| value.to_str().ok());
    let millis = text.and_then(|text| text.trim().parse::<u32>().ok());
    Some(match millis {
        Some(millis) => Pushback::After(Duration::from_millis(millis.into()).min(MAX_RETRY_AFTER)),
        None => Pushback::Never,
    })
}

/// The wish in the details of a status.
pub(crate) fn retry_info(details: &[u8]) -> Option<Pushback> {
    Some(Pushback::Advice(rpc_status::retry_delay(details)?.min(MAX_RETRY_AFTER)))
}

/// A `grpc-retry-pushback-ms`, rounded up.
pub(crate) fn pushback_value(wait: Duration) -> HeaderValue {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    HeaderValue::from(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// The status of a gRPC answer that has it in its head. `None`: it is not gRPC, or goes on. What
/// cannot be read is `UNKNOWN`, 2.
pub(crate) fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    if is_grpc(headers) { grpc_trailer(headers) } else { None }
}

/// Whether this is the head of a gRPC answer: not `application/grpc-web`, whose status is in the
/// body.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// The status in the trailers of a gRPC answer.
pub(crate) fn grpc_trailer(trailers: &HeaderMap) -> Option<u32> {
    let status = trailers.get(GRPC_STATUS)?;
    Some(status.to_str().ok().and_then(|status| status.parse().ok()).unwrap_or(2))
}

/// A `Retry-After` of whole seconds, rounded up: a caller that comes back early is refused again.
pub(crate) fn retry_after_value(wait: Duration) -> HeaderValue {
    let up = u64::from(wait.subsec_nanos() > 0);
    HeaderValue::from(wait.as_secs().saturating_add(up))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{parse_rfc3339, system_time};
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
                    let wait = found.and_then(Pushback::wait).map(|wait| wait.min(cap));
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
    fn details_of_a_status_advise_where_nothing_pushes_back() {
        let wait = Duration::from_millis(250);
        let details = BASE64.encode(rpc_status::with_retry_info(14, "", wait));
        let found = |pushback, details: &str| {
            let pushback = ("grpc-retry-pushback-ms", pushback);
            super::pushback(&headers(&[pushback, ("grpc-status-details-bin", Some(details))]))
        };
        assert_eq!(found(None, &details), Some(Pushback::Advice(wait)));
        let padded = format!("{details}{}", "=".repeat((4 - details.len() % 4) % 4));
        assert_eq!(found(None, &padded), Some(Pushback::Advice(wait)));
        assert_eq!(found(Some("7"), &details), Some(Pushback::After(Duration::from_millis(7))));
        assert_eq!((found(Some("-1"), &details), found(None, "?")), (Some(Pushback::Never), None));
    }

    #[test]
    fn of_several_that_push_back_none_says_when_to_come() {
        let twice = |one: &str, other: &str| {
            let mut headers = HeaderMap::new();
            [one, other].into_iter().for_each(|value| {
                headers.append(GRPC_PUSHBACK, HeaderValue::from_str(value).unwrap());
            });
            pushback(&headers)
        };
        for (one, other) in [("5", "5"), ("5", "-1"), ("-1", "5"), ("", "5")] {
            assert_eq!(twice(one, other), Some(Pushback::Never), "{one}, {other}");
        }
        let joined = headers(&[("grpc-retry-pushback-ms", Some("5, 5"))]);
        assert_eq!(pushback(&joined), Some(Pushback::Never), "as a proxy may write it");
    }

    #[test]
    fn a_status_of_grpc_is_only_read_of_grpc() {
        let status = |kind, status| {
            grpc_status(&headers(&[("content-type", Some(kind)), ("grpc-status", status)]))
        };
        assert_eq!(status("application/grpc", Some("14")), Some(14));
        assert_eq!(status("application/grpc+proto", Some("0")), Some(0));
        assert_eq!(status("application/grpc", Some("soon")), Some(2));
        assert_eq!(status("application/grpc", None), None);
        for kind in ["application/grpc-web", "application/json"] {
            assert_eq!(status(kind, Some("14")), None, "{kind}");
        }
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
