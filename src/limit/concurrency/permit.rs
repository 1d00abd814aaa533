//! What one call has under a limit: a place, or a number in the line.

use std::{fmt, marker::PhantomData, sync::Arc};

use super::state::{Entry, State};
use crate::{
    error::{BoxError, Error},
    guard::Hold,
    limit::queue::{Taken, Waiter},
    time::Instant,
};

/// Place under a concurrency limit, given back when this is dropped.
///
/// Returned by [`PermitsHandle::take`](super::PermitsHandle::take), and held by each call that passes.
/// `E` is when a call ends: [`AtResponse`], or `AtBodyEnd` (feature `http`).
///
/// # Example
/// ```
/// use tower_upstream::{ConcurrencyLimitLayer, limit::Permit};
/// struct Backup {
///     counts: Permit,
/// }
/// let backup = Backup { counts: ConcurrencyLimitLayer::new(2).handle().take()? };
/// drop(backup.counts);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[must_use = "the place is given back when this is dropped"]
pub struct Permit<E = AtResponse> {
    /// Where the place was taken, if there is one.
    of: Option<Arc<State>>,
    ends: PhantomData<fn() -> E>,
}

impl<E> Permit<E> {
    #[inline]
    fn new(of: Option<Arc<State>>) -> Self {
        Self { of, ends: PhantomData }
    }

    /// Takes a place, if one is free and none waits for it.
    #[inline]
    pub(super) fn enter(state: &Arc<State>) -> Option<Self> {
        state.enter().then(|| Self::taken(state))
    }

    /// Takes a place, or waits for one until `until` if fewer than `most` do.
    pub(super) fn enter_or_wait(
        state: &Arc<State>,
        most: usize,
        times: (Instant, Instant),
    ) -> Entered<E> {
        let mut waiting = 0;
        let joined = Waiter::join(state, 1, times, |line| {
            waiting = line.waiting() + 1;
            match state.enter_or_queue(line.waiting() < most) {
                Entry::InLine => Ok(()),
                Entry::InFlight => Err(Some(Self::taken(state))),
                Entry::Full => Err(None),
            }
        });
        match joined {
            Ok(waiter) => {
                state.telemetry.began_to_wait(waiting);
                Entered::Waits(waiter)
            }
            Err(Some(permit)) => Entered::Now(permit),
            Err(None) => Entered::Not,
        }
    }

    #[inline]
    pub(super) fn has_place(&self) -> bool {
        self.of.is_some()
    }

    #[inline]
    pub(super) fn give_back(&mut self) {
        if let Some(state) = self.of.take() {
            state.leave();
        }
    }

    /// Takes the place out of this, for what holds it from now on.
    #[inline]
    pub(crate) fn hand_on<F>(&mut self) -> Permit<F> {
        Permit::new(self.of.take())
    }

    // Out of line, so that a call that is done carries this only once.
    #[inline(never)]
    fn abandon(&mut self) {
        self.give_back();
    }
}

impl<E> Drop for Permit<E> {
    #[inline]
    fn drop(&mut self) {
        if self.has_place() {
            self.abandon();
        }
    }
}

/// What becomes of a call that may wait.
pub(super) enum Entered<E> {
    Now(Permit<E>),
    Waits(Waiter<State>),
    /// As many wait as may.
    Not,
}

impl<E> Taken<State> for Permit<E> {
    #[inline]
    fn taken(state: &Arc<State>) -> Self {
        Self::new(Some(state.clone()))
    }

    #[inline]
    fn nothing() -> Self {
        Self::new(None)
    }
}

/// End of a call at its response. The default.
///
/// ```
/// use tower_upstream::limit::{AtResponse, ConcurrencyLimitLayer, Refuse};
///
/// struct Limits {
///     queries: ConcurrencyLimitLayer<Refuse, AtResponse>,
/// }
/// let limits = Limits { queries: ConcurrencyLimitLayer::new(10) };
/// # let _ = limits.queries;
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct AtResponse;

impl<T, E: Into<BoxError> + 'static> Hold<T, E> for Permit {
    type Response = T;

    #[inline(always)]
    fn settle(&mut self, result: Result<T, E>) -> Result<T, Error> {
        self.give_back();
        result.map_err(Error::from_service)
    }
}

impl<E> fmt::Debug for Permit<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.of).finish()
    }
}
