use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    dispatch::Dispatch,
    future::ResponseFuture,
    handle::BalanceHandle,
    kept::Kept,
    set::Set,
    snapshot::Snapshot,
    strategy::{Pick, Strategy},
};
use crate::{
    choose::{Choose, Chooses, Tried},
    error::{BoxError, Error},
    outcome::{Classify, ErrIsFailure},
    sync::WaitKey,
};

/// Chooses one endpoint for each call. Made by a [`BalanceLayer`](super::BalanceLayer).
///
/// Clones share one set. Its task ends with the last clone and the last call that waits.
///
/// # Readiness
/// Ready while there is an endpoint to choose. If there is none, it is pending for at most
/// [`fail_fast_after`](super::BalanceConfig::fail_fast_after); then it is ready, and calls fail at once.
/// It never returns an error, and reserves nothing.
///
/// # Bounds
/// A clone that has made more than one call keeps the list of members that it used last, up to 256 KiB,
/// until its next call, which makes that call faster than the first. It never keeps the service of a
/// member that has left the set.
///
/// # Errors
/// `NoEndpoints`, `AllEndpointsDown` or `CircuitOpen`, all unsent, if there is no endpoint to choose;
/// `RateLimited`, unsent, if each is spent by a rate limit below the balancer: at once if none has a token
/// again in time, with the earliest moment at which one has;
/// `Unavailable` outside a tokio runtime; otherwise what the chosen service returns.
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{
///     BoxError, Endpoint, LeastRequest, balance::{Balance, BalanceLayer}, connect_fn, discover,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let balance: Balance<_, LeastRequest> = ServiceBuilder::new()
///     .layer(BalanceLayer::new(discover::fixed(["a:1"])?, LeastRequest::new()))
///     .service(connect_fn(|_: &Endpoint| service_fn(async |n: u32| Ok::<_, BoxError>(n + 1))));
/// assert_eq!(balance.clone().oneshot(7).await?, 8);
/// # Ok(()) }
/// ```
pub struct Balance<S, P: Strategy, C = ErrIsFailure> {
    set: Arc<Set<S, P>>,
    waits: WaitKey,
    kept: Kept<S, P::Table>,
    classify: C,
}

impl<S, P, C> Balance<S, P, C>
where
    S: Clone + Send + Sync + 'static,
    P: Strategy,
{
    pub(super) fn new(set: Arc<Set<S, P>>, classify: C) -> Self {
        Self { set, waits: WaitKey::default(), kept: Kept::default(), classify }
    }

    /// Returns the handle of the layer that made this, as
    /// [`BalanceLayer::handle`](super::BalanceLayer::handle) does.
    pub fn handle(&self) -> BalanceHandle {
        BalanceHandle::new(self.set.sets().clone())
    }

    pub(super) fn set(&self) -> &Arc<Set<S, P>> {
        &self.set
    }

    /// The snapshot that this clone keeps, if it is that of the set.
    pub(super) fn kept(&self) -> Option<&Snapshot<S, P::Table>> {
        self.kept.of(self.set.state.load())
    }

    /// Ready when a member is eligible, or with `is_enough`.
    #[cold]
    fn poll_candidate(
        &mut self,
        cx: &mut Context<'_>,
        is_enough: impl Fn(&Set<S, P>) -> bool,
    ) -> Poll<()> {
        for registered in [false, true] {
            // Without a runtime the call says so.
            if is_enough(&self.set) || self.set.ensure_running().is_err() || self.set.is_up() {
                self.set.waiting.leave(&mut self.waits);
                return Poll::Ready(());
            }
            if !registered {
                self.set.waiting.wait(&mut self.waits, cx.waker());
            }
        }
        Poll::Pending
    }
}

impl<S, P, C, Req> Service<Req> for Balance<S, P, C>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    P: Pick<Req>,
    C: Classify<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = Error;
    type Future = ResponseFuture<S, P, Req, C>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.set.is_up() {
            return Poll::Ready(Ok(()));
        }
        // A set that fails fast has a task, and one that drains has sessions.
        self.poll_candidate(cx, |set| set.is_failing_fast() || set.homes().is_some()).map(Ok)
    }

    // Always: on its own its response goes through memory twice.
    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        let (set, classify) = (&self.set, &self.classify);
        let state = set.state.load();
        let newest;
        let snapshot = match self.kept.of(state) {
            Some(kept) => kept,
            None if state.is_plain() => {
                newest = self.kept.renew(state, &set.snapshot);
                &newest
            }
            None => return Dispatch::new(set, classify, request, Tried::NONE).explained(state),
        };
        Dispatch::new(set, classify, request, Tried::NONE).first(snapshot)
    }
}

impl<S, P, C> Chooses for Balance<S, P, C>
where
    S: Clone + Send + Sync + 'static,
    P: Strategy,
{
    fn has_untried(&self, tried: &Tried) -> bool {
        self.set.snapshot.load().has_untried(tried)
    }

    fn can_hedge(&self, tried: &Tried) -> bool {
        self.set.strategy.hedges() && self.set.is_up() && self.set.snapshot.load().can_hedge(tried)
    }

    fn poll_endpoint(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_candidate(cx, |_| false)
    }
}

impl<S, P, C, Req> Choose<Req> for Balance<S, P, C>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    P: Pick<Req>,
    C: Classify<S::Response, S::Error> + Clone,
{
    type Choosing = ResponseFuture<S, P, Req, C>;

    // Always: that the first attempt has tried nothing is known where it is called.
    #[inline(always)]
    fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
        if tried.is_empty() {
            return self.call(request);
        }
        Dispatch::new(&self.set, &self.classify, request, tried).again()
    }

    fn call_hedging(&mut self, request: Req, tried: &Tried) -> Option<Self::Choosing> {
        Dispatch::new(&self.set, &self.classify, request, tried).hedge()
    }
}

/// A clone shares the set, and waits for itself.
impl<S, P: Strategy, C: Clone> Clone for Balance<S, P, C> {
    #[inline]
    fn clone(&self) -> Self {
        let (set, classify) = (self.set.clone(), self.classify.clone());
        Self { set, waits: WaitKey::default(), kept: Kept::default(), classify }
    }
}

impl<S, P: Strategy, C> Drop for Balance<S, P, C> {
    #[inline]
    fn drop(&mut self) {
        self.set.waiting.leave(&mut self.waits);
    }
}

impl<S, P: Strategy, C> fmt::Debug for Balance<S, P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Balance").field(&self.set).finish()
    }
}
