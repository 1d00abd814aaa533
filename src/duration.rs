//! Durations as Go writes them: `1m30s` as text, nanoseconds as a number.

use std::time::{Duration, SystemTime};

/// Longest Go duration, 292 years.
const MAX_NANOS: u128 = i64::MAX as u128;

/// A number of nanoseconds below it, a millisecond, is one of another unit.
pub(crate) const MIN_NUMBER: u64 = 1_000_000;

/// `1m30s`, `1.5µs`, `0s`: what Go's `Duration.String` gives. At most 292 years.
pub(crate) fn go_duration(duration: Duration) -> String {
    const SECOND: u64 = 1_000_000_000;
    let nanos = duration.as_nanos().min(MAX_NANOS) as u64;
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => decimal(nanos, 1_000) + "µs",
        1_000_000..SECOND => decimal(nanos, 1_000_000) + "ms",
        _ => {
            let (hours, minutes) = (nanos / SECOND / 3_600, nanos / SECOND / 60 % 60);
            let seconds = decimal(nanos % (60 * SECOND), SECOND);
            match (hours, minutes) {
                (0, 0) => format!("{seconds}s"),
                (0, _) => format!("{minutes}m{seconds}s"),
                _ => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// `nanos / unit` without trailing zeros; `unit` is a power of ten.
fn decimal(nanos: u64, unit: u64) -> String {
    let (whole, rest) = (nanos / unit, nanos % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let digits = unit.ilog10() as usize;
    let fraction = format!("{rest:0digits$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

/// Reads what Go's `ParseDuration` reads, except that a negative duration is `None` too.
pub(crate) fn parse_go_duration(text: &str) -> Option<Duration> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let (negative, mut rest) = match unsigned.strip_prefix('-') {
        Some(rest) if !text.starts_with('+') => (true, rest),
        _ => (false, unsigned),
    };
    let mut nanos = 0_u128;
    if rest.is_empty() {
        return None;
    }
    if rest == "0" {
        rest = "";
    }
    while !rest.is_empty() {
        let (part, after) = leading_part(rest)?;
        nanos = nanos.checked_add(part)?;
        rest = after;
    }
    if nanos > MAX_NANOS || (negative && nanos > 0) {
        return None;
    }
    Some(Duration::from_nanos(nanos as u64))
}

/// The nanoseconds of the number and unit that `text` begins with, and what follows them.
fn leading_part(text: &str) -> Option<(u128, &str)> {
    let is_digit = |c: char| c.is_ascii_digit();
    let (whole, rest) = split_while(text, is_digit);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => split_while(rest, is_digit),
        None => ("", rest),
    };
    let (unit, rest) = split_while(rest, |c| !c.is_ascii_digit() && c != '.');
    let unit: u128 = match unit {
        "ns" => 1,
        // The micro sign, and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = match whole {
        "" => 0,
        whole => u128::from(whole.parse::<u64>().ok()?),
    };
    // Past eighteen digits nothing reaches a nanosecond.
    let (digits, scale) =
        fraction.bytes().take(18).fold((0_u128, 1_u128), |(digits, scale), digit| {
            (digits * 10 + u128::from(digit - b'0'), scale * 10)
        });
    Some((whole * unit + digits * unit / scale, rest))
}

fn split_while(text: &str, wanted: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !wanted(c)).unwrap_or(text.len());
    text.split_at(end)
}

/// Seconds since 1970, 0 for never. For `#[serde(serialize_with)]`.
pub(crate) fn unix_seconds<S: ::serde::Serializer>(
    at: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let since = at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    serializer.serialize_u64(since.map_or(0, |since| since.as_secs()))
}

/// Integer nanoseconds, as in `HealthStatus`. For `#[serde(serialize_with)]`.
pub(crate) fn nanoseconds<S: ::serde::Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(duration.as_nanos().min(MAX_NANOS) as i64)
}

/// Durations in a config: text with units, or integer nanoseconds. For `#[serde(with)]`.
pub(crate) mod serde {
    use std::{fmt, time::Duration};

    use ::serde::{Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::go_duration(*duration))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(Text)
    }

    struct Text;

    impl de::Visitor<'_> for Text {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration such as `1m30s`, or whole nanoseconds, not negative")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            super::parse_go_duration(text)
                .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
        }

        fn visit_u64<E: de::Error>(self, nanos: u64) -> Result<Duration, E> {
            // As long as a text may say.
            if u128::from(nanos) > super::MAX_NANOS {
                return Err(E::invalid_value(de::Unexpected::Unsigned(nanos), &self));
            }
            if (1..super::MIN_NUMBER).contains(&nanos) {
                let unit = if nanos < 1_000 { "s" } else { "ms" };
                return Err(E::custom(format_args!(
                    "a number is nanoseconds, but {nanos} of them are less than a millisecond; did you mean \
                     `{nanos}{unit}`?"
                )));
            }
            Ok(Duration::from_nanos(nanos))
        }

        /// `3e10`, as Go's files may say.
        fn visit_f64<E: de::Error>(self, nanos: f64) -> Result<Duration, E> {
            /// Above, it may be another one.
            const MAX: f64 = 9_007_199_254_740_992.0;
            if nanos.fract() == 0.0 && (0.0..=MAX).contains(&nanos) {
                self.visit_u64(nanos as u64)
            } else {
                Err(E::invalid_value(de::Unexpected::Float(nanos), &self))
            }
        }

        fn visit_i64<E: de::Error>(self, nanos: i64) -> Result<Duration, E> {
            match u64::try_from(nanos) {
                Ok(nanos) => self.visit_u64(nanos),
                Err(_) => Err(E::invalid_value(de::Unexpected::Signed(nanos), &self)),
            }
        }
    }
}

/// [`serde`](self::serde) for a duration that may be missing.
pub(crate) mod option {
    use std::time::Duration;

    use ::serde::{Deserialize, Deserializer, Serializer};

    #[derive(::serde::Deserialize)]
    #[serde(crate = "::serde")]
    struct Written(#[serde(with = "super::serde")] Duration);

    pub(crate) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::serde::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Written>::deserialize(deserializer)?.map(|Written(duration)| duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_written_as_go_does() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (999, "999ns"),
            (1_000, "1µs"),
            (1_500, "1.5µs"),
            (100_000_000, "100ms"),
            (999_999_999, "999.999999ms"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_661_000_000_001, "1h1m1.000000001s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(nanos)), text);
        }
        assert_eq!(go_duration(Duration::MAX), "2562047h47m16.854775807s");
    }

    #[test]
    fn only_durations_are_read_as_such() {
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("+5s", 5_000_000_000),
            ("1h.5m", 3_630_000_000_000),
            ("1.s", 1_000_000_000),
            ("2us3μs4µs", 9_000),
            ("0.0000000000000000000001h", 0),
        ] {
            assert_eq!(parse_go_duration(text), Some(Duration::from_nanos(nanos)), "{text}");
        }
        for text in
            ["", "-", "+", "5", "s", ".s", "1x", "-1s", "+-1s", "300000h1x", "9999999999h", "1 s"]
        {
            assert_eq!(parse_go_duration(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(nanos in 0..=i64::MAX as u64) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_go_duration(&go_duration(duration)), Some(duration));
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.nuµmshx]{0,60}|\\PC{0,20}") {
            let _ = parse_go_duration(&text);
        }
    }
}
