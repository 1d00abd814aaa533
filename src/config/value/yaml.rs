//! YAML 1.2, as `serde-saphyr` reads it, with the place of each value.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Error, Location, Options, Spanned, options::AliasLimits};

use super::{
    flaw::Flaw,
    source::Source,
    tree::{MAX_DEPTH, MAX_VALUES, Member, Node, Place, Value},
};
use crate::error::Code;

/// No texts of a file are longer in all, in bytes, with those that aliases repeat.
const MAX_BYTES: usize = 16 << 20;

pub(super) fn read(source: &Source) -> Result<Node, Flaw> {
    let read = serde_saphyr::from_str_with_options::<Spanned<Raw>>(source.text(), options());
    read.map(node).map_err(|error| flaw(source, &error))
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_VALUES,
            // A start and an end for each.
            max_events: 2 * MAX_VALUES + 100,
            max_documents: 2,
            max_total_scalar_bytes: MAX_BYTES,
            max_recorded_anchor_bytes: MAX_BYTES,
            // Of a map that is merged into each plugin, there are as many as of those.
            max_aliases: MAX_VALUES,
            max_anchors: MAX_VALUES,
            max_merge_keys: MAX_VALUES,
            enforce_alias_anchor_ratio: false,
        },
        // Told for all of them, with the other mistakes.
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::PassThrough,
        alias_limits: limits(),
        strict_booleans: true,
        // 15 in Go and older YAML, 17 in newer: a mistake where it is a number.
        leading_zero_numbers_as_strings: true,
        // Told for all of them, too.
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::PassThrough,
        // `!vault x` is not `x`.
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn limits() -> AliasLimits {
    serde_saphyr::alias_limits! { max_total_replayed_events: MAX_VALUES }
}

fn flaw(source: &Source, error: &Error) -> Flaw {
    let error = error.without_snippet();
    let place = error.location().map_or(Place::Nowhere, |location| place(&location));
    let said = error.render();
    let what = said.lines().next().unwrap_or_default();
    let mut cause = error;
    while let Error::AliasError { error, .. } = cause {
        cause = &**error;
    }
    let is_bound = matches!(
        cause,
        Error::Budget { .. }
            | Error::AliasReplayLimitExceeded { .. }
            | Error::AliasExpansionLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. }
    );
    match cause {
        // What its scanner says of maps in maps has no name.
        _ if is_bound || what.starts_with("recursion limit") => Flaw::new(
            Code::CONFIG_1706,
            match what.rsplit_once(AT_LINE).and_then(|(_, at)| position(source, at)) {
                Some(at) if place == Place::Nowhere => Place::file(at, at),
                _ => place,
            },
            format!(
                "too much for a config file: more than {MAX_VALUES} values, nested deeper than {MAX_DEPTH} \
                 levels, or aliases that grow"
            ),
        ),
        _ => {
            // The end of the file is where the parser ran out of it.
            let end = source.text().len();
            let is_lost = place == Place::Nowhere;
            let (what, at) = match what.rsplit_once(AT_LINE) {
                // Nothing else is asked for as a text.
                _ if is_no_text(cause) => ("a key must be a text", None),
                // Its name may be all of a secret that begins so.
                _ if is_tagged(cause) => (UNREAD_TAG, None),
                Some((said, at)) => (said, position(source, at).filter(|_| is_lost)),
                _ => (what, None),
            };
            // What is advised is for the programmer.
            let what = match what.split_once("multiple YAML documents") {
                Some(_) => "a second document begins here, but a config is one",
                None => what,
            };
            let what = what.split(". ").next().unwrap_or_default();
            let at = at.unwrap_or(end);
            let place = if is_lost { Place::file(at, at) } else { place };
            let flaw = Flaw::new(Code::CONFIG_1702, place, format!("no YAML: {what}")).syntax();
            if is_lost { flaw.lost() } else { flaw }
        }
    }
}

fn place(location: &Location) -> Place {
    let span = location.span();
    match (span.byte_offset(), span.byte_len()) {
        (Some(start), Some(length)) => {
            Place::file(start as usize, start.saturating_add(length) as usize)
        }
        _ => Place::Nowhere,
    }
}

fn node(raw: Spanned<Raw>) -> Node {
    // What an alias stands for is wrong where it is written, not where it is used.
    Node { place: place(&raw.defined), value: raw.value.0 }
}

fn is_no_text(error: &Error) -> bool {
    match error {
        Error::NullIntoString { .. } => true,
        Error::Unexpected { expected, .. } => *expected == "string scalar",
        _ => false,
    }
}

fn is_tagged(error: &Error) -> bool {
    matches!(
        error,
        Error::UnsupportedTag { .. } | Error::TaggedScalarCannotDeserializeIntoString { .. }
    )
}

/// What is said of a tag of others, or of a type that is none here, such as a date.
const UNREAD_TAG: &str =
    "this tag is not read; leave it out, or put a text that begins with `!` in quotes";

/// What its scanner says before the place, which is not known otherwise.
const AT_LINE: &str = " at line ";

/// The place that is written as `2, column 7`.
fn position(source: &Source, written: &str) -> Option<usize> {
    let (line, column) = written.split_once(", column ")?;
    Some(source.at(line.parse().ok()?, column.parse().ok()?))
}

struct Raw(Value);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values).map(Raw)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(u64::try_from(value).map_or(Value::Signed(value), Value::Unsigned))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Float(value as f64))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Float(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::text(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(raw) = list.next_element()? {
            nodes.push(node(raw));
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Vec::new();
        // A key is the text that stands there, also where a value would be a number.
        while let Some((key, raw)) = map.next_entry::<Spanned<String>, _>()? {
            let key_place = place(&key.defined);
            members.push(Member { key: key.value, key_place, node: node(raw) });
        }
        Ok(Value::Map(members))
    }
}
