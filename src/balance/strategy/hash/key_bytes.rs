use std::hash::Hasher;

/// What a key is made of: for a text just its bytes, as other systems hash it.
pub(super) struct KeyBytes {
    short: [u8; SHORT],
    len: usize,
    /// All of a key that is longer.
    long: Vec<u8>,
    /// Whether the end of a text is to be told from what follows.
    has_ended: bool,
    is_touched: bool,
}

const SHORT: usize = 64;

/// What `str` puts behind its bytes, which are never this.
const END: u8 = 0xff;

impl KeyBytes {
    #[inline]
    pub(super) fn new() -> Self {
        Self { short: [0; SHORT], len: 0, long: Vec::new(), has_ended: false, is_touched: false }
    }

    /// `None` if there is no key.
    #[inline]
    pub(super) fn get(&self) -> Option<&[u8]> {
        let bytes = if self.long.is_empty() { self.short.get(..self.len)? } else { &self.long };
        self.is_touched.then_some(bytes)
    }

    #[inline(never)]
    fn write_further(&mut self, bytes: &[u8]) {
        self.is_touched = true;
        if self.has_ended {
            self.has_ended = false;
            self.push(&[END]);
        }
        self.push(bytes);
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if let Some(into) = self.short.get_mut(self.len..end).filter(|_| self.long.is_empty()) {
            into.copy_from_slice(bytes);
            self.len = end;
            return;
        }
        if self.long.is_empty() {
            self.long.extend_from_slice(&self.short[..self.len]);
        }
        self.long.extend_from_slice(bytes);
    }
}

impl Hasher for KeyBytes {
    // Always: a number is stored then, rather than copied, and its length is known where it is hashed.
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) {
        match self.short.get_mut(..bytes.len()) {
            // Of one part, and short, as most are.
            Some(into) if !self.is_touched => {
                into.copy_from_slice(bytes);
                (self.len, self.is_touched) = (bytes.len(), true);
            }
            _ => self.write_further(bytes),
        }
    }

    #[inline]
    fn write_u8(&mut self, byte: u8) {
        // Only between two parts: the end of the last one is that of the key.
        if byte == END && self.is_touched && !self.has_ended {
            self.has_ended = true;
        } else {
            self.write(&[byte]);
        }
    }

    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::hash::Hash;

    use proptest::prelude::*;

    use super::*;

    fn bytes(key: impl Hash) -> Option<Vec<u8>> {
        let mut bytes = KeyBytes::new();
        key.hash(&mut bytes);
        bytes.get().map(<[u8]>::to_vec)
    }

    #[test]
    fn a_text_is_its_bytes_and_parts_are_told_apart() {
        assert_eq!(bytes("user-1").unwrap(), b"user-1");
        assert_eq!(bytes("").unwrap(), b"");
        assert_eq!(bytes(()), None);
        assert_ne!(bytes(("ab", "c")), bytes(("a", "bc")));
        assert_ne!(bytes(("ab", "")), bytes(("", "ab")));
        assert_ne!(bytes(255_u8), bytes(()));
    }

    proptest! {
        #[test]
        fn a_long_text_is_its_bytes(text in ".{0,200}", other in ".{0,80}") {
            prop_assert_eq!(&bytes(&text).unwrap(), text.as_bytes());
            let both = [text.as_bytes(), &[END], other.as_bytes()].concat();
            prop_assert_eq!(bytes((&text, &other)).unwrap(), both);
        }
    }
}
