//! Lists of structured fields (RFC 9651), as far as fields of this crate need them.

/// Named item of a list, with its parameters.
#[derive(Debug, PartialEq)]
pub(super) struct Item {
    pub(super) name: String,
    /// The integers among its parameters.
    numbers: Vec<(String, u64)>,
}

impl Item {
    /// Returns the integer of the first of `keys` that has one.
    pub(super) fn number(&self, keys: &[&str]) -> Option<u64> {
        let find = |key: &&str| self.numbers.iter().find(|(name, _)| name == key);
        keys.iter().find_map(find).map(|(_, number)| *number)
    }
}

/// Reads a list of items with bare or quoted names. `None` if anything in it is malformed, or a
/// parameter of `integers` is none.
pub(super) fn list(text: &str, integers: &[&str]) -> Option<Vec<Item>> {
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
                _ if integers.contains(&key) => return None,
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

/// Returns the bare item that `text` begins with, and what follows it.
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

/// Returns what stands before the closing quote, and what after it.
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

/// Leaves out what cannot stand in a string without an escape.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_field_is_read_whole_or_not_at_all() {
        let names = |text: &str| {
            let items = list(text, &["r", "t"])?;
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
            let _ = list(&text, &["r"]);
        }
    }
}
