//! JSON as Go's `encoding/json` writes it, and read as leniently as Go reads it.

use std::{fmt, io};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, MapAccess, Visitor},
};
use serde_json::{ser::Formatter, value::RawValue};

use super::scan::position;

/// Writes `value` as Go does: `<`, `>`, `&`, U+2028 and U+2029 escaped, floats in Go's form, no
/// space and no line end.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = Vec::with_capacity(256);
    write_json(value, &mut text)?;
    Ok(text)
}

/// The same, after what is in `text`.
pub(crate) fn write_json<T: Serialize + ?Sized>(
    value: &T,
    text: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    value.serialize(&mut serde_json::Serializer::with_formatter(text, Go))
}

struct Go;

impl Formatter for Go {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        // Nearly all texts have none of these bytes, the last of which U+2028 and U+2029 begin with.
        if position(fragment.as_bytes(), [b'<', b'>', b'&', 0xe2]).is_none() {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (before, from) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let Some(special) = from.chars().next() else {
                break;
            };
            write!(writer, "\\u{:04x}", u32::from(special))?;
            rest = &from[special.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_f64<W>(&mut self, writer: &mut W, value: f64) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        if is_plain(value, 1e-6, 1e21) {
            write!(writer, "{value}")
        } else {
            write_exponent(writer, &format!("{value:e}"))
        }
    }

    fn write_f32<W>(&mut self, writer: &mut W, value: f32) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        if is_plain(value, 1e-6, 1e21) {
            write!(writer, "{value}")
        } else {
            write_exponent(writer, &format!("{value:e}"))
        }
    }
}

/// Whether Go writes a float without an exponent.
fn is_plain<F: PartialOrd + Default + std::ops::Neg<Output = F> + Copy>(
    value: F,
    least: F,
    most: F,
) -> bool {
    let zero = F::default();
    let size = if value < zero { -value } else { value };
    size == zero || (size >= least && size < most)
}

/// Go writes the sign of every exponent.
fn write_exponent<W: ?Sized + io::Write>(writer: &mut W, text: &str) -> io::Result<()> {
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => {
            write!(writer, "{digits}e+{exponent}")
        }
        _ => writer.write_all(text.as_bytes()),
    }
}

/// The members called `names` of the JSON object that `text` begins with. Names match whatever
/// their case, the last of several wins, others are skipped, and so is what follows the object.
/// `null` is an object without members.
pub(crate) fn members<'a, const N: usize>(
    text: &'a str,
    names: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], serde_json::Error> {
    Members(names).deserialize(&mut serde_json::Deserializer::from_str(text))
}

/// What `raw` holds; the default of the type if it is missing or `null`.
pub(crate) fn value<'a, T>(raw: Option<&'a RawValue>) -> Result<T, serde_json::Error>
where
    T: Deserialize<'a> + Default,
{
    match raw {
        None => Ok(T::default()),
        Some(raw) => Ok(serde_json::from_str::<Option<T>>(raw.get())?.unwrap_or_default()),
    }
}

struct Members<const N: usize>([&'static str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Members<N> {
    type Value = [Option<&'de RawValue>; N];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Members<N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok([None; N])
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(index) = map.next_key_seed(Name(&self.0))? {
            let raw: &RawValue = map.next_value()?;
            if let Some(slot) = index.and_then(|index| found.get_mut(index)) {
                *slot = Some(raw);
            }
        }
        Ok(found)
    }
}

/// Which of the names a key is.
struct Name<'a>(&'a [&'static str]);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| name.eq_ignore_ascii_case(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written<T: Serialize>(value: T) -> String {
        String::from_utf8(to_json(&value).unwrap()).unwrap()
    }

    #[test]
    fn texts_are_escaped_as_go_does() {
        assert_eq!(
            written("<a>&\u{2028}\u{2029}é\n\u{1}"),
            r#""\u003ca\u003e\u0026\u2028\u2029é\n\u0001""#
        );
        let map = std::collections::BTreeMap::from([("<", 1)]);
        assert_eq!(written(map), r#"{"\u003c":1}"#);
    }

    #[test]
    fn floats_are_written_as_go_does() {
        for (value, text) in [
            (1.0, "1"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.5e300, "-1.5e+300"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (9.99e-7, "9.99e-7"),
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            assert_eq!(written(value), text);
        }
        assert_eq!(written(0.1_f32), "0.1");
        assert_eq!(written(1e21_f32), "1e+21");
        assert_eq!(written(f64::NAN), "null");
    }

    #[test]
    fn members_are_found_whatever_their_case_and_the_last_wins() {
        let text = r#" {"A":1,"b":{"a":9},"\u0061":2,"B":null} trailing"#;
        let [a, b, c] = members(text, ["a", "b", "c"]).unwrap();
        assert_eq!(a.map(RawValue::get), Some("2"));
        assert_eq!(value::<u32>(b).unwrap(), 0);
        assert!(c.is_none());
        assert!(members("null", ["a"]).unwrap()[0].is_none());
        for text in ["", "[]", "7", "\"a\"", "{\"a\":}", "{"] {
            assert!(members(text, ["a"]).is_err(), "{text}");
        }
    }

    #[test]
    fn deep_nesting_overflows_no_stack() {
        let deep = format!("{{\"x\":{}1{}}}", "[".repeat(500_000), "]".repeat(500_000));
        assert!(members(&deep, ["a"]).unwrap()[0].is_none());
        assert!(members(&"{\"x\":".repeat(500_000), ["a"]).is_err());
        let [x] = members(&deep, ["x"]).unwrap();
        assert!(value::<serde_json::Value>(x).is_err());
    }
}
