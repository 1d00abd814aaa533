//! Lines of a stream, as they come in pieces.

use bytes::{Buf, Bytes, BytesMut};

pub(super) struct Lines {
    /// What came and is not taken yet.
    bytes: BytesMut,
    /// How much of it has no end of a line.
    looked_at: usize,
    max: usize,
}

/// A line is longer than allowed.
#[derive(Debug, PartialEq)]
pub(super) struct TooLong;

impl Lines {
    pub(super) fn new(max: usize) -> Self {
        Self { bytes: BytesMut::new(), looked_at: 0, max }
    }

    pub(super) fn feed(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// The next line that is whole and not empty, without its end.
    pub(super) fn take(&mut self) -> Result<Option<Bytes>, TooLong> {
        loop {
            let rest = &self.bytes[self.looked_at..];
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                self.looked_at = self.bytes.len();
                return if self.looked_at > self.max { Err(TooLong) } else { Ok(None) };
            };
            let line = self.bytes.split_to(self.looked_at + end).freeze();
            self.bytes.advance(1);
            self.looked_at = 0;
            if line.len() > self.max {
                return Err(TooLong);
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }

    /// Whether a line was begun and not ended.
    pub(super) fn is_within_one(&self) -> bool {
        !self.bytes.trim_ascii().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_are_the_same_in_whatever_pieces_they_come(
            text in "[ab\n]{0,40}",
            cuts in prop::collection::vec(1_usize..9, 0..40),
        ) {
            let (mut lines, mut found, mut rest) = (Lines::new(64), Vec::new(), text.as_bytes());
            for cut in cuts.into_iter().chain([64]) {
                let (piece, more) = rest.split_at(cut.min(rest.len()));
                lines.feed(piece);
                while let Some(line) = lines.take().unwrap() {
                    found.push(String::from_utf8(line.to_vec()).unwrap());
                }
                rest = more;
            }
            let (whole, part) = text.rsplit_once('\n').unwrap_or(("", &text));
            let expected: Vec<_> = whole.split('\n').filter(|line| !line.is_empty()).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(lines.is_within_one(), !part.is_empty());
        }
    }

    #[test]
    fn a_line_is_bounded_with_an_end_and_without() {
        let mut lines = Lines::new(4);
        lines.feed(b"four\nfives\n");
        assert_eq!(lines.take(), Ok(Some(Bytes::from_static(b"four"))));
        assert_eq!(lines.take(), Err(TooLong));
        let mut lines = Lines::new(4);
        lines.feed(b"five");
        assert_eq!(lines.take(), Ok(None));
        lines.feed(b"s");
        assert_eq!(lines.take(), Err(TooLong));
    }
}
