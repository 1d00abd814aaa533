//! What the name of a key says: whether its value is a secret.

use crate::config::nearest::is_slip;

/// Parts of the names of secrets, without what joins their words.
const WORDS: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "token",
    "secret",
    "apikey",
    "privatekey",
    "credential",
    "username",
];

/// Sections in which every value is a secret: headers, variables of a program.
pub(super) const SECTIONS: [&str; 5] = ["auth", "authorization", "headers", "env", "environment"];

/// Those of them with secrets of any name.
pub(super) const FREE: [&str; 3] = ["headers", "env", "environment"];

/// Keys of `auth` that are none, and of budgets, whose tokens are others.
const OPEN: [&str; 5] = ["method", "allowplaintext", "enabled", "maxtokens", "tokenratio"];

/// Whether the value of a key is none, whatever it is in.
pub(super) fn is_open(key: &str) -> bool {
    let key = folded(key);
    // Of the files with them, the names are no secrets.
    key.ends_with("file") || OPEN.contains(&&*key)
}

pub(super) fn is_secret_key(key: &str) -> bool {
    let key = folded(key);
    // A slip in the name makes it no less a secret.
    let is_word = |word: &&str| key.contains(*word) || is_slip(&key, word);
    let is_section = SECTIONS.contains(&&*key);
    is_section || !key.ends_with("file") && WORDS.iter().any(is_word)
}

pub(super) fn folded(key: &str) -> String {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// What the name of a key says of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is none, wherever it is.
    Open,
    /// Its members are secrets.
    Section,
    /// Of any name.
    Free,
    Secret,
    Other,
}

impl Kind {
    pub(super) fn of(key: &str) -> Self {
        match () {
            () if is_open(key) => Self::Open,
            () if FREE.contains(&&*folded(key)) => Self::Free,
            () if SECTIONS.contains(&&*folded(key)) => Self::Section,
            () if is_secret_key(key) => Self::Secret,
            () => Self::Other,
        }
    }
}

/// Where a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Open,
    /// In a section of secrets, whose keys are names.
    Section,
    /// In one with secrets of any name.
    Free,
    /// In place of a secret: a text with braces and without quotes is a map of it.
    Secret,
}

impl At {
    pub(super) fn item(self) -> Self {
        if self == Self::Open { Self::Open } else { Self::Secret }
    }

    /// Whether a key that is here may be part of a secret.
    pub(super) fn hides(self, key: Kind) -> bool {
        self == Self::Secret && matches!(key, Kind::Secret | Kind::Other)
    }

    pub(super) fn below(self, key: Kind) -> Self {
        match (self, key) {
            (Self::Free, _) => Self::Secret,
            (_, Kind::Free) => Self::Free,
            (Self::Open, Kind::Open | Kind::Other) => Self::Open,
            // Whether what has an open key is a secret is said by the key alone.
            (_, Kind::Section | Kind::Open) => Self::Section,
            _ => Self::Secret,
        }
    }
}
