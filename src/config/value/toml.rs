//! TOML, as `toml` reads it, with the place of each value.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    flaw::{Flaw, Flaws},
    source::Source,
    tree::{MAX_DEPTH, MAX_VALUES, Member, Node, Place, Value},
};
use crate::error::Code;

/// The values of a file. All mistakes of its syntax are told at once.
pub(super) fn read(source: &Source) -> Result<Node, Flaws> {
    let (table, errors) = DeTable::parse_recoverable(source.text());
    let mut flaws = Flaws::default();
    flaws.extend(errors.iter().map(|error| {
        let end = source.text().len();
        let place = error.span().map_or(Place::file(end, end), place);
        match error.message() {
            "recursion limit" => Flaw::too_deep(place),
            message => Flaw::new(Code::CONFIG_1702, place, format!("no TOML: {message}")).syntax(),
        }
    }));
    if flaws.is_empty() {
        let at = place(table.span());
        let root = members(table.into_inner(), 0, &mut MAX_VALUES.clone());
        match root {
            Ok(members) => return Ok(Node { place: at, value: Value::Map(members) }),
            Err(flaw) => flaws.push(flaw),
        }
    }
    Err(flaws)
}

fn place(span: Range<usize>) -> Place {
    Place::file(span.start, span.end)
}

fn members(table: DeTable<'_>, depth: usize, left: &mut usize) -> Result<Vec<Member>, Flaw> {
    let members = table.into_iter().map(|(key, value)| {
        let key_place = place(key.span());
        let key = key.into_inner().into_owned();
        Ok(Member { key, key_place, node: node(value, depth + 1, left)? })
    });
    let mut members = members.collect::<Result<Vec<_>, Flaw>>()?;
    members.sort_by(|a, b| a.key_place.cmp(&b.key_place));
    Ok(members)
}

fn node(value: Spanned<DeValue<'_>>, depth: usize, left: &mut usize) -> Result<Node, Flaw> {
    let place = place(value.span());
    if depth > MAX_DEPTH {
        return Err(Flaw::too_deep(place));
    }
    *left = left.checked_sub(1).ok_or_else(|| Flaw::too_many(place.clone()))?;
    let wrong = || Flaw::new(Code::CONFIG_1702, place.clone(), "no TOML: number out of range");
    let value = match value.into_inner() {
        DeValue::String(text) => Value::text(text),
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Datetime(value) => Value::text(value.to_string()),
        DeValue::Integer(number) => {
            let (digits, radix) = (number.as_str(), number.radix());
            match u64::from_str_radix(digits, radix) {
                Ok(value) => Value::Unsigned(value),
                Err(_) => Value::Signed(i64::from_str_radix(digits, radix).map_err(|_| wrong())?),
            }
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().map_err(|_| wrong())?),
        DeValue::Array(list) => {
            let nodes = list.into_iter().map(|value| node(value, depth + 1, left));
            Value::List(nodes.collect::<Result<_, Flaw>>()?)
        }
        DeValue::Table(table) => Value::Map(members(table, depth, left)?),
    };
    Ok(Node { place, value })
}
