//! The least and the greatest duration of a key, and how a schema says so.

use std::time::Duration;

use serde_json::{Value, json};

use super::range::{Number, Range, turn};
use crate::duration::go_duration;

/// The longest that a duration may be, in nanoseconds: what Go has.
const MAX: u64 = i64::MAX as u64;

/// The units of a text, with their nanoseconds.
const UNITS: [(&str, u64); 6] = [
    ("ns", 1),
    ("(?:us|µs|μs)", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The range of a duration, in nanoseconds.
pub(super) fn durations(path: &str, sections: &Value) -> Range<u64> {
    let second = 1_000_000_000;
    let tried = [second, second / 10, second / 1_000, 10 * second, 60 * second, 3_600 * second];
    let Some((number, good)) = Number::new(path, sections, &tried) else { return Range::default() };
    // As texts: of numbers, the least are those of no key.
    let fits = |value: u64| number.fits(go_duration(Duration::from_nanos(value)).into());
    Range {
        min: (!fits(0)).then(|| turn(0, good, &fits)),
        max: (!fits(MAX)).then(|| turn(MAX, good, &fits)),
        ..Range::default()
    }
}

/// Marks what is out of the range: whole nanoseconds, and texts of one number and its unit.
pub(super) fn limited(mut schema: Value, range: Range<u64>) -> Value {
    let mut wrong = Vec::new();
    for (unit, nanos) in UNITS {
        // The greatest that is too little, and the least that is too much.
        if let Some(least) = range.min.and_then(|min| (min.div_ceil(nanos)).checked_sub(1)) {
            wrong.push(format!("(?:{}){unit}", up_to(least)));
        }
        if let Some(most) = range.max {
            wrong.push(format!("(?:{}){unit}", from(most / nanos + 1)));
        }
    }
    for (name, end) in [("minimum", range.min), ("maximum", range.max)] {
        if let Some(end) = end {
            schema[name] = end.into();
        }
    }
    if range.min.is_some_and(|min| min > 0) {
        wrong.push("0".to_owned());
    }
    if !wrong.is_empty() {
        let pattern = format!("^\\+?0*(?:{})$", wrong.join("|"));
        schema["not"] = json!({ "type": "string", "pattern": pattern });
    }
    schema
}

/// A pattern of the whole numbers up to `most`, without zeros before them.
fn up_to(most: u64) -> String {
    let digits = most.to_string();
    if digits.bytes().all(|digit| digit == b'9') {
        return format!("[0-9]{{0,{}}}", digits.len());
    }
    // Shorter ones, and none at all, which zeros stand for.
    let mut ways = vec![format!("[0-9]{{0,{}}}", digits.len() - 1)];
    for (at, digit) in digits.bytes().enumerate() {
        let (before, rest) = (&digits[..at], digits.len() - at - 1);
        let least = if at == 0 { b'1' } else { b'0' };
        if digit > least {
            ways.push(format!("{before}{}{}", range(least, digit - 1), any(rest)));
        }
    }
    ways.push(digits);
    ways.join("|")
}

/// A pattern of the whole numbers from `least`, without zeros before them.
fn from(least: u64) -> String {
    let digits = least.to_string();
    if digits.trim_end_matches('0') == "1" {
        return format!("[1-9][0-9]{{{},}}", digits.len() - 1);
    }
    let mut ways = vec![format!("[1-9][0-9]{{{},}}", digits.len())];
    for (at, digit) in digits.bytes().enumerate() {
        let (before, rest) = (&digits[..at], digits.len() - at - 1);
        if digit < b'9' {
            ways.push(format!("{before}{}{}", range(digit + 1, b'9'), any(rest)));
        }
    }
    ways.push(digits);
    ways.join("|")
}

fn range(first: u8, last: u8) -> String {
    let (first, last) = (char::from(first), char::from(last));
    if first == last { first.to_string() } else { format!("[{first}-{last}]") }
}

fn any(digits: usize) -> String {
    match digits {
        0 => String::new(),
        1 => "[0-9]".to_owned(),
        digits => format!("[0-9]{{{digits}}}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duration::parse_go_duration;

    /// Whether the schema of a range marks a text.
    fn marks(range: Range<u64>, text: &str) -> bool {
        let schema = limited(json!({}), range);
        let pattern = schema["not"]["pattern"].as_str().unwrap();
        let validator = jsonschema::validator_for(&json!({ "pattern": pattern })).unwrap();
        validator.is_valid(&json!(text))
    }

    #[test]
    fn a_text_is_marked_if_its_duration_is_out_of_the_range() {
        let (min, max) = (Duration::from_millis(1), Duration::from_secs(86_400));
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap();
        let range = Range { min: Some(nanos(min)), max: Some(nanos(max)), ..Range::default() };
        for number in [
            0, 1, 2, 9, 10, 23, 24, 25, 999, 1_000, 1_440, 1_441, 86_399, 86_400, 86_401, 999_999,
            1_000_000,
        ] {
            for unit in ["ns", "us", "µs", "ms", "s", "m", "h"] {
                for zeros in ["", "0", "+00"] {
                    let text = format!("{zeros}{number}{unit}");
                    let is_out = !(min..=max).contains(&parse_go_duration(&text).unwrap());
                    assert_eq!(marks(range, &text), is_out, "{text}");
                }
            }
        }
        assert!(marks(range, "0"));
        // What is not one number is left to reading.
        for text in ["1h30m", "0.5s", "soon"] {
            assert!(!marks(range, text), "{text}");
        }
    }

    #[test]
    fn patterns_are_of_the_numbers_that_they_say() {
        for end in [0_u64, 1, 9, 10, 19, 100, 305, 999, 1_000] {
            let valid = |pattern: String| {
                jsonschema::validator_for(&json!({ "pattern": format!("^(?:{pattern})$") }))
                    .unwrap()
            };
            let (below, above) = (valid(up_to(end)), valid(from(end + 1)));
            for number in 0..1_200_u64 {
                let text = json!(if number == 0 { String::new() } else { number.to_string() });
                assert_eq!(below.is_valid(&text), number <= end, "{number} up to {end}");
                assert_eq!(above.is_valid(&text), number > end, "{number} from {end}");
            }
        }
    }
}
