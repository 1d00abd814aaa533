//! Finds the lines in a stream, none of which is longer than a limit.

use std::mem;

use bytes::{Buf, Bytes, BytesMut};

/// A line that came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Without its end.
    Whole(Bytes),
    /// The start of one that is longer than the limit. The rest is skipped.
    TooLong(Bytes),
}

/// How much of a line that is too long is shown.
const SHOWN: usize = 256;

/// The bytes that came, of which whole lines are taken off.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: BytesMut,
    /// How many of them were looked at.
    seen: usize,
    /// Within a line that was told as too long.
    is_skipping: bool,
}

impl Lines {
    /// Takes off the next line of at most `limit` bytes. `None` if there is no whole one yet.
    pub(crate) fn take(&mut self, limit: usize) -> Option<Line> {
        loop {
            let end = find_end(&self.bytes[self.seen..]).map(|at| self.seen + at);
            let length = end.unwrap_or(self.bytes.len());
            if mem::take(&mut self.is_skipping) {
                self.bytes.advance(end.map_or(length, |end| end + 1));
                self.seen = 0;
                self.is_skipping = end.is_none();
                end?;
                continue;
            }
            if length > limit {
                let start = Bytes::copy_from_slice(&self.bytes[..length.min(SHOWN)]);
                self.is_skipping = true;
                self.seen = 0;
                return Some(Line::TooLong(start));
            }
            let Some(end) = end else {
                self.seen = length;
                return None;
            };
            let mut line = self.bytes.split_to(end + 1).freeze();
            self.seen = 0;
            line.truncate(end - usize::from(line[..end].ends_with(b"\r")));
            return Some(Line::Whole(line));
        }
    }

    /// What came of a line that has no end, if the stream ends here.
    pub(crate) fn rest(&mut self) -> Option<Bytes> {
        let rest = mem::take(self).bytes;
        (!rest.is_empty()).then(|| rest.freeze())
    }

    /// The bytes, with room for as many more as there are.
    pub(crate) fn room(&mut self) -> &mut BytesMut {
        const LEAST: usize = 4 << 10;
        const MOST: usize = 64 << 10;
        self.bytes.reserve(self.bytes.len().clamp(LEAST, MOST));
        &mut self.bytes
    }
}

/// Where the first line of `bytes` ends. A word at a time: answers may be long.
fn find_end(bytes: &[u8]) -> Option<usize> {
    const WORD: usize = 32;
    let whole = bytes.len() - bytes.len() % WORD;
    let blocks = bytes[..whole].chunks_exact(WORD);
    let block = blocks.into_iter().position(|block| {
        // Without a branch for each byte, so that the compiler looks at many at once.
        block.iter().fold(false, |found, byte| found | (*byte == b'\n'))
    });
    let from = block.map_or(whole, |block| block * WORD);
    bytes[from..].iter().position(|byte| *byte == b'\n').map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(parts: &[&[u8]], limit: usize) -> Vec<Line> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for part in parts {
            lines.room().extend_from_slice(part);
            found.extend(std::iter::from_fn(|| lines.take(limit)));
            assert!(lines.bytes.len() <= limit, "{}", lines.bytes.len());
        }
        found
    }

    fn whole(text: &'static str) -> Line {
        Line::Whole(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn lines_are_told_without_their_ends_and_a_long_one_hides_none_after_it() {
        let text = b"a\r\n\nb\r\r\n0123456789x\nc\n0123456789\nhalf";
        let expected = [
            whole("a"),
            whole(""),
            whole("b\r"),
            Line::TooLong(Bytes::from_static(b"0123456789x")),
            whole("c"),
            whole("0123456789"),
        ];
        assert_eq!(all(&[text], 10), expected);
        let bytes: Vec<_> = text.chunks(1).collect();
        assert_eq!(all(&bytes, 10), expected);
        let mut lines = Lines::default();
        lines.room().extend_from_slice(text);
        while lines.take(10).is_some() {}
        assert_eq!((lines.rest(), lines.rest()), (Some(Bytes::from_static(b"half")), None));
    }

    proptest! {
        #[test]
        fn however_they_are_cut_they_are_the_lines_of_the_text(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..300),
            cuts in proptest::collection::vec(1..90_usize, 0..20),
            limit in 0..100_usize,
        ) {
            let (mut parts, mut rest) = (Vec::new(), &bytes[..]);
            for cut in cuts {
                let (part, more) = rest.split_at(cut.min(rest.len()));
                parts.push(part);
                rest = more;
            }
            parts.push(rest);
            let mut model: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
            let last = model.pop().unwrap_or_default();
            let mut model: Vec<_> = model
                .into_iter()
                .map(|line| match line.len() > limit {
                    true => None,
                    false => Some(line.strip_suffix(b"\r").unwrap_or(line).to_vec()),
                })
                .collect();
            // One that is too long is told before it ends.
            model.extend((last.len() > limit).then_some(None));
            let found: Vec<_> = all(&parts, limit)
                .into_iter()
                .map(|line| match line {
                    Line::Whole(line) => Some(line.to_vec()),
                    Line::TooLong(_) => None,
                })
                .collect();
            prop_assert_eq!(found, model);
        }
    }
}
