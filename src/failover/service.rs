use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{Attempts, ResponseFuture, course::came_too_late};
use crate::{
    budget::Budget,
    choose::{Choose, Tried},
    error::{BoxError, Error},
    outcome::{Classify, ErrIsFailure},
    replay::{ByReplay, ReplayPolicy},
    sync::{self, Lease, Leases},
    time,
};

/// What the services of one layer value have in common.
#[derive(Debug, Clone)]
pub(super) struct Policy<R, C> {
    pub(super) attempts: Attempts,
    pub(super) budget: Budget,
    pub(super) replay: R,
    pub(super) classify: C,
}

/// Tries another endpoint when one fails. Made by a [`FailoverLayer`](super::FailoverLayer).
///
/// # Errors
/// The error of the only attempt, or `RetryExhausted` with the error of each. `Timeout` past the
/// deadline. All but refusals say how many attempts were made and how long it took.
pub struct Failover<S, R = ByReplay, C = ErrIsFailure> {
    inner: S,
    shared: Leases<Shared<S, R, C>, ()>,
}

/// What a call takes along for the case that it fails.
pub(super) struct Shared<S, R, C> {
    pub(super) policy: Arc<Policy<R, C>>,
    /// Never made ready or called itself: the next attempt is made by a clone.
    pub(super) service: S,
}

/// [`Shared`], as a call holds it.
pub(super) type Held<S, R, C> = Arc<Lease<Shared<S, R, C>, ()>>;

impl<S: Clone, R, C> Failover<S, R, C> {
    pub(super) fn new(inner: S, policy: Arc<Policy<R, C>>) -> Self {
        let service = inner.clone();
        Self { inner, shared: Leases::new(Shared { policy, service }, sync::shards()) }
    }
}

impl<S, R, C> Failover<S, R, C> {
    /// The call came too late. What `poll_ready` reserved is given back, since it is not used.
    #[cold]
    #[inline(never)]
    fn refuse<Req>(&mut self) -> ResponseFuture<S, R, C, Req>
    where
        S: Choose<Req> + Clone,
    {
        self.inner = self.shared.core().service.clone();
        let running = self.shared.core().policy.budget.running();
        ResponseFuture::refused(came_too_late(), self.shared.take(), running)
    }
}

impl<S, R, C, Req> Service<Req> for Failover<S, R, C>
where
    S: Choose<Req> + Clone,
    S::Error: Into<BoxError> + 'static,
    R: ReplayPolicy<Req>,
    C: Classify<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = ResponseFuture<S, R, C, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_service)
    }

    #[inline]
    fn call(&mut self, mut request: Req) -> Self::Future {
        let policy = &self.shared.core().policy;
        let deadline = policy.replay.deadline(&request);
        if deadline.is_some_and(|deadline| deadline <= time::now()) {
            return self.refuse();
        }
        let running = policy.budget.running();
        // A copy only where it can be of use.
        let copy = if policy.attempts.max > 1 { policy.replay.replay(&request) } else { None };
        let idempotent = policy.replay.is_idempotent(&request);
        policy.replay.begin_attempt(&mut request, 1);
        let inner = self.inner.call_avoiding(request, &Tried::default());
        ResponseFuture::new(inner, copy, idempotent, deadline, self.shared.take(), running)
    }
}

impl<S: Clone, R, C> Clone for Failover<S, R, C> {
    #[inline]
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: self.shared.clone() }
    }
}

impl<S: fmt::Debug, R, C> fmt::Debug for Failover<S, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failover")
            .field("attempts", &self.shared.core().policy.attempts)
            .field("budget", &self.shared.core().policy.budget)
            .field("inner", &self.inner)
            .finish()
    }
}
