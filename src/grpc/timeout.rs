//! `grpc-timeout`: a number of at most eight digits, and a unit.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::time::nanos;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

const UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];
const SECOND: u64 = 1_000_000_000;
const MOST: u64 = 99_999_999;

/// How long the caller waits, if it says that in a way that can be read.
pub(crate) fn read(headers: &HeaderMap) -> Option<Duration> {
    let (unit, digits) = headers.get(GRPC_TIMEOUT)?.as_bytes().split_last()?;
    let (_, nanos) = UNITS.iter().find(|(name, _)| name == unit)?;
    let is_number = (1..=8).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let value = |count, digit: &u8| count * 10 + u64::from(digit - b'0');
    let count = is_number.then(|| digits.iter().fold(0, value))?;
    // Eight digits of hours are more nanoseconds than there are.
    Some(
        Duration::from_secs(*nanos / SECOND * count)
            + Duration::from_nanos(*nanos % SECOND * count),
    )
}

/// Tells how long the caller waits: rounded up, or else the server would be over before the caller is.
pub(crate) fn write(headers: &mut HeaderMap, timeout: Duration) {
    // Six centuries are for ever.
    let nanos = nanos(timeout).max(1);
    let fits = |&&(_, unit): &&(u8, u64)| nanos.div_ceil(unit) <= MOST;
    let (name, unit) = UNITS.iter().find(fits).unwrap_or(&UNITS[5]);
    let (mut text, mut start, mut rest) = ([*name; 9], 8, nanos.div_ceil(*unit).min(MOST));
    while rest > 0 && start > 0 {
        start -= 1;
        text[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    if let Ok(value) = HeaderValue::from_bytes(&text[start..]) {
        headers.insert(GRPC_TIMEOUT, value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, text.parse().unwrap());
        super::read(&headers)
    }

    fn written(timeout: Duration) -> String {
        let mut headers = HeaderMap::new();
        write(&mut headers, timeout);
        headers[GRPC_TIMEOUT].to_str().unwrap().to_owned()
    }

    #[test]
    fn the_finest_unit_that_fits_is_written() {
        let seconds = Duration::from_secs;
        for (timeout, text) in [
            (Duration::ZERO, "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_001), "100001u"),
            (seconds(30), "30000000u"),
            (seconds(3_600), "3600000m"),
            (Duration::MAX, "5124096H"),
        ] {
            assert_eq!(written(timeout), text);
        }
        let most = 99_999_999;
        for (text, timeout) in [
            ("1H", seconds(3_600)),
            ("2M", seconds(120)),
            ("3S", seconds(3)),
            ("0m", seconds(0)),
            ("00000001u", Duration::from_micros(1)),
            ("99999999n", Duration::from_nanos(most)),
            ("99999999u", Duration::from_micros(most)),
            ("99999999m", Duration::from_millis(most)),
            ("99999999S", seconds(most)),
            ("99999999M", seconds(60 * most)),
            ("99999999H", seconds(3_600 * most)),
        ] {
            assert_eq!(read(text), Some(timeout), "{text}");
        }
        for text in ["", "1", "S", "123456789n", "+1S", "1s", "1 S", "-1S", "é", "1é"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_no_less_and_hardly_more(nanos in 1..u64::MAX) {
            let timeout = Duration::from_nanos(nanos);
            let found = read(&written(timeout)).unwrap();
            prop_assert!(found >= timeout && found.as_nanos() - timeout.as_nanos() <= u128::from(nanos / 1_000));
        }
    }
}
