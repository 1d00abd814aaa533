use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::shown::{Shown, shown};

/// Least room for a text. A power of two, as any room is.
const ROOM: usize = 64;

/// Text that is never shown, such as a token.
///
/// `Debug` and `Serialize` leave it out, and the memory is overwritten on drop. The time of a comparison
/// depends on the length of the text on the right alone: neither on where the two differ, nor on the
/// length of this one.
///
/// # Example
/// ```
/// use tower_upstream::auth::Secret;
/// let token = Secret::from("s3cret");
/// assert_eq!(format!("{token:?}"), "Secret(…)");
/// assert_eq!(token, Secret::from("s3cret"));
/// ```
#[derive(Clone)]
pub struct Secret {
    /// The text, and zeros up to a power of two: any position of another text leads into it.
    padded: Zeroizing<Box<[u8]>>,
    length: usize,
}

impl Secret {
    /// Returns whether there is nothing in it.
    ///
    /// ```
    /// assert!(tower_upstream::auth::Secret::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn expose(&self) -> &str {
        // It was made of text.
        std::str::from_utf8(&self.padded[..self.length]).unwrap_or_default()
    }

    /// Whether `other` is the same text, by its length and every byte, all of which are looked at.
    pub(super) fn is(&self, other: &[u8]) -> bool {
        let mask = self.padded.len() - 1;
        let mut same = (self.length as u64).ct_eq(&(other.len() as u64));
        for (at, byte) in other.iter().enumerate() {
            same &= self.padded[at & mask].ct_eq(byte);
        }
        same.into()
    }
}

impl Default for Secret {
    fn default() -> Self {
        Self::from("")
    }
}

impl From<String> for Secret {
    /// Overwrites the text in its old place.
    fn from(mut text: String) -> Self {
        let secret = Self::from(text.as_str());
        text.zeroize();
        secret
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        let length = text.len();
        let room = length.next_power_of_two().max(ROOM);
        let mut padded = Zeroizing::new(vec![0; room].into_boxed_slice());
        padded[..length].copy_from_slice(text.as_bytes());
        Self { padded, length }
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.expose().as_bytes())
    }
}

impl Eq for Secret {}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Such as of a number: that error would show it.
        let text = String::deserialize(deserializer);
        text.map(Self::from).map_err(|_| D::Error::custom("a secret must be text, in quotes"))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match shown() {
            Shown::All => self.expose(),
            Shown::Stars if !self.is_empty() => "***",
            _ => "",
        })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Secret()" } else { "Secret(…)" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_same_text_is_equal_and_none_is_shown() {
        let secret = Secret::from("abc");
        for other in ["", "ab", "abd", "abcd", "abc\0"] {
            assert_ne!(secret, Secret::from(other));
            assert_ne!(Secret::from(other), secret);
        }
        assert_eq!(secret.clone(), secret);
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"\"");
        let read: Secret = serde_json::from_str("\"abc\"").unwrap();
        let wrong = serde_json::from_str::<Secret>("12345").unwrap_err().to_string();
        assert!(wrong.contains("in quotes") && !wrong.contains("12345"), "{wrong}");
        assert_eq!((read, format!("{secret:?}")), (secret, "Secret(…)".to_owned()));
    }

    proptest! {
        #[test]
        fn texts_of_any_length_are_told_apart(a in "[ab]{0,140}", b in "[ab]{0,140}") {
            let secret = Secret::from(a.clone());
            prop_assert_eq!(secret.expose(), &a);
            prop_assert!(secret.is(a.as_bytes()));
            prop_assert_eq!(secret.is(b.as_bytes()), a == b);
            // What a text is padded with, and where a longer one comes round to, is not part of it.
            let padded = a.clone() + "\0";
            prop_assert!(!secret.is(padded.as_bytes()));
            prop_assert!(a.is_empty() || !secret.is(a.repeat(2).as_bytes()));
        }
    }
}
