use std::{fmt, sync::Arc};

use super::state::State;
use crate::error::Error;

/// A view of one quota. Cheap to clone.
///
/// ```
/// use tower_upstream::{Quota, RateLimitLayer};
/// let quota = RateLimitLayer::new(Quota::per_minute(10)).handle();
/// quota.take(4)?;
/// assert_eq!(quota.remaining(), 6);
/// assert!(quota.take(7).is_err_and(|error| error.is_refused()));
/// assert_eq!(quota.remaining(), 6);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct RateLimitHandle {
    state: Arc<State>,
}

impl RateLimitHandle {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    /// How many calls would pass at once now. Takes none.
    pub fn remaining(&self) -> u32 {
        self.state.remaining()
    }

    /// How many calls wait for their turn now.
    pub fn waiting(&self) -> usize {
        self.state.queue.len()
    }

    /// Takes `tokens` at once, or none: for work that costs more than one call, or none that goes
    /// through the layer. Passes calls that wait.
    ///
    /// # Errors
    /// A refusal with the moment to come back. `InvalidConfig` if so many never fit, because the
    /// burst is smaller.
    pub fn take(&self, tokens: u32) -> Result<(), Error> {
        self.state.take_many(tokens)
    }
}

impl fmt::Debug for RateLimitHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}
