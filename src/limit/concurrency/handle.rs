use std::{fmt, ops::Deref, sync::Arc};

use super::{config::ConcurrencyLimitConfig, permit::Permit, state::State};
use crate::{
    error::Error,
    guard::{Configured, Newest},
    telemetry::Stats,
};

/// Handle for inspecting the limit of one endpoint, and for changing it.
///
/// Returned by [`ConcurrencyLimitLayer::handle_for`](super::ConcurrencyLimitLayer::handle_for). Cheap
/// to clone, and never waits: usable from `Drop`.
///
/// # Example
/// ```
/// use tower_upstream::ConcurrencyLimitLayer;
/// let limit = ConcurrencyLimitLayer::new(2).handle();
/// let backup = limit.take()?;
/// assert_eq!((limit.in_flight(), limit.max()), (1, 2));
/// drop(backup);
/// assert_eq!(limit.in_flight(), 0);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct PermitsHandle {
    state: Arc<State>,
}

impl PermitsHandle {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    /// Returns how many calls may be in flight at once.
    pub fn max(&self) -> u32 {
        self.state.word().max()
    }

    /// Returns how many calls are in flight. More than [`max`](Self::max) after that was lowered,
    /// until enough have ended.
    pub fn in_flight(&self) -> u32 {
        self.state.word().in_flight()
    }

    /// Returns how many calls wait for a place.
    pub fn waiting(&self) -> usize {
        self.state.waiting()
    }

    /// Returns what this limit has counted: calls in flight, calls that waited and that wait, and
    /// refusals if the layer has a [name](super::ConcurrencyLimitLayer::named).
    ///
    /// ```
    /// use tower_upstream::ConcurrencyLimitLayer;
    /// let limit = ConcurrencyLimitLayer::new(2).handle();
    /// let permit = limit.take()?;
    /// assert_eq!((limit.stats().in_flight, limit.stats().refused), (Some(1), None));
    /// # drop(permit);
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn stats(&self) -> Stats {
        let in_flight = Some(u64::from(self.in_flight()));
        Stats { in_flight, ..self.state.telemetry.refused_and_waited(self.waiting()) }
    }

    /// Sets how many calls may be in flight at once, under this limit alone. Zero becomes one.
    ///
    /// A higher limit lets calls that wait in at once. A lower one is exact: once this has returned,
    /// no call is let in while as many as `max` are in flight. Calls in flight finish, and their
    /// places are not given again until there are fewer.
    ///
    /// For a limit that something else finds out: a controller that watches latencies, an operator,
    /// an endpoint that reports its own capacity. It may be called as often as every call ends; it
    /// takes no lock unless a call waits.
    ///
    /// ```
    /// use tower_upstream::ConcurrencyLimitLayer;
    /// let limit = ConcurrencyLimitLayer::new(10).handle();
    /// limit.set_max(limit.max() / 2);
    /// assert_eq!(limit.max(), 5);
    /// ```
    pub fn set_max(&self, max: u32) {
        self.state.set_max(max);
    }

    /// Changes the settings of this endpoint, until those of the layer are changed. Calls in flight
    /// and calls that wait stay.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind) that names all mistakes; then nothing changes.
    pub fn update(&self, config: &ConcurrencyLimitConfig) -> Result<(), Error> {
        config.validate()?;
        self.state.clone().apply(&Newest::new(config.clone()));
        Ok(())
    }

    /// Takes a place until the returned permit is dropped: for work that does not go through the
    /// layer.
    ///
    /// # Errors
    /// A refusal of kind [`Overloaded`](crate::error::Kind::Overloaded) if no place is free, or a
    /// call waits for one.
    pub fn take(&self) -> Result<Permit, Error> {
        Permit::enter(&self.state).ok_or_else(|| self.state.refuse())
    }
}

impl fmt::Debug for PermitsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}

/// Handle of a layer, returned by
/// [`ConcurrencyLimitLayer::handle`](super::ConcurrencyLimitLayer::handle).
///
/// Inspects and changes the limit above a balancer, or without one, as [`PermitsHandle`] does; its
/// [`update`](Self::update) changes the settings of the layer. Cheap to clone.
///
/// # Example
/// ```
/// use tower_upstream::{ConcurrencyLimitLayer, limit::ConcurrencyLimitConfig};
/// let limit = ConcurrencyLimitLayer::new(2).handle();
/// limit.update(&ConcurrencyLimitConfig::default().with_max(3))?;
/// assert_eq!(limit.max(), 3);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ConcurrencyLimitHandle {
    own: PermitsHandle,
}

impl ConcurrencyLimitHandle {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { own: PermitsHandle::new(state) }
    }

    /// Changes the settings of the layer, and below a balancer those of all endpoints that this layer
    /// guards and will guard. Calls in flight and calls that wait stay.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind) that names all mistakes; then nothing changes.
    pub fn update(&self, config: &ConcurrencyLimitConfig) -> Result<(), Error> {
        config.validate()?;
        self.own.state.family.update(config.clone());
        Ok(())
    }
}

/// The handle of the limit above a balancer, or without one.
impl Deref for ConcurrencyLimitHandle {
    type Target = PermitsHandle;

    fn deref(&self) -> &PermitsHandle {
        &self.own
    }
}
