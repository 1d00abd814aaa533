use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// What an [`AllowList`](super::AllowList) does about a program that it does not allow.
///
/// In a file it is text, such as `"strict"`, or a number, as Go writes it.
///
/// # Example
/// ```
/// use tower_upstream::allow::Policy;
/// assert_eq!(Policy::default(), Policy::Strict);
/// assert_eq!(serde_json::from_str::<Policy>("2")?, Policy::Strict);
/// assert_eq!(serde_json::from_str::<Policy>("\"audit-only\"")?, Policy::AuditOnly);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Policy {
    /// Checks each program, starts it in any case, and logs what is wrong. `1` in Go.
    Permissive,
    /// Does not start it. `2` in Go.
    #[default]
    Strict,
    /// Checks nothing, and logs each start. `3` in Go.
    AuditOnly,
}

impl Policy {
    /// By Go's number. There `0` is none.
    pub(super) fn of_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::Permissive),
            2 => Some(Self::Strict),
            3 => Some(Self::AuditOnly),
            _ => None,
        }
    }

    pub(super) fn number(policy: Option<Self>) -> u8 {
        match policy {
            None => 0,
            Some(Self::Permissive) => 1,
            Some(Self::Strict) => 2,
            Some(Self::AuditOnly) => 3,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Permissive => "permissive",
            Self::Strict => "strict",
            Self::AuditOnly => "audit-only",
        }
    }
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected `strict`, `permissive` or `audit-only`")]
        enum Written {
            Number(i64),
            Text(String),
        }
        let policy = match Written::deserialize(deserializer)? {
            Written::Number(number) => Self::of_number(number),
            Written::Text(text) => [Self::Permissive, Self::Strict, Self::AuditOnly]
                .into_iter()
                .find(|policy| policy.as_str() == text.replace('_', "-")),
        };
        policy.ok_or_else(|| D::Error::custom("expected `strict`, `permissive` or `audit-only`"))
    }
}
