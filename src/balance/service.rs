use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tower_service::Service;

use super::{
    future::ResponseFuture,
    handle::BalanceHandle,
    kept::Kept,
    set::Set,
    snapshot::{Connected, Snapshot},
    strategy::{Pick, Strategy},
    waiting::Waiting,
};
use crate::{
    choose::{Choose, Chooses, Tried},
    error::{BoxError, Error},
    member::Flight,
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
    fn poll_somebody(
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

    /// Chooses, and calls at once if the service that was chosen is ready, as it nearly always is.
    /// Then the response holds nothing but that call. If not, the response waits.
    #[inline(always)]
    fn dispatch<Req>(
        set: &Arc<Set<S, P>>,
        classify: &C,
        snapshot: &Snapshot<S, P::Table>,
        request: Req,
    ) -> ResponseFuture<S, P, Req, C>
    where
        S: Service<Req>,
        S::Error: Into<BoxError> + 'static,
        P: Pick<Req>,
        C: Clone,
    {
        let candidates = snapshot.candidates(Tried::NONE);
        let index = set.strategy.pick(&snapshot.table, candidates, &request);
        match index.and_then(|index| snapshot.candidate(index)) {
            Some(connected) => Self::call_chosen(set, classify, request, Tried::NONE, connected),
            None => Self::wait(set, classify, request, Tried::NONE, None, None),
        }
    }

    #[inline(always)]
    fn call_chosen<Req>(
        set: &Arc<Set<S, P>>,
        classify: &C,
        request: Req,
        tried: &Tried,
        connected: Arc<Connected<S>>,
    ) -> ResponseFuture<S, P, Req, C>
    where
        S: Service<Req>,
        S::Error: Into<BoxError> + 'static,
        P: Pick<Req>,
        C: Clone,
    {
        let mut service = connected.service.clone();
        let flight = Flight::begin(connected);
        // None to wake: a call that waits asks again, with a waker.
        let died = match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {
                return ResponseFuture::calling(flight, service.call(request), classify.clone());
            }
            Poll::Pending => None,
            Poll::Ready(Err(error)) => Some(error),
        };
        Self::wait(set, classify, request, tried, Some((flight, service)), died)
    }

    /// Another attempt of a call.
    #[cold]
    #[inline(never)]
    fn dispatch_again<Req>(&self, request: Req, tried: &Tried) -> ResponseFuture<S, P, Req, C>
    where
        S: Service<Req>,
        S::Error: Into<BoxError> + 'static,
        P: Pick<Req>,
        C: Clone,
    {
        if !self.set.is_up() {
            return self.wait_or_fail(request, tried);
        }
        let snapshot = self.set.snapshot.load();
        match snapshot.choose_again(&self.set.strategy, tried, tried, &request) {
            Some(connected) => {
                Self::call_chosen(&self.set, &self.classify, request, tried, connected)
            }
            None => Self::wait(&self.set, &self.classify, request, tried, None, None),
        }
    }

    #[cold]
    #[inline(never)]
    fn wait<Req>(
        set: &Arc<Set<S, P>>,
        classify: &C,
        request: Req,
        tried: &Tried,
        first: Option<(Flight<Arc<Connected<S>>>, S)>,
        died: Option<S::Error>,
    ) -> ResponseFuture<S, P, Req, C>
    where
        S: Service<Req>,
        S::Error: Into<BoxError> + 'static,
        P: Pick<Req>,
        C: Clone,
    {
        let (flight, service) = first.unzip();
        let first = flight.as_ref().map(|flight| flight.held().clone()).zip(service);
        let waiting = Waiting::new(set.clone(), request, tried.clone(), first, died);
        ResponseFuture::waiting(flight, waiting, classify.clone())
    }

    /// None to choose: for long already, or may the call wait? What the last snapshot has may be of a
    /// runtime that died, so the call waits for the next.
    #[cold]
    #[inline(never)]
    fn wait_or_fail<Req>(&self, request: Req, tried: &Tried) -> ResponseFuture<S, P, Req, C>
    where
        S: Service<Req>,
        S::Error: Into<BoxError> + 'static,
        P: Pick<Req>,
        C: Clone,
    {
        if self.set.is_failing_fast() {
            return ResponseFuture::refused(
                self.set.snapshot.load().refusal.clone(),
                self.classify.clone(),
            );
        }
        match self.set.ensure_running() {
            Ok(()) => Self::wait(&self.set, &self.classify, request, tried, None, None),
            Err(error) => ResponseFuture::refused(error, self.classify.clone()),
        }
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
        // Who fails fast has a task.
        self.poll_somebody(cx, Set::is_failing_fast).map(Ok)
    }

    // Always: on its own its response goes through memory twice.
    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        let state = self.set.state.load();
        let newest;
        let snapshot = match self.kept.of(state) {
            Some(kept) => kept,
            None if state.is_up() => {
                newest = self.kept.renew(state, &self.set.snapshot);
                &newest
            }
            None => return self.wait_or_fail(request, Tried::NONE),
        };
        Self::dispatch(&self.set, &self.classify, snapshot, request)
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
        self.poll_somebody(cx, |_| false)
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
        if tried.is_empty() { self.call(request) } else { self.dispatch_again(request, tried) }
    }

    fn call_hedging(&mut self, request: Req, tried: &Tried) -> Option<Self::Choosing> {
        if !self.set.strategy.hedges() || !self.set.is_up() {
            return None;
        }
        let snapshot = self.set.snapshot.load();
        let connected = snapshot.choose_hedge(&self.set.strategy, tried, &request)?;
        let mut service = connected.service.clone();
        // One that has to wait for its endpoint is of no use. Of one that is dead the next call tells.
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) | Poll::Pending => return None,
        }
        let flight = Flight::begin(connected);
        Some(ResponseFuture::calling(flight, service.call(request), self.classify.clone()))
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
