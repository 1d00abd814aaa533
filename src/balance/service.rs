use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tower_service::Service;

use super::{
    Pick, ResponseFuture, Strategy,
    future::{Flight, Unsent},
    set::{Connected, Set},
};
use crate::{
    choose::{Choose, Chooses, Tried},
    error::{BoxError, Error},
    member::Member,
    sync::WaitKey,
};

/// Chooses one endpoint for each call. Made by a [`BalanceLayer`](super::BalanceLayer).
///
/// Clones share one set; the last one, or the last call that waits, ends its task.
///
/// # Readiness
/// Ready while there is somebody to choose. With nobody it is pending for at most
/// [`fail_fast_after`](super::BalanceConfig::fail_fast_after); then it is ready, and calls fail at
/// once. It never answers `Err`, and reserves nothing.
///
/// # Errors
/// `NoEndpoints`, `AllEndpointsDown` or `CircuitOpen`, all unsent, for want of somebody to choose;
/// `Unavailable` outside a tokio runtime; otherwise what the chosen service answers.
pub struct Balance<S, P: Strategy> {
    set: Arc<Set<S, P>>,
    waits: WaitKey,
}

impl<S, P> Balance<S, P>
where
    S: Clone + Send + Sync + 'static,
    P: Strategy,
{
    pub(super) fn new(set: Arc<Set<S, P>>) -> Self {
        Self { set, waits: WaitKey::default() }
    }

    /// Looks at the set. Does not keep it alive.
    pub fn handle(&self) -> BalanceHandle {
        let set = Arc::downgrade(&self.set);
        BalanceHandle {
            members: Arc::new(move || {
                set.upgrade()
                    .map_or_else(|| Arc::new([]) as Arc<[_]>, |set| set.snapshot.load().all.clone())
            }),
        }
    }

    #[cold]
    fn poll_somebody(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for registered in [false, true] {
            // Who fails fast has a task. Without a runtime the call says so.
            if self.set.is_failing_fast() || self.set.ensure_running().is_err() || self.set.is_up()
            {
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
    #[inline]
    fn dispatch<Req>(
        &self,
        request: Req,
        tried: &Tried,
        choose: impl FnOnce(&Self, &Req, &Tried) -> Option<(Flight, Connected<S>)>,
    ) -> ResponseFuture<S, P, Req>
    where
        S: Service<Req>,
        S::Error: Into<BoxError> + 'static,
        P: Pick<Req>,
    {
        if !self.set.is_up() {
            // What the last snapshot has may be of a runtime that died: the call waits for the next.
            return match self.check() {
                Ok(()) => self.wait(request, tried, None, None),
                Err(error) => ResponseFuture::refused(error),
            };
        }
        let Some((flight, mut first)) = choose(self, &request, tried) else {
            return self.wait(request, tried, None, None);
        };
        // Nobody to wake: who waits asks again, with a waker.
        match first.service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => ResponseFuture::calling(flight, first.service.call(request)),
            Poll::Pending => self.wait(request, tried, Some((flight, first)), None),
            Poll::Ready(Err(error)) => {
                let died = Some(Error::from_service(error));
                self.wait(request, tried, Some((flight, first)), died)
            }
        }
    }

    #[inline]
    fn choose<Req>(&self, request: &Req, tried: &Tried) -> Option<(Flight, Connected<S>)>
    where
        P: Pick<Req>,
    {
        let snapshot = self.set.snapshot.load();
        let candidates = snapshot.candidates(tried);
        let strategy = &self.set.strategy;
        let index = strategy.pick(&snapshot.table, candidates, request)?;
        let connected = snapshot.service(index)?.clone();
        Some((Flight::begin(snapshot.members.get(index)?), connected))
    }

    /// Another attempt of a call.
    #[cold]
    #[inline(never)]
    fn dispatch_again<Req>(&self, request: Req, tried: &Tried) -> ResponseFuture<S, P, Req>
    where
        S: Service<Req>,
        S::Error: Into<BoxError> + 'static,
        P: Pick<Req>,
    {
        self.dispatch(request, tried, Self::choose_again)
    }

    fn choose_again<Req>(&self, request: &Req, tried: &Tried) -> Option<(Flight, Connected<S>)>
    where
        P: Pick<Req>,
    {
        let snapshot = self.set.snapshot.load();
        let (member, connected) =
            snapshot.choose_again(&self.set.strategy, tried, tried, request)?;
        Some((Flight::begin(member), connected.clone()))
    }

    #[cold]
    #[inline(never)]
    fn wait<Req>(
        &self,
        request: Req,
        tried: &Tried,
        first: Option<(Flight, Connected<S>)>,
        died: Option<Error>,
    ) -> ResponseFuture<S, P, Req>
    where
        S: Service<Req>,
    {
        let (flight, first) = first.unzip();
        let unsent = Unsent::new(self.set.clone(), request, tried.clone(), first, died);
        ResponseFuture::choosing(flight, unsent)
    }

    /// Nobody to choose: for long already, or may the call wait?
    #[cold]
    fn check(&self) -> Result<(), Error> {
        if self.set.is_failing_fast() {
            return Err(self.set.snapshot.load().verdict.error());
        }
        self.set.ensure_running()
    }
}

impl<S, P, Req> Service<Req> for Balance<S, P>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    P: Pick<Req>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = ResponseFuture<S, P, Req>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.set.is_up() {
            return Poll::Ready(Ok(()));
        }
        self.poll_somebody(cx).map(Ok)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.dispatch(request, &Tried::default(), Self::choose)
    }
}

impl<S, P: Strategy> Chooses for Balance<S, P> {
    fn has_untried(&self, tried: &Tried) -> bool {
        self.set.snapshot.load().has_untried(tried)
    }
}

impl<S, P, Req> Choose<Req> for Balance<S, P>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    P: Pick<Req>,
{
    type Choosing = ResponseFuture<S, P, Req>;

    // Always: that the first attempt has tried nothing is known where it is called.
    #[inline(always)]
    fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
        if tried.is_empty() { self.call(request) } else { self.dispatch_again(request, tried) }
    }
}

/// A clone shares the set, and waits for itself.
impl<S, P: Strategy> Clone for Balance<S, P> {
    #[inline]
    fn clone(&self) -> Self {
        Self { set: self.set.clone(), waits: WaitKey::default() }
    }
}

impl<S, P: Strategy> Drop for Balance<S, P> {
    #[inline]
    fn drop(&mut self) {
        self.set.waiting.leave(&mut self.waits);
    }
}

impl<S, P: Strategy> fmt::Debug for Balance<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Balance").field(&self.set).finish()
    }
}

/// Looks at the members of a balanced set, for an admin page or a test.
///
/// # Example
/// ```
/// use tower::ServiceBuilder;
/// use tower_upstream::{Endpoint, balance::{BalanceLayer, LeastRequest}, connect_fn, discover};
/// # use tower::service_fn;
/// # fn client() -> impl Clone + Send + Sync + 'static { () }
///
/// let balance = ServiceBuilder::new()
///     .layer(BalanceLayer::new(discover::fixed(["a:1"])?, LeastRequest::default()))
///     .service(connect_fn(|_: &Endpoint| client()));
/// let handle = balance.handle();
/// assert!(handle.members().is_empty(), "nothing is watched before the first call");
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct BalanceHandle {
    members: Arc<dyn Fn() -> Arc<[Arc<Member>]> + Send + Sync>,
}

impl BalanceHandle {
    /// The members as of the last snapshot, ordered by key; none once the balancer is gone.
    pub fn members(&self) -> Arc<[Arc<Member>]> {
        (self.members)()
    }
}

impl fmt::Debug for BalanceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BalanceHandle").field(&self.members()).finish()
    }
}
