use std::time::Duration;

use crate::error::{Error, Kind};

/// Settings of a [`Watched`](super::Watched): which answers of a backend to doubt, and for how long.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::discover::WatchConfig;
///
/// let config = WatchConfig::default()
///     .with_max_stale(Duration::from_secs(3_600))
///     .with_empty_grace(Duration::from_secs(30));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct WatchConfig {
    /// Time without an answer after which the set is emptied. `None` keeps the last set however old it is.
    ///
    /// A backend that has been quiet for half of it is asked anew, so a set is emptied only if the backend fails
    /// or does not answer. Time without a user empties nothing before the backend was asked. At least 1 s.
    /// Default: `None`.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::option"))]
    pub max_stale: Option<Duration>,
    /// Time for which the backend must have answered that there are no endpoints before the set is
    /// emptied, unless the answer is [certain](super::Observation::certain). At most a day. Default: 10 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub empty_grace: Duration,
    /// Fraction of the endpoints, from 0 to 1, that may leave at once. With 1 all may, if others take
    /// their place.
    ///
    /// If more are missing, new endpoints are added at once, but none is removed until `removal_grace`
    /// has passed and a second observation says the same. Default: 0.5.
    pub max_removed: f64,
    /// Time after which more than `max_removed` of the endpoints are removed if the backend still says so.
    /// At most a day. Default: 5 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub removal_grace: Duration,
}

const MAX_GRACE: Duration = Duration::from_secs(86_400);
const MIN_STALE: Duration = Duration::from_secs(1);

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            max_stale: None,
            empty_grace: Duration::from_secs(10),
            max_removed: 0.5,
            removal_grace: Duration::from_secs(5),
        }
    }
}

impl WatchConfig {
    /// Sets [`max_stale`](Self::max_stale).
    #[must_use]
    pub fn with_max_stale(mut self, max_stale: impl Into<Option<Duration>>) -> Self {
        self.max_stale = max_stale.into();
        self
    }

    /// Sets [`empty_grace`](Self::empty_grace).
    #[must_use]
    pub fn with_empty_grace(mut self, grace: Duration) -> Self {
        self.empty_grace = grace;
        self
    }

    /// Sets [`max_removed`](Self::max_removed).
    #[must_use]
    pub fn with_max_removed(mut self, fraction: f64) -> Self {
        self.max_removed = fraction;
        self
    }

    /// Sets [`removal_grace`](Self::removal_grace).
    #[must_use]
    pub fn with_removal_grace(mut self, grace: Duration) -> Self {
        self.removal_grace = grace;
        self
    }

    /// Returns an error if a value is out of range.
    ///
    /// A watch that is made with such a config uses the nearest allowed values instead.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] that names all mistakes at once.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        for (name, grace) in
            [("empty_grace", self.empty_grace), ("removal_grace", self.removal_grace)]
        {
            if grace > MAX_GRACE {
                mistakes.push(format!("`{name}` is {grace:?}, but must be at most a day"));
            }
        }
        if !(0.0..=1.0).contains(&self.max_removed) {
            let value = self.max_removed;
            mistakes.push(format!("`max_removed` is {value}, but must be from 0 to 1"));
        }
        if let Some(value) = self.max_stale.filter(|stale| *stale < MIN_STALE) {
            mistakes.push(format!("`max_stale` is {value:?}, but must be at least 1 s"));
        }
        if mistakes.is_empty() {
            return Ok(());
        }
        let text = format!("discovery: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(text))
    }

    /// The nearest sane values.
    pub(super) fn clamped(mut self) -> Self {
        let default = Self::default();
        self.max_stale = self.max_stale.map(|stale| stale.max(MIN_STALE));
        self.empty_grace = self.empty_grace.min(MAX_GRACE);
        self.removal_grace = self.removal_grace.min(MAX_GRACE);
        let is_nan = self.max_removed.is_nan();
        self.max_removed =
            if is_nan { default.max_removed } else { self.max_removed.clamp(0.0, 1.0) };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_named_at_once_and_clamped() {
        assert!(WatchConfig::default().validate().is_ok());
        let wrong = WatchConfig::default()
            .with_max_stale(Duration::ZERO)
            .with_empty_grace(Duration::MAX)
            .with_removal_grace(Duration::MAX)
            .with_max_removed(f64::NAN);
        let text = wrong.validate().unwrap_err().to_string();
        for name in ["max_stale", "empty_grace", "removal_grace", "max_removed"] {
            assert!(text.contains(&format!("`{name}`")), "{text}");
        }
        assert!(wrong.clamped().validate().is_ok());
    }
}
