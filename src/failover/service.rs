use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    FailoverHandle, ResponseFuture,
    journey::Journey,
    ticket::{Reserve, Ticket},
};
use crate::{
    choose::{Choose, Tried},
    course::{LiveAttempts, Plan, modes},
    error::{BoxError, Error},
    outcome::{Classify, ErrIsFailure},
    replay::{ByReplay, CallOptions, ReplayPolicy},
    sync::{self, Leases},
    time::{self, Instant},
};

/// Service that tries another endpoint when one fails. Made by a [`FailoverLayer`](super::FailoverLayer).
///
/// # Errors
/// The error of the only attempt, or `RetryExhausted` with the error of each attempt. `Timeout` past
/// the deadline. All but refusals have the number of attempts, and how long the call took.
///
/// # Cancel safety
/// Dropping the response future drops the attempt that runs, and its hedge, and no other follows.
pub struct Failover<S, R = ByReplay, C = ErrIsFailure> {
    inner: S,
    reserve: Leases<Reserve<S, R, C>, ()>,
}

impl<S: Clone, R, C> Failover<S, R, C> {
    pub(super) fn new(inner: S, live: Arc<LiveAttempts>, plan: Arc<Plan<R, C>>) -> Self {
        let reserve = Reserve { live, plan, service: inner.clone() };
        Self { inner, reserve: Leases::new(reserve, sync::shards()) }
    }
}

impl<S, R, C> Failover<S, R, C> {
    /// Returns a handle to the settings and counts of this service's layer.
    pub fn handle(&self) -> FailoverHandle {
        FailoverHandle { live: self.reserve.core().live.clone() }
    }

    /// Returns the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service, to be changed. Only first attempts are made by it; further ones are
    /// made by clones of the service that the layer was given.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service, without this one.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// The call came too late. What `poll_ready` reserved is given back, since it is not used.
    #[cold]
    #[inline(never)]
    fn refuse<Req>(&mut self, deadline: Option<Instant>) -> ResponseFuture<S, R, C, Req>
    where
        S: Choose<Req> + Clone,
    {
        self.inner = self.reserve.core().service.clone();
        let ticket = Ticket::new(self.reserve.take(), 0, false, deadline);
        ResponseFuture::refused(ticket)
    }
}

/// Whether a copy may be of use to a call with options of its own.
#[cold]
fn uses_copies(live: &LiveAttempts, options: CallOptions) -> bool {
    live.attempts().with_options(options).use_copies()
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
        let Reserve { live, plan, .. } = &**self.reserve.core();
        let deadline = plan.replay.deadline(&request);
        if deadline.is_some_and(|deadline| deadline <= time::now()) {
            return self.refuse(deadline);
        }
        let (modes, options) = (live.modes(), plan.replay.options(&request));
        // A copy only where it can be of use.
        let uses_copies = match options.is_set() {
            true => uses_copies(live, options),
            false => modes & modes::COPIES != 0,
        };
        let copy = if uses_copies { plan.replay.replay(&request) } else { None };
        let idempotent = plan.replay.is_idempotent(&request);
        plan.replay.begin_attempt(&mut request, 1);
        let inner = self.inner.call_avoiding(request, &Tried::default());
        let mut ticket = Ticket::new(self.reserve.take(), modes, idempotent, deadline);
        let journey = options.is_set().then(|| Journey::with_options(&mut ticket, options));
        ResponseFuture::new(inner, copy, ticket, journey)
    }
}

impl<S: Clone, R, C> Clone for Failover<S, R, C> {
    #[inline]
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), reserve: self.reserve.clone() }
    }
}

impl<S: fmt::Debug, R, C> fmt::Debug for Failover<S, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failover")
            .field("attempts", &self.reserve.core().live.attempts())
            .field("budget", &self.reserve.core().plan.budget)
            .field("inner", &self.inner)
            .finish()
    }
}
