//! Numbers and bools: what a text may stand for, and what stands for a whole number.

use serde::de::{self, Visitor};

use super::refused::Refused;
use crate::{
    config::value::{Text, Value},
    duration::parse_go_duration,
};

/// What the value of an environment variable stands for where a number or a bool is wanted.
pub(super) fn scalar(text: &Text) -> Option<Value> {
    let text = text.is_loose.then(|| text.text.trim())?;
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    if let Ok(value) = text.parse() {
        Some(Value::Unsigned(value))
    } else if let Ok(value) = text.parse() {
        Some(Value::Signed(value))
    } else if let Some(value) = is_number.then(|| text.parse().ok()).flatten() {
        Some(Value::Float(value)).filter(|_| f64::is_finite(value))
    } else {
        bool_of(text).map(Value::Bool)
    }
}

/// A duration without the end of a line behind it, as the value of a variable often has one.
pub(super) fn duration(text: &Text) -> Option<&str> {
    let text = text.is_loose.then(|| text.text.trim())?;
    parse_go_duration(text).map(|_| text)
}

#[cold]
pub(super) fn not_finite<'t>(value: f64, visitor: &impl Visitor<'t>) -> Refused {
    de::Error::invalid_value(de::Unexpected::Float(value), visitor)
}

/// A fraction that is whole, as Go takes `5.0` and `1e3` for whole numbers. Beyond 2⁵³ it may be another one.
pub(super) fn whole(value: f64) -> Option<Value> {
    const MAX: f64 = 9_007_199_254_740_992.0;
    let is_whole = value.fract() == 0.0 && value.abs() <= MAX;
    let whole =
        if value < 0.0 { Value::Signed(value as i64) } else { Value::Unsigned(value as u64) };
    is_whole.then_some(whole)
}

/// What Go's YAML reads as a bool where a bool is wanted.
pub(super) fn bool_of(text: &str) -> Option<bool> {
    match &*text.to_ascii_lowercase() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}
