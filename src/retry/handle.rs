use std::sync::Arc;

use super::RetryConfig;
use crate::{course::LiveAttempts, error::Error, telemetry::Stats};

/// Handle to the settings and counts of a [`RetryPolicy`](super::RetryPolicy) and its clones.
///
/// # Example
/// ```
/// use tower_upstream::retry::{RetryConfig, RetryPolicy};
///
/// let policy = RetryPolicy::new(RetryConfig::up_to(3));
/// let handle = policy.handle();
/// handle.update(&RetryConfig::up_to(1))?;
/// assert_eq!(handle.config().attempts, 1);
/// assert_eq!(handle.retries(), 0);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RetryHandle {
    pub(super) live: Arc<LiveAttempts>,
}

impl RetryHandle {
    /// Replaces the settings of the policy and its clones, from the next call on.
    ///
    /// A call that has failed keeps the settings that it met then, and one that began without
    /// [`overall`](RetryConfig::overall) has no time limit.
    ///
    /// # Errors
    /// `InvalidConfig`, which names all mistakes at once. The settings then stay as they are.
    pub fn update(&self, config: &RetryConfig) -> Result<(), Error> {
        config.validate()?;
        self.live.update(config.clone().into());
        Ok(())
    }

    /// Returns the settings in use.
    pub fn config(&self) -> RetryConfig {
        RetryConfig::of(self.live.attempts())
    }

    /// Returns what happened to calls so far, in all services that have the policy.
    ///
    /// `failed` are the calls that ended in an error, or in an answer that counts as a failure. Calls
    /// that go well are not counted, nor are those whose request could not be copied.
    pub fn stats(&self) -> Stats {
        Stats { refused: None, ..self.live.counts.failures() }
    }

    /// Returns the number of further attempts that the retry budget paid for.
    pub fn retries(&self) -> u64 {
        self.live.counts.retries()
    }

    /// Returns the number of further attempts for free, on dead idle connections.
    pub fn moved(&self) -> u64 {
        self.live.counts.moved()
    }
}
