//! The line of a file that a mistake is in, without secrets.

use std::{ops::Range, path::PathBuf};

use super::secret;
use crate::config::value::{Flaw, Node, Place, Position, Source};

/// What is shown before and after the place, in characters.
const SHOWN: usize = 70;

/// In place of a secret.
const HIDDEN: &str = "***";

/// Where mistakes are: the file, its text, and what must not be shown of it.
#[derive(Clone, Default)]
pub(crate) struct Context {
    pub(crate) file: Option<PathBuf>,
    source: Option<Source>,
    secrets: Vec<(usize, usize)>,
}

/// A line, and the part of it that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excerpt {
    pub(super) line: usize,
    pub(super) text: String,
    /// In bytes of `text`.
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Context {
    pub(crate) fn new(file: Option<PathBuf>, source: Source) -> Self {
        Self { file, source: Some(source), secrets: Vec::new() }
    }

    pub(crate) fn of_file(file: PathBuf) -> Self {
        Self { file: Some(file), ..Self::default() }
    }

    /// Now it is known where the secrets are.
    pub(crate) fn with_secrets_of(mut self, root: &Node) -> Self {
        let text = self.source.as_ref().map_or("", Source::text);
        self.secrets = secret::places(root, text);
        self
    }

    pub(super) fn position(&self, place: &Place) -> Option<Position> {
        match (place, &self.source) {
            (Place::File { start, .. }, Some(source)) => Some(source.position(*start as usize)),
            _ => None,
        }
    }

    pub(super) fn excerpt(&self, flaw: &Flaw) -> Option<Excerpt> {
        let (Place::File { start, end }, Some(source)) = (&flaw.place, &self.source) else {
            return None;
        };
        let (start, end) = (*start as usize, *end as usize);
        let line = source.position(start).line;
        // As much of it as may be shown, or tells what may not.
        let (from, text) = source.line(start, 10 * SHOWN);
        let mark =
            start.saturating_sub(from).min(text.len())..(end.saturating_sub(from)).min(text.len());
        let mut shown = Shown { mark: mark.start..mark.end.max(mark.start), ..Shown::default() };
        let mut hidden: Vec<_> = match flaw.is_syntax {
            true => contents(text, !flaw.is_lost).collect(),
            // In values and in comments.
            false => users(text).chain(secret::named(text)).collect(),
        };
        hidden.sort_by_key(|range| range.start);
        let mut hidden = hidden.into_iter().peekable();
        let mut hidden_to = 0;
        for (at, c) in text.char_indices() {
            while let Some(next) = hidden.next_if(|next| next.start <= at) {
                hidden_to = hidden_to.max(next.end);
            }
            let is_secret = !flaw.is_syntax && self.is_secret(from + at);
            shown.push(at, c, is_secret || at < hidden_to);
        }
        Some(shown.cropped(line))
    }

    fn is_secret(&self, at: usize) -> bool {
        let next = self.secrets.partition_point(|(start, _)| *start <= at);
        // Secrets do not overlap, but for those of an alias, which are the same.
        self.secrets[..next].last().is_some_and(|(_, end)| at < *end)
    }
}

/// What may be part of a value, in a line that was not understood.
fn contents(text: &str, has_keys: bool) -> Box<dyn Iterator<Item = Range<usize>> + '_> {
    let is_word = |c: char| !(c.is_whitespace() || "{}[]()<>,:=\"'#&*|".contains(c));
    let mut end = 0;
    let words = std::iter::from_fn(move || {
        let start = end + text[end..].find(is_word)?;
        end = text[start..].find(|c| !is_word(c)).map_or(text.len(), |length| start + length);
        Some(start..end)
    });
    let indent = text.len() - text.trim_start_matches(['-', ' ', '\t']).len();
    Box::new(words.filter(move |word| {
        // A key is shown, if it is the first word of its line or in quotes.
        let (before, rest) = (&text[..word.start], &text[word.end..]);
        let is_key = rest.trim_start_matches(['"', '\'']).trim_start().starts_with([':', '=']);
        !(has_keys && is_key && (word.start <= indent || before.ends_with(['"', '\''])))
    }))
}

/// The user and the password of each URL.
fn users(text: &str) -> Box<dyn Iterator<Item = Range<usize>> + '_> {
    let is_end = |c: char| c.is_whitespace() || "\"'<>,".contains(c);
    Box::new(text.match_indices("://").filter_map(move |(scheme, between)| {
        let start = scheme + between.len();
        let end = text[start..].find(is_end).map_or(text.len(), |end| start + end);
        Some(start..start + text[start..end].rfind('@')?)
    }))
}

#[derive(Default)]
struct Shown {
    /// What is meant, in bytes of the line.
    mark: Range<usize>,
    text: String,
    hides: bool,
    /// The same in bytes of the text.
    start: Option<usize>,
    end: usize,
}

impl Shown {
    fn push(&mut self, at: usize, c: char, is_hidden: bool) {
        if at >= self.mark.start && self.start.is_none() {
            self.start = Some(self.text.len());
        }
        match is_hidden {
            true if self.hides => {}
            true => self.text.push_str(HIDDEN),
            // What would break the line, or turn its direction.
            false if c.is_control() => self.text.push(' '),
            false if matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                self.text.push('\u{fffd}');
            }
            false => self.text.push(c),
        }
        self.hides = is_hidden;
        if at < self.mark.end {
            self.end = self.text.len();
        }
    }

    /// A long line around what is meant.
    fn cropped(self, line: usize) -> Excerpt {
        let Self { text, start, end, .. } = self;
        let start = start.unwrap_or(text.len());
        let end = end.max(start);
        let back = text[..start].char_indices().rev().nth(SHOWN).map(|(at, _)| at);
        let forth = text[start..].char_indices().nth(SHOWN).map(|(at, _)| start + at);
        let from = back.unwrap_or(0);
        let to = forth.unwrap_or(text.len());
        let before = if back.is_some() { "…" } else { "" };
        let after = if forth.is_some() { "…" } else { "" };
        let moved = |at: usize| at.min(to) - from + before.len();
        let shown = format!("{before}{}{after}", &text[from..to]);
        Excerpt { line, text: shown, start: moved(start), end: moved(end) }
    }
}
