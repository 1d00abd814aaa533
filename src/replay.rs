//! What failing over may ask of a request.
//!
//! With the feature `http`, requests whose body is held in memory are copied as they are. One that
//! streams is sent once, unless a `ReplayBodyLayer` keeps what passes.

use std::fmt;

use crate::{deadline::HasDeadline, outcome::TypeName, time::Instant};

/// What a layer may ask of a request that it might send again.
///
/// Implemented for [`Call`](crate::Call) and, with the feature `http`, for `http::Request` with
/// any body. Implement it for a request of yours, or give
/// [`FailoverLayer::with_replay`](crate::failover::FailoverLayer::with_replay) a closure.
///
/// # Example
/// ```
/// use tower_upstream::{deadline::HasDeadline, replay::Replay};
///
/// #[derive(Clone)]
/// enum Query { Read(u64), Write(u64, String) }
///
/// impl HasDeadline for Query {}
///
/// impl Replay for Query {
///     fn replay(&self) -> Option<Self> {
///         Some(self.clone())
///     }
///     fn is_idempotent(&self) -> bool {
///         matches!(self, Query::Read(_))
///     }
/// }
/// # assert!(!Query::Write(1, String::new()).is_idempotent() && Query::Read(1).is_idempotent());
/// ```
pub trait Replay: HasDeadline + Sized {
    /// A copy to send if this one fails; `None` if it cannot be copied, such as a streaming body.
    /// Then there is one attempt.
    fn replay(&self) -> Option<Self>;

    /// Whether sending it twice does no more than sending it once.
    ///
    /// If not, it is sent again only where nothing can have reached an endpoint.
    fn is_idempotent(&self) -> bool;

    /// Notes which attempt this copy is for, from 1.
    fn begin_attempt(&mut self, _number: u32) {}

    /// Whether a copy, made earlier, can still be sent: a body that streams may have turned out
    /// too long to be kept.
    fn is_whole(&self) -> bool {
        true
    }
}

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
    /// See [`HasDeadline::deadline`].
    fn deadline(&self, request: &Req) -> Option<Instant>;
    /// See [`Replay::begin_attempt`].
    fn begin_attempt(&self, request: &mut Req, number: u32);
    /// See [`Replay::is_whole`].
    fn is_whole(&self, _request: &Req) -> bool {
        true
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

    fn begin_attempt(&self, request: &mut Req, number: u32) {
        request.begin_attempt(number);
    }

    fn is_whole(&self, request: &Req) -> bool {
        request.is_whole()
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
