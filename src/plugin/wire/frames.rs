//! Finds the messages in a stream of JSON objects that has neither lengths nor separators.

use bytes::{Buf, Bytes, BytesMut};

use super::scan::position;

/// What a stream holds instead of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// A message longer than the limit.
    TooLong,
    /// Something that is no JSON object.
    NoObject,
}

/// The bytes that came, of which whole messages are taken off.
///
/// Only braces and strings are looked at, once each: whatever stands between the braces, the object ends
/// with the brace that closes it. The JSON inside is for the one that reads the message.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: BytesMut,
    /// How many of them were looked at.
    seen: usize,
    /// Braces that are open.
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// Whether there is more memory than a small message needs.
    is_large: bool,
}

/// Memory that is kept for the next message. It is taken once, not for each: with many connections, the
/// allocator has no other at hand.
const KEPT: usize = 512;

impl Frames {
    /// Takes off the next message, of at most `limit` bytes. `None` if there is no whole one yet.
    pub(crate) fn take(&mut self, limit: usize) -> Result<Option<Bytes>, Malformed> {
        if self.depth == 0 {
            let blank = self.bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.bytes.advance(blank);
            match self.bytes.first() {
                None => return Ok(None),
                Some(b'{') => {}
                Some(_) => return Err(Malformed::NoObject),
            }
        }
        let end = self.find_end();
        if end.unwrap_or(self.bytes.len()) > limit {
            return Err(Malformed::TooLong);
        }
        Ok(end.map(|end| {
            (self.seen, self.depth) = (0, 0);
            self.bytes.split_to(end).freeze()
        }))
    }

    /// Looks at what has come since, and returns where the object ends.
    fn find_end(&mut self) -> Option<usize> {
        // In registers, not in memory, for each byte.
        let Self { seen: mut at, mut depth, mut in_string, mut is_escaped, .. } = *self;
        let (bytes, mut end) = (&self.bytes[..], None);
        while let Some(byte) = bytes.get(at) {
            if in_string && !is_escaped {
                let Some(index) = position(&bytes[at..], [b'"', b'\\']) else {
                    break;
                };
                is_escaped = bytes[at + index] == b'\\';
                in_string = is_escaped;
                at += index + 1;
                continue;
            }
            at += 1;
            match byte {
                _ if is_escaped => is_escaped = false,
                b'"' => in_string = true,
                b'{' => depth += 1,
                b'}' if depth == 1 => {
                    end = Some(at);
                    break;
                }
                b'}' => depth -= 1,
                _ => {}
            }
        }
        (self.depth, self.in_string, self.is_escaped) = (depth, in_string, is_escaped);
        self.seen = bytes.len();
        end
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing of a message has come.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.iter().all(u8::is_ascii_whitespace)
    }

    /// The bytes, and how many more may be read into them: as many as there are, and never much more
    /// than a message may have.
    pub(super) fn room(&mut self, limit: usize) -> (&mut BytesMut, usize) {
        const MOST: usize = 64 << 10;
        let left = limit.saturating_add(1).saturating_sub(self.bytes.len()).max(1);
        let room = self.bytes.len().clamp(KEPT, MOST).min(left);
        self.is_large |= !self.bytes.is_empty();
        (&mut self.bytes, room)
    }

    /// Gives back the memory of a large message, if nothing is in it.
    pub(crate) fn shrink(&mut self) {
        if self.is_large && self.is_empty() {
            (self.bytes, self.is_large) = (BytesMut::new(), false);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What there is in `parts`, which come one after another, with what ends it.
    fn all(parts: &[&[u8]], limit: usize) -> (Vec<Bytes>, Option<Malformed>) {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        for part in parts {
            frames.bytes.extend_from_slice(part);
            loop {
                match frames.take(limit) {
                    Ok(Some(frame)) => found.push(frame),
                    Ok(None) => break,
                    Err(malformed) => return (found, Some(malformed)),
                }
            }
        }
        (found, None)
    }

    #[test]
    fn messages_need_neither_newlines_nor_lengths() {
        for text in [
            r#"{"a":{"b":"}{\"\\"}}{"c":[{}]}"#,
            "  {\"a\":{\"b\":\"}{\\\"\\\\\"}}\r\n\n\t{\"c\":[{}]}\n",
        ] {
            let expected = [&br#"{"a":{"b":"}{\"\\"}}"#[..], br#"{"c":[{}]}"#];
            assert_eq!(all(&[text.as_bytes()], 64), (expected.map(Bytes::from).to_vec(), None));
            let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
            assert_eq!(all(&bytes, 64), (expected.map(Bytes::from).to_vec(), None));
        }
    }

    #[test]
    fn what_is_no_object_or_too_long_is_told_at_once() {
        for text in ["7", "[{}]", "\"x\"", "null", "}", "\0", "HTTP/1.1 200 OK", "{}x"] {
            assert_eq!(all(&[text.as_bytes()], 64).1, Some(Malformed::NoObject), "{text}");
        }
        let just = br#"{"a":"12345678"}"#;
        assert_eq!(all(&[just], just.len()).0.len(), 1);
        assert_eq!(all(&[just], just.len() - 1).1, Some(Malformed::TooLong));
        assert_eq!(all(&[&just[..9], &[b'x'; 64]], 16).1, Some(Malformed::TooLong));
        assert_eq!(all(&[&[b' '; 10_000], just], just.len()).0.len(), 1);
    }

    #[test]
    fn no_more_is_read_than_a_message_may_have() {
        for limit in [0, 1, 100, 5_000, usize::MAX] {
            let mut frames = Frames::default();
            frames.bytes.extend_from_slice(b"{\"");
            while frames.take(limit) == Ok(None) && frames.bytes.len() < 1 << 20 {
                let (bytes, room) = frames.room(limit);
                assert!(room > 0 && room <= 64 << 10);
                bytes.extend_from_slice(&vec![b'x'; room]);
            }
            assert!(frames.bytes.len() <= limit.saturating_add(3).min(2 << 20), "{limit}");
        }
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_panic_nothing_and_are_cut_alike(
            bytes in proptest::collection::vec(
                prop_oneof![Just(b'{'), Just(b'}'), Just(b'"'), Just(b'\\'), Just(b'\n'), any::<u8>()],
                0..200,
            ),
            cuts in proptest::collection::vec(1..20_usize, 0..20),
            limit in 0..100_usize,
        ) {
            let mut parts = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts {
                let (part, more) = rest.split_at(cut.min(rest.len()));
                parts.push(part);
                rest = more;
            }
            parts.push(rest);
            let (whole, cut) = (all(&[&bytes], limit), all(&parts, limit));
            prop_assert_eq!(&whole.0, &cut.0);
            // Where both ends are malformed, the one that is told may depend on what came together.
            prop_assert_eq!(whole.1.is_some(), cut.1.is_some());
            for frame in whole.0 {
                let is_object = frame.starts_with(b"{") && frame.ends_with(b"}");
                prop_assert!(is_object && frame.len() <= limit);
            }
        }

        #[test]
        fn frames_that_were_mutated_are_frames_or_told(
            values in proptest::collection::vec("[a-z\\\\\"{}\\[\\]]{0,60}|[a-z]{0,60}\\PC{0,3}[a-z]{0,60}", 1..6),
            at in any::<proptest::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut text = Vec::new();
            for value in &values {
                text.extend(serde_json::to_vec(&serde_json::json!({ "data": { "v": value } })).unwrap());
                text.push(b'\n');
            }
            prop_assert_eq!(all(&[&text], 1 << 10).0.len(), values.len());
            let at = at.index(text.len());
            text[at] = byte;
            let (found, _) = all(&[&text], 1 << 10);
            prop_assert!(found.len() <= values.len() + 1);
        }
    }
}
