//! Lists of named items with parameters, as structured fields (RFC 9651) have them.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::{LIMIT, POLICY};

/// More items than this are not looked at: no server has so many policies.
const MAX_ITEMS: usize = 32;

/// How long until there is quota again, where a policy says that there is none left: the longest
/// of their resets, or, without one, of their windows.
pub(crate) fn exhausted_for(headers: &HeaderMap) -> Option<Duration> {
    let limits = all(headers, &LIMIT);
    let spent: Vec<&Item> = limits.iter().filter(|item| item.remaining() == Some(0)).collect();
    if spent.is_empty() {
        return None;
    }
    let policies = all(headers, &POLICY);
    let window = |name: &str| policies.iter().find(|item| item.name == name)?.window();
    spent
        .into_iter()
        .filter_map(|item| item.reset().or_else(|| window(&item.name)))
        .max()
        .map(Duration::from_secs)
}

/// The items of all fields of that name. A malformed field is as if it were not there.
fn all(headers: &HeaderMap, name: &HeaderName) -> Vec<Item> {
    let fields = headers.get_all(name).iter().filter_map(|field| field.to_str().ok());
    fields.filter_map(parse).flatten().take(MAX_ITEMS).collect()
}

#[derive(Debug, PartialEq)]
struct Item {
    name: String,
    /// The integers among its parameters.
    numbers: Vec<(String, u64)>,
}

impl Item {
    /// Calls left.
    fn remaining(&self) -> Option<u64> {
        self.number(&["r"])
    }

    /// Seconds until the quota is whole again. `w` is how an older draft wrote it.
    fn reset(&self) -> Option<u64> {
        self.number(&["t", "w"])
    }

    /// The length of a policy's window in seconds.
    fn window(&self) -> Option<u64> {
        self.number(&["w"])
    }

    fn number(&self, keys: &[&str]) -> Option<u64> {
        let find = |key: &&str| self.numbers.iter().find(|(name, _)| name == key);
        keys.iter().find_map(find).map(|(_, number)| *number)
    }
}

/// A list of items, with bare or quoted names. `None` if anything in it is malformed, or a number
/// that matters is none.
fn parse(text: &str) -> Option<Vec<Item>> {
    let mut items = Vec::new();
    let mut rest = text.trim_matches(' ');
    while !rest.is_empty() {
        let (name, mut after) = value(rest)?;
        let Value::Name(name) = name else { return None };
        let mut item = Item { name, numbers: Vec::new() };
        while let Some(parameter) = after.strip_prefix(';') {
            let parameter = parameter.trim_start_matches(' ');
            let end = parameter.find(|c: char| !is_key(c)).unwrap_or(parameter.len());
            let (key, value_and_rest) = parameter.split_at(end);
            if !key.starts_with(|c: char| c.is_ascii_lowercase() || c == '*') {
                return None;
            }
            let Some(written) = value_and_rest.strip_prefix('=') else {
                after = value_and_rest;
                continue;
            };
            let (written, rest) = value(written)?;
            after = rest;
            match written {
                Value::Number(number) => item.numbers.push((key.to_owned(), number)),
                _ if ["r", "t", "q", "l", "w"].contains(&key) => return None,
                _ => {}
            }
        }
        items.push(item);
        rest = match after.trim_start_matches([' ', '\t']) {
            "" => "",
            after => {
                let next = after.strip_prefix(',')?.trim_start_matches([' ', '\t']);
                // A comma is followed by something.
                (!next.is_empty()).then_some(next)?
            }
        };
    }
    (!items.is_empty()).then_some(items)
}

enum Value {
    Name(String),
    Number(u64),
    Other,
}

/// The bare item that `text` begins with, and what follows it.
fn value(text: &str) -> Option<(Value, &str)> {
    let first = text.chars().next()?;
    let until =
        |is_part: fn(char) -> bool| text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()));
    match first {
        '"' => quoted(&text[1..]),
        '0'..='9' => {
            let (number, rest) = until(|c| c.is_ascii_digit() || c == '.');
            // At most fifteen digits (RFC 9651 §3.3.1), so it fits.
            let whole = number.len() <= 15 && !number.contains('.');
            let value = if whole { Value::Number(number.parse().ok()?) } else { Value::Other };
            (number.len() <= 16).then_some((value, rest))
        }
        '-' => {
            let (number, rest) = until(|c| c.is_ascii_digit() || c == '.' || c == '-');
            (number.len() > 1).then_some((Value::Other, rest))
        }
        ':' => {
            let (bytes, rest) = text[1..].split_once(':')?;
            let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
            bytes.chars().all(is_base64).then_some((Value::Other, rest))
        }
        '?' => {
            let (flag, rest) = text.split_at_checked(2)?;
            matches!(flag, "?0" | "?1").then_some((Value::Other, rest))
        }
        c if c.is_ascii_alphabetic() || c == '*' => {
            let (name, rest) =
                until(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c));
            Some((Value::Name(name.to_owned()), rest))
        }
        _ => None,
    }
}

/// What stands before the closing quote, and what after it.
fn quoted(text: &str) -> Option<(Value, &str)> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((Value::Name(name), &text[at + 1..])),
            '\\' => name.push(chars.next().map(|(_, c)| c).filter(|c| "\"\\".contains(*c))?),
            ' '..='~' => name.push(c),
            _ => return None,
        }
    }
    None
}

fn is_key(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.*".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let text = include_str!("../../../tests/vectors/retry_after_ratelimit_headers.json");
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
                    assert_eq!(item.remaining(), number(&expect["remaining"]), "{case}");
                    assert_eq!(item.reset(), number(&expect["reset_s"]), "{case}");
                    let none_left = item.remaining() == Some(0);
                    let wait = none_left.then(|| Duration::from_secs(item.reset().unwrap()));
                    assert_eq!(exhausted_for(&headers), wait, "{case}");
                }
            } else if case.get("expect").is_some() {
                assert_eq!((limits, exhausted_for(&headers)), (Vec::new(), None), "{case}");
            }
            let policies = all(&headers, &POLICY);
            let quota = |item: &Item| item.number(&["q", "l"]);
            if let Some(expect) = case["expect_policies"].as_array() {
                assert_eq!(policies.len(), expect.len(), "{case}");
                for (item, expect) in policies.iter().zip(expect) {
                    assert_eq!(item.name, expect[0], "{case}");
                    assert_eq!(quota(item), number(&expect[1]), "{case}");
                    assert_eq!(item.window(), number(&expect[2]), "{case}");
                }
            }
            if let Some(rate) = number(&case["expect_rate_cap_per_s"]) {
                // Plenty left for a short time is not taken for a rate, nor for a reason to wait.
                assert_eq!(quota(&policies[0]).unwrap() / policies[0].window().unwrap(), rate);
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

    #[test]
    fn a_field_is_read_whole_or_not_at_all() {
        let names = |text: &str| {
            let items = parse(text)?;
            Some(items.into_iter().map(|item| item.name).collect::<Vec<_>>().join(" "))
        };
        for (text, expect) in [
            (r#""a\"b";r=0;t=5"#, "a\"b"),
            (r#"a;r=1;pk=:aGk=:;qu="requests";x;y=?1;z=-1.5 ,  b;t=1"#, "a b"),
            (" a;  r=0 ", "a"),
        ] {
            assert_eq!(names(text).as_deref(), Some(expect), "{text}");
        }
        for text in [
            "",
            ",",
            "a,",
            "a b",
            "a;",
            "a;r=",
            "a;r=x",
            "a;r=-1",
            "a;r=1.5",
            "a;r=\"1\"",
            "\"a",
            "\"\\a\"",
            "a;R=1",
            "1",
            "a;x=:?:",
            "a;x=?2",
            "a;r=1000000000000000000",
            "limit=100",
        ] {
            assert_eq!(names(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z\";=,:?0-9 .-]{0,40}|\\PC{0,30}") {
            let _ = parse(&text);
        }
    }
}
