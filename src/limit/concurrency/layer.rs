use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    config::ConcurrencyLimitConfig,
    handle::{ConcurrencyLimitHandle, PermitsHandle},
    permit::AtResponse,
    service::ConcurrencyLimit,
    state::State,
};
use crate::{
    limit::mode::{Refuse, Wait},
    time::Instant,
};

/// Limits how many calls are in flight at once.
///
/// `M` is what becomes of a call for which there is no place: [`Refuse`], the default, or [`Wait`].
/// `E` is when a call gives its place back: [`AtResponse`], the default, or `AtBodyEnd`.
///
/// Above a balancer, or over a single client, there is one limit for all that this layer value and
/// its clones make. Below a balancer each endpoint has a limit of its own.
///
/// # Example
/// ```
/// use std::convert::Infallible;
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{ConcurrencyLimitLayer, error::Kind};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut client = ServiceBuilder::new()
///     .layer(ConcurrencyLimitLayer::new(1))
///     .service(service_fn(async |name: &str| Ok::<_, Infallible>(format!("hello {name}"))));
///
/// let first = client.ready().await.unwrap().call("you");
/// let refused = client.ready().await.unwrap().call("me").await.unwrap_err();
/// assert_eq!(refused.kind(), Kind::Overloaded);
/// assert_eq!(first.await.unwrap(), "hello you");
/// client.ready().await.unwrap().call("me").await.unwrap();
/// # }
/// ```
pub struct ConcurrencyLimitLayer<M = Refuse, E = AtResponse> {
    state: Arc<State>,
    mode: M,
    ends: PhantomData<fn() -> E>,
}

impl ConcurrencyLimitLayer {
    /// Refuses a call with [`Kind::Overloaded`](crate::error::Kind::Overloaded) while `max` are in flight.
    /// Zero becomes one.
    ///
    /// A call has its place from `call` on, until its response is there or is dropped. Readiness
    /// takes none, so clones that are ready and idle cost the others nothing.
    ///
    /// Below a balancer nothing is refused: an endpoint that is full is not ready, and the balancer
    /// takes another. There readiness does hold a place, which a value that is dropped gives back.
    /// Where all are full, calls wait for the first to have a place again, for as long as the
    /// balancer's `fail_fast_after` says; then it answers `AllEndpointsDown`.
    pub fn new(max: u32) -> Self {
        Self::with_config(ConcurrencyLimitConfig::default().with_max(max))
    }

    /// The same from a config. Values out of range become the nearest sane ones.
    pub fn with_config(config: ConcurrencyLimitConfig) -> Self {
        Self { state: State::of_layer(config), mode: Refuse, ends: PhantomData }
    }
}

impl<E> ConcurrencyLimitLayer<Refuse, E> {
    /// Lets a call wait for a place instead, in its response future.
    ///
    /// A call waits at most `max`, and never past its [deadline](crate::deadline::HasDeadline::deadline); then it
    /// is refused. At most [`pending`](ConcurrencyLimitConfig::pending) calls wait; one more is
    /// refused at once. Places are given in the order of the calls, and each to one call: none that
    /// comes later can take it. A call that is dropped while it waits gives on what it was given,
    /// and so does one that is not polled, once its time is over. Timers are a millisecond coarse,
    /// so a refusal may come up to two later.
    ///
    /// The request must implement [`Replay`](crate::replay::Replay), which tells its deadline, as
    /// [`Call`](crate::Call) and `http::Request` do; for a type of yours that is a few lines. The
    /// request and a clone of the inner service wait with the call; that clone is made ready when it
    /// has its place. Until then neither it nor the service that was called keeps what `poll_ready`
    /// reserved.
    ///
    /// A call whose deadline has passed is not made, though there is a place: it fails unsent with
    /// [`Kind::Timeout`](crate::error::Kind::Timeout), which counts against nothing.
    ///
    /// Outside a tokio runtime there is nothing to wait with, and a call is refused instead.
    ///
    /// Below a balancer this means that calls wait for the endpoint that was chosen, rather than go
    /// to another one.
    ///
    /// # Example
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::ConcurrencyLimitLayer;
    /// let layer = ConcurrencyLimitLayer::new(100).wait(Duration::from_millis(500));
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn wait(self, max: Duration) -> ConcurrencyLimitLayer<Wait, E> {
        ConcurrencyLimitLayer { state: self.state, mode: Wait::at_most(max), ends: PhantomData }
    }
}

impl<D, E> ConcurrencyLimitLayer<Wait<D>, E> {
    /// Asks `deadline` for the deadline of a request: for requests that are no
    /// [`HasDeadline`](crate::deadline::HasDeadline), or to use another.
    ///
    /// # Example
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::ConcurrencyLimitLayer;
    /// let layer = ConcurrencyLimitLayer::new(100)
    ///     .wait(Duration::from_millis(500))
    ///     .with_deadline(|_: &String| None);
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn with_deadline<Req, F>(self, deadline: F) -> ConcurrencyLimitLayer<Wait<F>, E>
    where
        F: Fn(&Req) -> Option<Instant>,
    {
        let mode = self.mode.with_deadline(deadline);
        ConcurrencyLimitLayer { state: self.state, mode, ends: PhantomData }
    }
}

impl Default for ConcurrencyLimitLayer {
    fn default() -> Self {
        Self::with_config(ConcurrencyLimitConfig::default())
    }
}

impl<M, E> ConcurrencyLimitLayer<M, E> {
    #[cfg(feature = "http")]
    /// Lets `D` tell when a call has ended.
    pub(crate) fn with_ends<D>(self) -> ConcurrencyLimitLayer<M, D> {
        ConcurrencyLimitLayer { state: self.state, mode: self.mode, ends: PhantomData }
    }

    /// The same settings, with places of its own. What was only set by
    /// [`set_max`](PermitsHandle::set_max) is not among them.
    #[must_use]
    pub fn fresh(&self) -> Self
    where
        M: Clone,
    {
        let state = State::of_layer((*self.state.family.settings()).clone());
        Self { state, mode: self.mode.clone(), ends: PhantomData }
    }

    /// The limit above a balancer, or without one. Below a balancer nothing uses it but
    /// [`update`](ConcurrencyLimitHandle::update): see [`handle_for`](Self::handle_for).
    pub fn handle(&self) -> ConcurrencyLimitHandle {
        ConcurrencyLimitHandle::new(self.state.clone())
    }

    /// The limit of the endpoint with this key below a balancer: from the first call on, while it is
    /// in the set. Where several sets share the layer, the one that came last.
    pub fn handle_for(&self, key: &str) -> Option<PermitsHandle> {
        self.state.family.get(key).map(PermitsHandle::new)
    }
}

impl<M: Clone, E> Clone for ConcurrencyLimitLayer<M, E> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), mode: self.mode.clone(), ends: PhantomData }
    }
}

impl<M: fmt::Debug, E> fmt::Debug for ConcurrencyLimitLayer<M, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimitLayer")
            .field("state", &self.state)
            .field("mode", &self.mode)
            .finish()
    }
}

impl<S, M: Clone, E> Layer<S> for ConcurrencyLimitLayer<M, E> {
    type Service = ConcurrencyLimit<S, M, E>;

    fn layer(&self, inner: S) -> Self::Service {
        ConcurrencyLimit::new(inner, self.state.clone(), self.mode.clone())
    }
}
