use std::{fmt, sync::Arc};

use super::{config::ConcurrencyLimitConfig, place::Place, state::State};
use crate::error::Error;

/// Looks at one limit, and changes it. Cheap to clone, and never waits: usable from `Drop` and from
/// an admin page.
///
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
pub struct ConcurrencyLimitHandle {
    state: Arc<State>,
}

impl ConcurrencyLimitHandle {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    /// How many calls may be in flight at once.
    pub fn max(&self) -> u32 {
        self.state.word().max()
    }

    /// How many are. More than [`max`](Self::max) after that was lowered, until enough have ended.
    pub fn in_flight(&self) -> u32 {
        self.state.word().in_flight()
    }

    /// How many wait for a place.
    pub fn waiting(&self) -> usize {
        self.state.waiting()
    }

    /// Sets how many calls may be in flight at once. Zero becomes one.
    ///
    /// A higher limit lets those who wait in at once. A lower one is exact: once this has returned,
    /// no call is let in while as many as `max` are in flight. Those that are finish, and their
    /// places are not given again until there are fewer.
    ///
    /// This is the place for a limit that something else finds out: a controller that watches
    /// latencies, an operator, an endpoint that tells its own capacity. It may be called as often as
    /// every call ends; it takes no lock unless somebody waits. Only this limit changes, nothing
    /// that an endpoint of the same layer has.
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

    /// Applies a config. Calls in flight stay, and those who wait do.
    ///
    /// The handle of a layer changes the limit of the layer, those of all endpoints it guards, and
    /// those of endpoints that come later. That of one endpoint changes its own.
    ///
    /// # Errors
    /// `InvalidConfig` that names all mistakes. Nothing is changed then.
    pub fn update(&self, config: &ConcurrencyLimitConfig) -> Result<(), Error> {
        config.validate()?;
        self.state.update(config);
        Ok(())
    }

    /// Takes a place until what this returns is dropped: for work that does not go through the
    /// layer.
    ///
    /// # Errors
    /// A refusal of kind [`Overloaded`](crate::error::Kind::Overloaded) if none is free, or somebody waits
    /// for one.
    pub fn take(&self) -> Result<Permit, Error> {
        let place = self.state.enter().ok_or_else(|| self.state.refusal())?;
        Ok(Permit::new(place))
    }
}

impl fmt::Debug for ConcurrencyLimitHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}

/// A place under a limit, until it drops. Made by [`ConcurrencyLimitHandle::take`], and kept by the
/// response bodies of `until_body_end` (feature `http`).
///
/// ```
/// use tower_upstream::{ConcurrencyLimitLayer, limit::Permit};
/// struct Backup {
///     counts: Permit,
/// }
/// let backup = Backup { counts: ConcurrencyLimitLayer::new(2).handle().take()? };
/// drop(backup.counts);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[must_use = "the place is given back when this drops"]
pub struct Permit {
    place: Place,
}

impl Permit {
    pub(crate) fn new(place: Place) -> Self {
        Self { place }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.place).finish()
    }
}
