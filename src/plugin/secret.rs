use std::{fmt, hint::black_box};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Text that is never shown, such as a token.
///
/// `Debug` and `Serialize` leave it out, comparing two takes the same time wherever they differ, and
/// the memory is overwritten on drop.
///
/// # Example
/// ```
/// use tower_upstream::plugin::Secret;
/// let token = Secret::from("s3cret");
/// assert_eq!(format!("{token:?}"), "Secret(…)");
/// assert_eq!(token, Secret::from("s3cret"));
/// ```
#[derive(Clone, Default)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Returns whether there is nothing in it.
    ///
    /// ```
    /// assert!(tower_upstream::plugin::Secret::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn expose(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl PartialEq for Secret {
    /// Looks at every byte of `other`.
    fn eq(&self, other: &Self) -> bool {
        let mut differs = usize::from(self.0.len() != other.0.len());
        for (index, byte) in other.0.iter().enumerate() {
            let own = self.0.get(index).copied().unwrap_or_default();
            differs |= usize::from(black_box(own ^ byte));
        }
        black_box(differs) == 0
    }
}

impl Eq for Secret {}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // Or else the compiler may find that it is not read any more.
        black_box(&self.0);
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Such as of a number: that error would show it.
        let text = String::deserialize(deserializer);
        text.map(Self::from).map_err(|_| D::Error::custom("a secret must be text, in quotes"))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Secret()" } else { "Secret(…)" })
    }
}

#[cfg(test)]
mod tests {
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
}
