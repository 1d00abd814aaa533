use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    course::{Attempts, Hedge},
    error::Error,
};

/// The `failover` section of a plugin: what its attempts have beside those of the `retry` section.
///
/// `retry` says how often a call is tried and after which waits, whether at one endpoint or at several.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::config::FailoverSection;
/// let failover: FailoverSection = serde_json::from_str(r#"{"timeout": "500ms"}"#)?;
/// assert_eq!(failover.timeout, Some(Duration::from_millis(500)));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct FailoverSection {
    /// Whether these settings hold. If not, attempts have no time limit of their own, and no hedge.
    /// Default: true.
    pub enabled: bool,
    /// Time limit of each attempt; 0 is none. See [`Attempts::timeout`]. Default: none.
    #[serde(with = "crate::duration::option")]
    pub timeout: Option<Duration>,
    /// Longest time that a call waits for an endpoint that can be used; 0 is none. See
    /// [`Attempts::wait_for_endpoint`]. Default: none.
    #[serde(with = "crate::duration::option")]
    pub wait_for_endpoint: Option<Duration>,
    /// When a call without an answer is also sent to another endpoint. See [`Attempts::hedge`]. Default:
    /// never.
    #[serde(deserialize_with = "crate::course::read_hedge")]
    pub hedge: Option<Hedge>,
}

crate::written::names_keys!(FailoverSection);

impl Default for FailoverSection {
    fn default() -> Self {
        Self { enabled: true, timeout: None, wait_for_endpoint: None, hedge: None }
    }
}

impl FailoverSection {
    /// Returns the defaults of the Go plugin manager, which has no failover: not enabled.
    ///
    /// ```
    /// assert!(!tower_upstream::config::FailoverSection::go().enabled);
    /// ```
    pub fn go() -> Self {
        Self { enabled: false, ..Self::default() }
    }

    setters! {
        with_enabled: enabled = bool;
        with_timeout: timeout = impl Into<Option<Duration>>;
        with_wait_for_endpoint: wait_for_endpoint = impl Into<Option<Duration>>;
        with_hedge: hedge = impl Into<Option<Hedge>>;
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Those of [`Attempts::validate`].
    pub fn validate(&self) -> Result<(), Error> {
        self.on(Attempts::default()).validate()
    }

    /// `attempts` with these settings.
    pub(crate) fn on(&self, attempts: Attempts) -> Attempts {
        if !self.enabled {
            return attempts;
        }
        let limit = |limit: Option<Duration>| limit.filter(|limit| !limit.is_zero());
        Attempts {
            timeout: limit(self.timeout),
            wait_for_endpoint: limit(self.wait_for_endpoint),
            hedge: self.hedge,
            ..attempts
        }
    }
}
