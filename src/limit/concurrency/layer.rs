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
    limit::{
        mode::{Refuse, Wait},
        telemetry::Setup,
    },
    telemetry::Events,
    time::Instant,
};

/// Layer that limits how many calls are in flight at once.
///
/// `M` is what happens to a call for which there is no place: [`Refuse`], the default, or [`Wait`]. `E`
/// is when a call gives its place back: [`AtResponse`], the default, or `AtBodyEnd` (feature `http`).
///
/// Above a balancer, or over a single client, this layer value and its clones share one limit. Below a
/// balancer each endpoint has a limit of its own.
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
    /// Creates a layer that refuses calls while `max` are in flight. Zero becomes one.
    ///
    /// A call has its place from `call` until its response is there or is dropped. Readiness takes no
    /// place, so clones that are ready and idle cost the others nothing.
    ///
    /// Below a balancer nothing is refused: an endpoint that is full is not ready, and the balancer
    /// chooses another. There, readiness does hold a place, which a value that is dropped gives back. If
    /// all endpoints are full, calls wait for the first that has a place again, at most for the
    /// balancer's `fail_fast_after`, and then fail with
    /// [`Kind::AllEndpointsDown`](crate::error::Kind::AllEndpointsDown).
    ///
    /// # Errors
    /// Calls without a place fail with [`Kind::Overloaded`](crate::error::Kind::Overloaded).
    ///
    /// # Cancel safety
    /// A response that is dropped gives its place back.
    pub fn new(max: u32) -> Self {
        Self::with_config(ConcurrencyLimitConfig::default().with_max(max))
    }

    /// Creates a layer from a config. Values out of range become the nearest valid ones; see
    /// [`ConcurrencyLimitConfig::validate`].
    ///
    /// ```
    /// use tower_upstream::{ConcurrencyLimitLayer, limit::ConcurrencyLimitConfig};
    /// let layer = ConcurrencyLimitLayer::with_config(ConcurrencyLimitConfig::default());
    /// assert_eq!(layer.handle().max(), 1_024);
    /// ```
    pub fn with_config(config: ConcurrencyLimitConfig) -> Self {
        Self::of(config, None)
    }

    /// With its name, if it has one. [`named`](Self::named) makes the state anew.
    pub(crate) fn of(config: ConcurrencyLimitConfig, name: Option<Arc<str>>) -> Self {
        let setup = Setup { name, ..Setup::default() };
        Self { state: State::of_layer(config, setup), mode: Refuse, ends: PhantomData }
    }
}

impl<E> ConcurrencyLimitLayer<Refuse, E> {
    /// Lets calls wait for a place, in the response future, for at most `max`.
    ///
    /// Places are given in the order of the calls, and each to one call: a later call cannot take it.
    /// Timers of tokio have a resolution of 1 ms, so a refusal may come up to 2 ms late.
    ///
    /// The request must implement [`HasDeadline`](crate::deadline::HasDeadline), as
    /// [`Call`](crate::Call) and `http::Request` do. For other requests, see
    /// [`with_deadline`](Self::with_deadline).
    ///
    /// A call that waits holds its request and a clone of the inner service. The clone is made ready
    /// when the call has its place; until then neither it nor the service that was called keeps what
    /// `poll_ready` reserved.
    ///
    /// Outside a tokio runtime there are no timers, and calls are refused instead. Below a balancer,
    /// calls wait for the endpoint that was chosen, instead of going to another one.
    ///
    /// # Errors
    /// A refusal, as of [`new`](ConcurrencyLimitLayer::new), after `max` or at the
    /// [deadline](crate::deadline::HasDeadline::deadline) of the call. A call whose deadline has passed
    /// is not made even if there is a place: it fails unsent with
    /// [`Kind::Timeout`](crate::error::Kind::Timeout), which counts against nothing.
    ///
    /// # Cancel safety
    /// A call that is dropped while it waits gives its place, if it was given one, to the next. So does
    /// a call that is not polled any more, once it has waited for `max`.
    ///
    /// # Bounds
    /// At most [`pending`](ConcurrencyLimitConfig::pending) calls wait; others are refused at once.
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
    /// Sets the closure that returns the deadline of a request. Default: the request's own, which is a
    /// [`HasDeadline`](crate::deadline::HasDeadline).
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

    /// Names this layer, in refusals ([`Error::guard`](crate::Error::guard)) and in events.
    ///
    /// Refusals of a named layer are counted: see [`stats`](PermitsHandle::stats). The returned layer
    /// has places of its own, so name it before it is used. Default: no name.
    ///
    /// ```
    /// use tower_upstream::ConcurrencyLimitLayer;
    /// let limit = ConcurrencyLimitLayer::new(1).named("uploads").handle();
    /// let permit = limit.take()?;
    /// assert_eq!(limit.take().unwrap_err().guard(), Some("uploads"));
    /// assert_eq!(limit.stats().refused, Some(1));
    /// # drop(permit);
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        self.anew(|setup| setup.name = Some(name.into()))
    }

    /// Emits [`EventKind::Queue`](crate::telemetry::EventKind::Queue) to `events` whenever a call begins
    /// to [wait](ConcurrencyLimitLayer::wait), and below a balancer whenever a full endpoint makes one
    /// wait.
    ///
    /// The returned layer has places of its own, so set this before the layer is used. Default: no
    /// events.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::{ConcurrencyLimitLayer, telemetry::Events};
    /// let events = Events::new();
    /// let layer = ConcurrencyLimitLayer::new(100)
    ///     .with_events(&events)
    ///     .wait(Duration::from_millis(500));
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn with_events(self, events: &Events) -> Self {
        self.anew(|setup| setup.events = Some(events.clone()))
    }

    /// Returns a layer with the same settings and places of its own.
    ///
    /// What was only set by [`set_max`](PermitsHandle::set_max) is not among the settings.
    #[must_use]
    pub fn fresh(&self) -> Self
    where
        M: Clone,
    {
        self.clone().anew(|_| {})
    }

    fn anew(self, change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = self.state.telemetry.setup().clone();
        change(&mut setup);
        let config = (*self.state.family.settings()).clone();
        Self { state: State::of_layer(config, setup), ..self }
    }

    /// Returns a handle for inspecting and changing the limit above a balancer, or without one, and the
    /// settings of this layer.
    pub fn handle(&self) -> ConcurrencyLimitHandle {
        ConcurrencyLimitHandle::new(self.state.clone())
    }

    /// Returns a handle for inspecting and changing the limit of the endpoint with this key, below a
    /// balancer.
    ///
    /// There is one from the first call on, while the endpoint is in the set. If several sets share the
    /// layer, it is that of the newest.
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
