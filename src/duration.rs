//! Durations in configs: `"1m30s"`, or a whole number of nanoseconds.

use std::time::Duration;

/// Reads `1m30s`, `1.5s`, `250ms`, as Go writes them. No sign; the units are h, m, s, ms, us, µs, ns.
fn parse(text: &str) -> Result<Duration, String> {
    let problem = || format!("`{text}` is not a duration; write it like `1m30s` or `250ms`");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() || text.len() > 64 {
        return Err(problem());
    }
    let mut nanos = 0_u128;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(problem)?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let unit: u128 = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" | "μs" => 1_000,
            "ns" => 1,
            _ => return Err(problem()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || whole.len() > 20 || fraction.len() > 12 {
            return Err(problem());
        }
        let digits = |digits: &str| match digits {
            "" => Ok(0),
            digits => digits.parse::<u128>().map_err(|_| problem()),
        };
        let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
        nanos += digits(whole)? * unit + digits(fraction)? * unit / scale;
        rest = tail;
    }
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| problem())
}

/// For `#[serde(with = ..)]`.
pub(crate) mod serde {
    use std::{fmt, time::Duration};

    use ::serde::{Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(crate::time::nanos(*value))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration like `1m30s`, or a whole number of nanoseconds")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
                super::parse(text).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, nanos: u64) -> Result<Duration, E> {
                Ok(Duration::from_nanos(nanos))
            }

            fn visit_i64<E: de::Error>(self, nanos: i64) -> Result<Duration, E> {
                match u64::try_from(nanos) {
                    Ok(nanos) => Ok(Duration::from_nanos(nanos)),
                    Err(_) => Err(E::custom("a duration cannot be negative")),
                }
            }
        }
        from.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, nanos) in [
            ("1m30s", 90_000_000_000),
            ("1.5s", 1_500_000_000),
            ("250ms", 250_000_000),
            ("1h0m0.5s", 3_600_500_000_000),
            ("10µs", 10_000),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        for text in ["", "5", "s", ".s", "-1s", "1x", "1 s", "99999999999999h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
