//! `grpc-timeout`: a number of at most eight digits, and a unit.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

const UNITS: [(char, u128); 6] = [
    ('n', 1),
    ('u', 1_000),
    ('m', 1_000_000),
    ('S', 1_000_000_000),
    ('M', 60_000_000_000),
    ('H', 3_600_000_000_000),
];
const MOST: u128 = 99_999_999;

/// How long the caller waits, if it says that in a way that can be read.
pub(crate) fn read(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let (_, nanos) = UNITS.iter().find(|(name, _)| unit.starts_with(*name))?;
    let count: u128 = digits.parse().ok().filter(|_| is_number)?;
    let (seconds, nanos) = (count * nanos / 1_000_000_000, count * nanos % 1_000_000_000);
    Some(Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?))
}

/// Tells how long the caller waits: rounded up, or else the server would be over before the caller is.
pub(crate) fn write(headers: &mut HeaderMap, timeout: Duration) {
    let nanos = timeout.as_nanos().max(1);
    let fits = |&&(_, unit): &&(char, u128)| nanos.div_ceil(unit) <= MOST;
    // Eleven thousand years are for ever.
    let (name, unit) = UNITS.iter().find(fits).unwrap_or(&UNITS[5]);
    let text = format!("{}{name}", nanos.div_ceil(*unit).min(MOST));
    if let Ok(value) = HeaderValue::try_from(text) {
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
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(written(timeout), text);
        }
        for (text, timeout) in
            [("1H", seconds(3_600)), ("2M", seconds(120)), ("3S", seconds(3)), ("0m", seconds(0))]
        {
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
