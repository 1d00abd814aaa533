//! TOML, as `toml` reads it, with the place of each value.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use toml_parser::lexer::TokenKind;

use super::{
    bounds::Bounds,
    flaw::{Flaw, Flaws},
    source::Source,
    tree::{MAX_DEPTH, MAX_VALUES, Member, Node, Place, Value},
};
use crate::error::Code;

/// More words and signs than the values of a file need. The parser keeps all of them.
const MAX_TOKENS: usize = 8 * MAX_VALUES;

/// In a file of more, only the first mistake of its syntax is told: the parser keeps all of them as well.
const MAX_TOLD: usize = 100_000;

/// The values of a file. All mistakes of its syntax are told at once.
pub(super) fn read(source: &Source) -> Result<Node, Flaws> {
    let parsed = check(source.text()).map(|tokens| match tokens <= MAX_TOLD {
        true => DeTable::parse_recoverable(source.text()),
        false => match DeTable::parse(source.text()) {
            Ok(table) => (table, Vec::new()),
            Err(error) => (Spanned::new(0..0, DeTable::new()), vec![error]),
        },
    });
    let (table, errors) = parsed.map_err(Flaws::from)?;
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

/// Whether it has no more values, and is nested no deeper, than a file may, as far as its words and signs tell
/// without what they mean; then how many those are.
fn check(text: &str) -> Result<usize, Flaw> {
    let mut bounds = Bounds::default();
    // For each list or table that is open, whether it is a list; the innermost last.
    let mut lists = 0_u64;
    let (mut is_start, mut is_header, mut is_next) = (true, false, false);
    let (mut tokens, mut dots) = (0, 0);
    for token in toml_parser::Source::new(text).lex() {
        let (kind, span) = (token.kind(), token.span());
        let place = || Place::file(span.start(), span.end());
        tokens += 1;
        if tokens > MAX_TOKENS {
            let message =
                format!("too much for a config file: more than {MAX_TOKENS} words and signs");
            return Err(Flaw::new(Code::CONFIG_1706, place(), message));
        }
        if matches!(kind, TokenKind::Whitespace | TokenKind::Comment) {
            continue;
        }
        // `[table]`, or a value in a list or after a `=`.
        let is_table = is_start && kind == TokenKind::LeftSquareBracket && bounds.depth() == 0;
        is_header |= is_table;
        let is_end = matches!(kind, TokenKind::RightSquareBracket | TokenKind::Newline);
        if is_table || (is_next && !is_end) {
            bounds.value(place)?;
        }
        is_next &= kind == TokenKind::Newline;
        is_start = kind == TokenKind::Newline;
        is_header &= !is_start;
        dots = match kind {
            TokenKind::Dot => dots + 1,
            TokenKind::Equals | TokenKind::Comma | TokenKind::Newline => 0,
            _ => dots,
        };
        if dots > MAX_DEPTH {
            return Err(Flaw::too_deep(place()));
        }
        match kind {
            TokenKind::Equals => is_next = true,
            TokenKind::Comma => is_next = lists & 1 == 1,
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket if !is_header => {
                bounds.open(place)?;
                is_next = kind == TokenKind::LeftSquareBracket;
                lists = lists << 1 | u64::from(is_next);
            }
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket if !is_header => {
                bounds.close();
                lists >>= 1;
            }
            _ => {}
        }
    }
    Ok(tokens)
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
