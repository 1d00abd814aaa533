//! The text of a file, and its lines.

/// A file's text, from which places become lines and columns.
#[derive(Clone)]
pub(crate) struct Source {
    /// Without a byte order mark.
    text: String,
    /// Where each line begins.
    starts: Vec<usize>,
}

/// A line and a column, both from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        let ends = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn position(&self, at: usize) -> Position {
        let at = at.min(self.text.len());
        let line = self.starts.partition_point(|&start| start <= at);
        let start = self.starts[line - 1];
        let before = self.text.as_bytes()[start..at].iter();
        // Every byte but those that continue a character.
        let column = before.filter(|&&byte| byte & 0xc0 != 0x80).count() + 1;
        Position { line, column }
    }

    /// Where the line begins, and its text without what ends it.
    pub(crate) fn line(&self, line: usize) -> (usize, &str) {
        let Some(&start) = self.starts.get(line.wrapping_sub(1)) else {
            return (self.text.len(), "");
        };
        let end = self.starts.get(line).map_or(self.text.len(), |&next| next - 1);
        (start, self.text[start..end].trim_end_matches('\r'))
    }

    /// The byte at a position as parsers tell it: the column in bytes, from 1.
    pub(crate) fn at(&self, line: usize, column: usize) -> usize {
        let (start, text) = self.line(line);
        start + column.saturating_sub(1).min(text.len())
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
        assert_eq!(source.line(1), (0, "a: 1"));
        assert_eq!(source.line(2).1, "ü: x");
        assert_eq!(source.line(3).1, "");
        assert_eq!(source.line(9).1, "");
        assert_eq!(source.position(99).line, 3);
    }
}
