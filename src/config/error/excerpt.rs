//! The line of a file that a mistake is in, without secrets.

use std::path::PathBuf;

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
        let (from, text) = source.line(line);
        let (from, text) = around(from, text, start);
        let mark =
            start.saturating_sub(from).min(text.len())..(end.saturating_sub(from)).min(text.len());
        let mut shown = Shown { mark: mark.start..mark.end.max(mark.start), ..Shown::default() };
        for (at, c) in text.char_indices() {
            let is_hidden = if flaw.is_syntax {
                is_content(text, at, !flaw.is_lost)
            } else {
                self.is_secret(from + at) || is_user(text, at)
            };
            shown.push(at, c, is_hidden);
        }
        Some(shown.cropped(line))
    }

    fn is_secret(&self, at: usize) -> bool {
        let next = self.secrets.partition_point(|(start, _)| *start <= at);
        // Secrets do not overlap, but for those of an alias, which are the same.
        self.secrets[..next].last().is_some_and(|(_, end)| at < *end)
    }
}

/// The part of a long line that is near enough to be shown, or to tell what is.
fn around(from: usize, text: &str, at: usize) -> (usize, &str) {
    let near = |at: usize| (at..text.len()).find(|&at| text.is_char_boundary(at));
    let start = near((at - from).saturating_sub(10 * SHOWN)).unwrap_or(text.len());
    let end = near(at - from + 10 * SHOWN).unwrap_or(text.len());
    (from + start, &text[start..end])
}

/// Whether it may be part of a value, in a line that was not understood.
fn is_content(text: &str, at: usize, has_keys: bool) -> bool {
    let is_word = |c: char| !(c.is_whitespace() || "{}[]()<>,:=\"'#&*|".contains(c));
    if !text[at..].starts_with(is_word) {
        return false;
    }
    let rest = text[at..].trim_start_matches(is_word);
    // A key is shown, if it is the first word of its line or in quotes.
    let is_key = rest.trim_start_matches(['"', '\'']).trim_start().starts_with([':', '=']);
    let before = text[..at].trim_end_matches(is_word);
    let is_first = before.trim_start_matches(['-', ' ', '\t']).is_empty();
    !(has_keys && is_key && (is_first || before.ends_with(['"', '\''])))
}

/// Whether it is of the user and the password of a URL.
fn is_user(text: &str, at: usize) -> bool {
    let is_end = |c: char| c.is_whitespace() || "\"'<>,".contains(c);
    let Some(scheme) = text[..at].rfind("://") else { return false };
    let start = scheme + 3;
    let end = text[start..].find(is_end).map_or(text.len(), |end| start + end);
    let user = text[start..end].rfind('@').map_or(start, |user| start + user);
    (start..user).contains(&at)
}

#[derive(Default)]
struct Shown {
    /// What is meant, in bytes of the line.
    mark: std::ops::Range<usize>,
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
