use std::{fmt, sync::Arc, time::Duration};

#[cfg(feature = "http")]
use super::quotas::Standing;
use super::{config::RateLimitConfig, quotas::Quotas, state::State};
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

    #[cfg(feature = "http")]
    pub(crate) fn standing(&self) -> Vec<Standing> {
        self.state.bucket.standing(self.state.now())
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
        let cells = self.state.fitting(tokens)?;
        match cells {
            0 => Ok(()),
            _ => self.state.take(cells).map_err(|wait| self.state.refuse(wait)),
        }
    }

    /// How long until `tokens` at once would pass, if nobody else took any: zero if they would now.
    /// Takes none.
    ///
    /// # Errors
    /// `InvalidConfig` if so many never fit, because the burst is smaller.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::{Quota, RateLimitLayer};
    /// let quota = RateLimitLayer::new(Quota::per_minute(10)).handle();
    /// assert_eq!(quota.peek(10)?, Duration::ZERO);
    /// assert!(quota.peek(11).is_err());
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn peek(&self, tokens: u32) -> Result<Duration, Error> {
        let cells = self.state.fitting(tokens)?;
        Ok(if cells == 0 { Duration::ZERO } else { Duration::from_nanos(self.state.wait(cells)) })
    }

    /// Other quotas from now on: here, and below a balancer for every endpoint, those that come
    /// later included. The handle of one endpoint changes that one only.
    ///
    /// The share of each bucket that is used stays: half empty stays half empty. Quotas are matched
    /// by their order; one that is new is full. Calls that wait look again; one that waits for more
    /// tokens than now fit is answered with `InvalidConfig`. What was taken before does not come
    /// back ([`refund_unsent`](super::RateLimitLayer::refund_unsent)).
    ///
    /// ```
    /// use tower_upstream::{Quota, RateLimitLayer};
    /// let quota = RateLimitLayer::new(Quota::per_minute(10)).handle();
    /// quota.take(5)?;
    /// quota.set(Quota::per_minute(100));
    /// assert_eq!(quota.remaining(), 50);
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn set(&self, quotas: impl Into<Quotas>) {
        self.state.set(quotas.into());
    }

    /// [`set`](Self::set) from a config.
    ///
    /// # Errors
    /// `InvalidConfig` that names all mistakes; nothing is changed then.
    pub fn update(&self, config: &RateLimitConfig) -> Result<(), Error> {
        config.validate()?;
        self.set(config);
        Ok(())
    }
}

impl fmt::Debug for RateLimitHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}
