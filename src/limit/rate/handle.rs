use std::{fmt, ops::Deref, sync::Arc, time::Duration};

#[cfg(feature = "http")]
use super::quotas::Remaining;
use super::{config::RateLimitConfig, quotas::Quotas, state::State};
use crate::{
    error::Error,
    guard::{Configured, Newest},
    telemetry::Stats,
};

/// Handle for inspecting the quota of one endpoint, and for changing it.
///
/// Returned by [`RateLimitLayer::handle_for`](super::RateLimitLayer::handle_for). Cheap to clone.
///
/// # Example
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
pub struct QuotaHandle {
    state: Arc<State>,
}

impl QuotaHandle {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    #[cfg(feature = "http")]
    pub(crate) fn each_remaining(&self) -> Vec<Remaining> {
        self.state.bucket.each_remaining(self.state.now())
    }

    /// Returns how many calls would pass at once now. Takes no token.
    pub fn remaining(&self) -> u32 {
        self.state.remaining()
    }

    /// Returns how many calls wait for their turn now.
    pub fn waiting(&self) -> usize {
        self.state.queue.len()
    }

    /// Returns what this quota has counted: calls that waited and that wait, and refusals if the layer
    /// has a [name](super::RateLimitLayer::named).
    ///
    /// Calls that pass are not counted, which would cost each of them.
    ///
    /// ```
    /// use tower_upstream::{Quota, RateLimitLayer};
    /// let layer = RateLimitLayer::new(Quota::per_minute(10));
    /// assert_eq!(layer.handle().stats().refused, None);
    /// assert_eq!(layer.named("minute").handle().stats().refused, Some(0));
    /// ```
    pub fn stats(&self) -> Stats {
        self.state.telemetry.refused_and_waited(self.waiting())
    }

    /// Takes `tokens` at once, or none: for work that costs more than one call, or that does not go
    /// through the layer. Takes them before calls that wait.
    ///
    /// # Errors
    /// A refusal with the moment to come back. [`Kind::InvalidConfig`](crate::error::Kind) if so many
    /// never fit, because the burst is smaller.
    pub fn take(&self, tokens: u32) -> Result<(), Error> {
        let cells = self.state.fitting(tokens)?;
        match cells {
            0 => Ok(()),
            _ => self.state.take(cells).map_err(|wait| self.state.refuse(wait)),
        }
    }

    /// Returns how long it takes until `tokens` at once would pass, if no others are taken: zero if
    /// they would pass now. Takes no token.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind) if so many never fit, because the burst is smaller.
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

    /// Changes the quotas of this endpoint, until those of the layer are changed. Tokens are kept as
    /// by [`RateLimitHandle::set`].
    ///
    /// ```
    /// # use tower_upstream::{Quota, limit::QuotaHandle};
    /// fn calm(endpoint: &QuotaHandle) {
    ///     endpoint.set(Quota::per_second(1));
    /// }
    /// # let _ = calm;
    /// ```
    pub fn set(&self, quotas: impl Into<Quotas>) {
        self.state.clone().apply(&Newest::new(quotas.into()));
    }

    /// Changes the quota of this endpoint to that of `config`, as [`set`](Self::set) does.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind) that names all mistakes; then nothing changes.
    pub fn update(&self, config: &RateLimitConfig) -> Result<(), Error> {
        config.validate()?;
        self.set(config);
        Ok(())
    }
}

impl fmt::Debug for QuotaHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}

/// Handle of a layer, returned by [`RateLimitLayer::handle`](super::RateLimitLayer::handle).
///
/// Inspects the quota above a balancer, or without one, as [`QuotaHandle`] does; [`set`](Self::set)
/// and [`update`](Self::update) change the settings of the layer. Cheap to clone.
///
/// # Example
/// ```
/// use tower_upstream::{Quota, RateLimitLayer};
/// let quota = RateLimitLayer::new(Quota::per_minute(10)).handle();
/// quota.take(5)?;
/// quota.set(Quota::per_minute(100));
/// assert_eq!(quota.remaining(), 50);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RateLimitHandle {
    own: QuotaHandle,
}

impl RateLimitHandle {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { own: QuotaHandle::new(state) }
    }

    /// Changes the quotas of the layer, and below a balancer those of all endpoints that this layer
    /// guards and will guard.
    ///
    /// The share of each bucket that is used stays: half empty stays half empty. Quotas are matched
    /// by their order; one that is new is full. Calls that wait plan anew; one that waits for more
    /// tokens than now fit fails with [`Kind::InvalidConfig`](crate::error::Kind).
    pub fn set(&self, quotas: impl Into<Quotas>) {
        self.own.state.family.update(quotas.into());
    }

    /// Changes the quota of the layer to that of `config`, as [`set`](Self::set) does.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind) that names all mistakes; then nothing changes.
    pub fn update(&self, config: &RateLimitConfig) -> Result<(), Error> {
        config.validate()?;
        self.set(config);
        Ok(())
    }
}

/// The handle of the quota above a balancer, or without one.
impl Deref for RateLimitHandle {
    type Target = QuotaHandle;

    fn deref(&self) -> &QuotaHandle {
        &self.own
    }
}
