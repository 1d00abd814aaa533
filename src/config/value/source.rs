//! The text of a file, and its lines.

use std::sync::Arc;

/// A file's text, from which places become lines and columns.
#[derive(Clone)]
pub(crate) struct Source {
    inner: Arc<Inner>,
}

struct Inner {
    /// Without a byte order mark.
    text: String,
    /// The position of the first byte of each block: neither a file of many lines nor one of a long line makes
    /// it dear to find the others.
    blocks: Vec<Position>,
}

/// Bytes of a block.
const BLOCK: usize = 4_096;

/// A line and a column, both from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Position {
    const START: Self = Self { line: 1, column: 1 };

    /// The position of what comes after these bytes.
    fn after(self, bytes: &[u8]) -> Self {
        let lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
        let last = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        // Every byte but those that continue a character.
        let columns = bytes[last..].iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        let before = if lines == 0 { self.column } else { 1 };
        Self { line: self.line + lines, column: before + columns }
    }
}

impl Source {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.starts_with('\u{feff}') {
            text.remove(0);
        }
        let ends = text.as_bytes().chunks(BLOCK).scan(Position::START, |position, block| {
            *position = position.after(block);
            Some(*position)
        });
        let blocks = std::iter::once(Position::START).chain(ends).collect();
        Self { inner: Arc::new(Inner { text, blocks }) }
    }

    pub(crate) fn text(&self) -> &str {
        &self.inner.text
    }

    pub(crate) fn position(&self, at: usize) -> Position {
        let Inner { text, blocks } = &*self.inner;
        let at = at.min(text.len());
        let block = at / BLOCK;
        blocks[block].after(&text.as_bytes()[block * BLOCK..at])
    }

    /// The line around `at`, without what ends it and no more of it than `width` bytes each way, and where that
    /// begins.
    pub(crate) fn line(&self, at: usize, width: usize) -> (usize, &str) {
        let text = self.text();
        let at = at.min(text.len());
        let near = |at: usize| (at..text.len()).find(|&at| text.is_char_boundary(at));
        let from = near(at.saturating_sub(width)).unwrap_or(text.len());
        let to = near(at.saturating_add(width)).unwrap_or(text.len());
        let is_end = |byte: &u8| *byte == b'\n';
        let bytes = text.as_bytes();
        let start = bytes[from..at].iter().rposition(is_end).map_or(from, |end| from + end + 1);
        let end = bytes[at..to].iter().position(is_end).map_or(to, |end| at + end);
        (start, text[start..end].trim_end_matches('\r'))
    }

    /// The byte at a position as parsers tell it: the column in bytes, from 1.
    pub(crate) fn at(&self, line: usize, column: usize) -> usize {
        let text = self.text();
        let mut ends = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let start = match line.saturating_sub(1).checked_sub(1) {
            None => 0,
            Some(before) => ends.nth(before).map_or(text.len(), |(end, _)| end + 1),
        };
        let length = text[start..].bytes().position(|byte| byte == b'\n');
        let length = length.unwrap_or(text.len() - start);
        start + column.saturating_sub(1).min(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_line_and_a_column_of_characters() {
        let source = Source::new("\u{feff}a: 1\r\nü: x\n");
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        let x = source.text().find('x').unwrap();
        assert_eq!(source.position(x), Position { line: 2, column: 4 });
        assert_eq!(source.line(0, 99), (0, "a: 1"));
        assert_eq!(source.line(x, 99), (6, "ü: x"));
        // Not in the middle of the `ü`.
        assert_eq!(source.line(x, 3), (8, ": x"));
        assert_eq!(source.line(99, 99), (source.text().len(), ""));
        assert_eq!(source.position(99).line, 3);
        assert_eq!(
            (source.at(1, 3), source.at(2, 5), source.at(9, 9)),
            (2, x, source.text().len())
        );
    }

    #[test]
    fn positions_go_on_from_block_to_block() {
        let lines: Vec<_> = (0..900).map(|line| "ü".repeat(line % 60)).collect();
        for text in [lines.join("\n"), lines.concat(), lines.join("\r\n")] {
            let source = Source::new(text.as_str());
            assert!(text.len() > 3 * BLOCK);
            let (mut line, mut column) = (1, 1);
            for (at, c) in text.char_indices() {
                assert_eq!(source.position(at), Position { line, column }, "{at}");
                (line, column) = if c == '\n' { (line + 1, 1) } else { (line, column + 1) };
            }
            assert_eq!(source.position(text.len()), Position { line, column });
        }
    }
}
