//! Moments of the calendar, as RFC 3339 writes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: i64 = 86_400;

/// `2026-01-31T08:30:00.25Z`: up to nine digits, trailing zeros cut. `None` is Go's zero time.
pub(crate) fn rfc3339(time: Option<SystemTime>) -> String {
    let (seconds, nanos) = time.map_or((ZERO, 0), since_1970);
    let (days, of_day) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (year, month, day) = date_of(days);
    let mut text = format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60
    );
    if nanos > 0 {
        let fraction = format!(".{nanos:09}");
        text.push_str(fraction.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// Seconds from 1970 to the zero time of Go, the first of January of the year 1.
const ZERO: i64 = -62_135_596_800;

/// The moment in an RFC 3339 text, as seconds and nanoseconds since 1970.
pub(crate) fn parse_rfc3339(text: &str) -> Option<(i64, u32)> {
    let (date, rest) = text.split_at_checked(10)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = rest.split_at_checked(8)?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let (nanos, zone) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            let digits: String = rest[..end].chars().chain("000000000".chars()).take(9).collect();
            (digits.parse().ok().filter(|_| end > 0)?, &rest[end..])
        }
    };
    let offset = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        ("+", zone) => offset(zone)?,
        ("-", zone) => -offset(zone)?,
        _ => return None,
    };
    let days = days_to(year, month, day)?;
    // A leap second is the second after.
    let in_day = hour < 24 && minute < 60 && second <= 60;
    in_day.then(|| (days * DAY + hour * 3_600 + minute * 60 + second - offset, nanos))
}

fn offset(zone: &str) -> Option<i64> {
    let [hours, minutes] = numbers(zone, ':', [2, 2])?;
    (hours < 24 && minutes < 60).then_some(hours * 3_600 + minutes * 60)
}

/// The moment as the platform keeps it; `None` for Go's zero time, and where it cannot be kept.
pub(crate) fn system_time((seconds, nanos): (i64, u32)) -> Option<SystemTime> {
    if (seconds, nanos) == (ZERO, 0) {
        return None;
    }
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let whole = if seconds < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    };
    whole?.checked_add(Duration::from_nanos(nanos.into()))
}

fn since_1970(time: SystemTime) -> (i64, u32) {
    let (seconds, nanos) = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            let seconds = -i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            match before.subsec_nanos() {
                0 => (seconds, 0),
                nanos => (seconds - 1, 1_000_000_000 - nanos),
            }
        }
    };
    // The years that four digits can write.
    let (first, last) = (-62_167_219_200, 253_402_300_799);
    (seconds.clamp(first, last), nanos)
}

/// Numbers of fixed widths, and nothing else.
fn numbers<const N: usize>(text: &str, between: char, widths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(between);
    let mut found = [0; N];
    for (number, width) in found.iter_mut().zip(widths) {
        let part = parts.next()?;
        if part.len() != width || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

/// Days from 1970 to a date. Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn days_to(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// The date that is `days` after the first of January 1970.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments() {
        let time = |seconds, nanos| system_time((seconds, nanos));
        assert_eq!(rfc3339(None), "0001-01-01T00:00:00Z");
        assert_eq!(rfc3339(time(0, 0)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(time(951_782_400, 250_000_000)), "2000-02-29T00:00:00.25Z");
        assert_eq!(rfc3339(time(-1, 0)), "1969-12-31T23:59:59Z");
        assert_eq!(parse_rfc3339("0001-01-01T00:00:00Z").map(system_time), Some(None));
        assert_eq!(
            parse_rfc3339("2025-09-20T15:30:00.5+02:00"),
            Some((1_758_375_000, 500_000_000))
        );
        assert_eq!(parse_rfc3339("2016-12-31T23:59:60Z"), parse_rfc3339("2017-01-01T00:00:00Z"));
    }

    #[test]
    fn nonsense_is_no_moment() {
        for text in [
            "",
            "2025-02-29T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-01-01T24:00:00Z",
            "2025-01-01T00:00:00",
            "2025-01-01T00:00:00.Z",
            "2025-01-01T00:00:00+1:00",
            "2025-01-01T00:00:00Zx",
            "２025-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(seconds in -62_135_596_799_i64..253_402_300_799, nanos in 0_u32..1_000_000_000) {
            let text = rfc3339(system_time((seconds, nanos)));
            prop_assert_eq!(parse_rfc3339(&text), Some((seconds, nanos)), "{}", text);
        }

        #[test]
        fn no_text_panics(text in "[-0-9T:.Z+]{0,40}|\\PC{0,30}") {
            let _ = parse_rfc3339(&text);
        }
    }
}
