use std::time::Duration;

/// Number of attempts of one call and the time limit of each, in place of the settings of the layer.
///
/// A [`FailoverLayer`](crate::FailoverLayer) uses both, a `RetryPolicy` the number of attempts. The retry
/// budget of the layer still decides whether a further attempt is made. [`Call`](crate::Call) has a setter for
/// each; to an `http::Request`, add the options as an extension; other requests return them in
/// [`Replay::options`](super::Replay::options).
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::replay::{CallOptions, Replay};
///
/// let options = CallOptions::default()
///     .with_max_retries(1)
///     .with_attempt_timeout(Duration::from_millis(200));
/// assert_eq!(options.max_attempts(), Some(2));
/// # #[cfg(feature = "http")] {
/// let request = http::Request::get("/").extension(options).body(()).unwrap();
/// assert_eq!(request.options(), options);
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallOptions {
    max_attempts: Option<u32>,
    attempt_timeout: Option<Duration>,
}

/// Most attempts of a call.
pub(crate) const MAX_ATTEMPTS: u32 = 64;
/// Shortest limit of time.
pub(crate) const MIN_LIMIT: Duration = Duration::from_millis(1);

impl CallOptions {
    pub(crate) const NONE: Self = Self { max_attempts: None, attempt_timeout: None };

    /// Sets how often the call may be sent again: one less than its attempts, at most 63. What is more
    /// becomes 63.
    #[must_use]
    pub fn with_max_retries(self, retries: u32) -> Self {
        self.with_max_attempts(retries.saturating_add(1))
    }

    /// Sets the number of attempts in all, from 1 to 64. A number out of range becomes the nearest one.
    #[must_use]
    pub fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts.clamp(1, MAX_ATTEMPTS));
        self
    }

    /// Sets the time limit of each attempt, from 1 ms. A shorter one becomes 1 ms.
    #[must_use]
    pub fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = Some(timeout.max(MIN_LIMIT));
        self
    }

    /// Returns the number of attempts in all; `None` if that of the layer counts.
    pub fn max_attempts(&self) -> Option<u32> {
        self.max_attempts
    }

    /// Returns the time limit of each attempt; `None` if that of the layer counts.
    pub fn attempt_timeout(&self) -> Option<Duration> {
        self.attempt_timeout
    }

    /// Whether anything is set.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.max_attempts.is_some() || self.attempt_timeout.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_become_the_nearest_ones() {
        let of = |options: CallOptions| options.max_attempts();
        let none = CallOptions::default();
        assert_eq!(
            [0, 1, 63, 64, u32::MAX].map(|n| of(none.with_max_retries(n))),
            [1, 2, 64, 64, 64].map(Some)
        );
        assert_eq!(of(none.with_max_attempts(0)), Some(1));
        assert_eq!(none.with_attempt_timeout(Duration::ZERO).attempt_timeout(), Some(MIN_LIMIT));
        assert!(!none.is_set() && none.with_max_retries(0).is_set());
    }
}
