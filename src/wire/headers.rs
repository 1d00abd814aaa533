//! Headers that more than one part reads or writes.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, header::RETRY_AFTER};

/// How long `Retry-After` asks to wait, as seconds or as a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a number holds is for ever, and a bound is put on that elsewhere.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = super::parse_http_date(text)?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// A `Retry-After` of whole seconds, rounded up: who comes back early is refused again.
pub(crate) fn retry_after_value(wait: Duration) -> HeaderValue {
    let up = u64::from(wait.subsec_nanos() > 0);
    HeaderValue::from(wait.as_secs().saturating_add(up))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
        retry_after(&headers)
    }

    #[test]
    fn seconds_dates_and_nonsense() {
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("0"), Some(Duration::ZERO));
        assert_eq!(asked("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert!(
            asked("Fri, 31 Dec 9999 23:59:59 GMT")
                .is_some_and(|wait| wait > Duration::from_secs(1))
        );
        for nonsense in ["", "-1", "1.5", "soon"] {
            assert_eq!(asked(nonsense), None, "{nonsense}");
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
