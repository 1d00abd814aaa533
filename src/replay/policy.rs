use std::fmt;

use super::{CallOptions, Replay};
use crate::{outcome::TypeName, time::Instant};

/// How a layer gets a copy of a request: [`ByReplay`], or a closure in [`ReplayFn`].
///
/// ```
/// use tower_upstream::replay::{ByReplay, ReplayPolicy};
/// use tower_upstream::Call;
/// assert!(ByReplay.replay(&Call::new(7)).is_some());
/// ```
pub trait ReplayPolicy<Req> {
    /// See [`Replay::replay`].
    fn replay(&self, request: &Req) -> Option<Req>;
    /// See [`Replay::is_idempotent`].
    fn is_idempotent(&self, request: &Req) -> bool;
    /// See [`HasDeadline::deadline`](crate::deadline::HasDeadline::deadline).
    fn deadline(&self, request: &Req) -> Option<Instant>;
    /// See [`Replay::options`].
    fn options(&self, _request: &Req) -> CallOptions {
        CallOptions::NONE
    }
    /// See [`Replay::begin_attempt`].
    fn begin_attempt(&self, request: &mut Req, number: u32);
    /// See [`Replay::is_independent`].
    fn is_independent(&self, _request: &Req) -> bool {
        true
    }
    /// See [`Replay::is_whole`].
    fn is_whole(&self, _request: &Req) -> bool {
        true
    }
    /// See [`Replay::waits_for_caller`].
    fn waits_for_caller(&self, _request: &Req) -> bool {
        false
    }
}

/// Asks the request itself, which implements [`Replay`]. The default.
#[derive(Debug, Clone, Copy, Default)]
pub struct ByReplay;

impl<Req: Replay> ReplayPolicy<Req> for ByReplay {
    fn replay(&self, request: &Req) -> Option<Req> {
        request.replay()
    }

    fn is_idempotent(&self, request: &Req) -> bool {
        request.is_idempotent()
    }

    fn deadline(&self, request: &Req) -> Option<Instant> {
        request.deadline()
    }

    fn options(&self, request: &Req) -> CallOptions {
        request.options()
    }

    fn begin_attempt(&self, request: &mut Req, number: u32) {
        request.begin_attempt(number);
    }

    fn is_independent(&self, request: &Req) -> bool {
        request.is_independent()
    }

    fn is_whole(&self, request: &Req) -> bool {
        request.is_whole()
    }

    fn waits_for_caller(&self, request: &Req) -> bool {
        request.waits_for_caller()
    }
}

/// Asks a closure, which copies what may be sent twice and answers `None` to the rest.
///
/// ```
/// use tower_upstream::replay::{ReplayFn, ReplayPolicy};
/// let copy = ReplayFn::new(|request: &String| Some(request.clone()));
/// assert!(copy.is_idempotent(&String::new()));
/// ```
#[derive(Clone, Copy)]
pub struct ReplayFn<F>(F);

impl<F> ReplayFn<F> {
    /// Makes a policy of `copy`.
    pub const fn new(copy: F) -> Self {
        Self(copy)
    }
}

impl<F, Req> ReplayPolicy<Req> for ReplayFn<F>
where
    F: Fn(&Req) -> Option<Req>,
{
    fn replay(&self, request: &Req) -> Option<Req> {
        (self.0)(request)
    }

    /// It is, where there is a copy: that is what the closure said.
    fn is_idempotent(&self, _: &Req) -> bool {
        true
    }

    fn deadline(&self, _: &Req) -> Option<Instant> {
        None
    }

    fn begin_attempt(&self, _: &mut Req, _: u32) {}
}

impl<F> fmt::Debug for ReplayFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReplayFn").field(&TypeName::<F>::new()).finish()
    }
}
