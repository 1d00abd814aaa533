use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    config::RateLimitConfig,
    cost::PerCall,
    handle::{QuotaHandle, RateLimitHandle},
    quotas::Quotas,
    service::RateLimit,
    state::State,
};
use crate::{
    limit::{
        KeyedRateLimitLayer,
        mode::{Refuse, Wait},
        telemetry::Setup,
    },
    telemetry::Events,
    time::Instant,
};

/// Layer that limits the rate of calls.
///
/// `M` is what happens to a call beyond the quota: [`Refuse`], the default, or [`Wait`]. `C` is the
/// [`Cost`](super::Cost) of a call.
///
/// Above a balancer, or over a single client, this layer value and its clones share one quota. Below a
/// balancer each endpoint has a quota of its own.
///
/// # Example
/// ```
/// use std::convert::Infallible;
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{Quota, RateLimitLayer, error::Kind};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut client = ServiceBuilder::new()
///     .layer(RateLimitLayer::new(Quota::per_minute(60).burst(2)))
///     .service(service_fn(async |name: &str| Ok::<_, Infallible>(format!("hello {name}"))));
///
/// for _ in 0..2 {
///     client.ready().await.unwrap().call("you").await.unwrap();
/// }
/// let refused = client.ready().await.unwrap().call("you").await.unwrap_err();
/// assert_eq!(refused.kind(), Kind::RateLimited);
/// assert!(refused.retry_after().is_some());
/// # }
/// ```
#[derive(Clone)]
pub struct RateLimitLayer<M = Refuse, C = PerCall> {
    state: Arc<State>,
    mode: M,
    cost: C,
}

impl RateLimitLayer {
    /// Creates a layer that refuses calls beyond the quota.
    ///
    /// With several quotas, as an array of up to four, a call takes a token of each, or of none.
    ///
    /// Below a balancer nothing is refused: an endpoint whose quota is spent is not ready, and the
    /// balancer chooses another. If all are spent, the call waits for the first that has a token again. If
    /// none has one within the balancer's `fail_fast_after`, the call fails at once with
    /// [`Kind::RateLimited`](crate::error::Kind::RateLimited) and the earliest moment. Readiness reserves
    /// one token, so a call of a [cost](Self::with_cost) above one is refused there if the rest is missing.
    ///
    /// # Errors
    /// Calls beyond the quota fail with [`Kind::RateLimited`](crate::error::Kind::RateLimited) and the
    /// time at which there is a token again.
    ///
    /// # Cancel safety
    /// A call takes its token in `call`, and the token stays spent if the response is dropped.
    pub fn new(quotas: impl Into<Quotas>) -> Self {
        Self::of(quotas.into(), None)
    }

    /// With its name, if it has one. [`named`](Self::named) makes the state anew.
    pub(crate) fn of(quotas: Quotas, name: Option<Arc<str>>) -> Self {
        let setup = Setup { name, ..Setup::default() };
        Self { state: State::of_layer(quotas, setup), mode: Refuse, cost: PerCall }
    }

    /// Creates a layer from a config. Values out of range become the nearest valid ones; see
    /// [`RateLimitConfig::validate`].
    ///
    /// ```
    /// use tower_upstream::{RateLimitLayer, limit::RateLimitConfig};
    /// let layer = RateLimitLayer::with_config(RateLimitConfig::default());
    /// assert_eq!(layer.handle().remaining(), 20);
    /// ```
    pub fn with_config(config: RateLimitConfig) -> Self {
        Self::new(&config)
    }
}

impl<C> RateLimitLayer<Refuse, C> {
    /// Lets calls beyond the quota wait for their turn, in the response future, for at most `max`.
    ///
    /// Turns are taken in the order of the calls, whatever they cost. A call whose turn would come after
    /// `max`, or after its [deadline](crate::deadline::HasDeadline::deadline), is refused at once. A call
    /// that does not have to wait takes its token in `call`, another when its turn has come. Timers of
    /// tokio have a resolution of 1 ms, so a call may wait up to 2 ms longer than it has to.
    ///
    /// The request must implement [`HasDeadline`](crate::deadline::HasDeadline), as
    /// [`Call`](crate::Call) and `http::Request` do. For other requests, see
    /// [`with_deadline`](Self::with_deadline).
    ///
    /// A call that waits holds its request and a clone of the inner service. The clone is made ready
    /// when the turn has come; until then neither it nor the service that was called keeps what
    /// `poll_ready` reserved.
    ///
    /// Outside a tokio runtime there are no timers, and calls are refused instead. Below a balancer,
    /// calls wait for the endpoint that was chosen, instead of going to another one.
    ///
    /// # Errors
    /// A refusal, as of [`new`](RateLimitLayer::new). A call whose deadline has passed is not made even
    /// if there is a token: it fails unsent with [`Kind::Timeout`](crate::error::Kind::Timeout), which
    /// takes no token and counts against nothing.
    ///
    /// # Cancel safety
    /// A call that is dropped while it waits has taken nothing, and the next moves up. So it does behind
    /// a call that is not polled any more, once that call has waited for `max`.
    ///
    /// # Bounds
    /// As many calls wait as get their turn within `max`, and at most 65,536 for one quota; others are
    /// refused at once. If requests are large, choose a `max` of which `max` times the rate fits in
    /// memory.
    ///
    /// # Example
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::{Quota, RateLimitLayer};
    /// let layer = RateLimitLayer::new(Quota::per_second(100)).wait(Duration::from_secs(2));
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn wait(self, max: Duration) -> RateLimitLayer<Wait, C> {
        RateLimitLayer { state: self.state, mode: Wait::at_most(max), cost: self.cost }
    }

    /// Gives each key a quota of its own, such as each tenant or each client address.
    ///
    /// `key` is a closure over the request that returns something hashable, or a
    /// [`Key`](crate::key::Key). Only a hash of each key and its tokens are kept, in a table of fixed
    /// size: see [`KeyedRateLimitLayer`]. The name of this layer stays. Its events do not, since no call
    /// waits.
    ///
    /// # Example
    /// ```
    /// use tower_upstream::{Call, Quota, RateLimitLayer};
    /// let layer = RateLimitLayer::new(Quota::per_second(10))
    ///     .by_key(|call: &Call<u32>| call.headers().get("x-tenant").cloned());
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn by_key<K>(self, key: K) -> KeyedRateLimitLayer<K, C> {
        let setup = self.state.telemetry.setup().clone();
        KeyedRateLimitLayer::of(*self.state.family.settings(), key, self.cost, setup)
    }
}

impl<D, C> RateLimitLayer<Wait<D>, C> {
    /// Sets the closure that returns the deadline of a request. Default: the request's own, which is a
    /// [`HasDeadline`](crate::deadline::HasDeadline).
    ///
    /// # Example
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::{Quota, RateLimitLayer};
    /// let layer = RateLimitLayer::new(Quota::per_second(100))
    ///     .wait(Duration::from_secs(2))
    ///     .with_deadline(|_: &String| None);
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn with_deadline<Req, E>(self, deadline: E) -> RateLimitLayer<Wait<E>, C>
    where
        E: Fn(&Req) -> Option<Instant>,
    {
        let mode = self.mode.with_deadline(deadline);
        RateLimitLayer { state: self.state, mode, cost: self.cost }
    }
}

impl<M, C> RateLimitLayer<M, C> {
    /// Sets how many tokens a call takes: a [`Cost`](super::Cost), such as a closure over the request,
    /// whose type must be written. Default: one.
    ///
    /// # Example
    /// ```
    /// use tower_upstream::{Call, Quota, RateLimitLayer};
    /// let layer = RateLimitLayer::new(Quota::per_second(1_000).burst(100))
    ///     .with_cost(|call: &Call<String>| if call.body().is_empty() { 0 } else { 10 });
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn with_cost<D>(self, cost: D) -> RateLimitLayer<M, D> {
        RateLimitLayer { state: self.state, mode: self.mode, cost }
    }

    /// Names this layer, in refusals ([`Error::guard`](crate::Error::guard)) and in events.
    ///
    /// Refusals of a named layer are counted: see [`stats`](QuotaHandle::stats). The returned layer has
    /// tokens of its own, so name it before it is used. Default: no name.
    ///
    /// ```
    /// use tower_upstream::{Quota, RateLimitLayer};
    /// let layer = RateLimitLayer::new(Quota::per_minute(1)).named("tenant quota");
    /// let quota = layer.handle();
    /// quota.take(1)?;
    /// assert_eq!(quota.take(1).unwrap_err().guard(), Some("tenant quota"));
    /// assert_eq!(quota.stats().refused, Some(1));
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        self.anew(|setup| setup.name = Some(name.into()))
    }

    /// Emits [`EventKind::Queue`](crate::telemetry::EventKind::Queue) to `events` whenever a call begins
    /// to [wait](RateLimitLayer::wait).
    ///
    /// The returned layer has tokens of its own, so set this before the layer is used. Default: no
    /// events.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::{Quota, RateLimitLayer, telemetry::Events};
    /// let events = Events::new();
    /// let layer = RateLimitLayer::new(Quota::per_second(5))
    ///     .with_events(&events)
    ///     .wait(Duration::from_secs(60));
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn with_events(self, events: &Events) -> Self {
        self.anew(|setup| setup.events = Some(events.clone()))
    }

    /// Returns a layer with the same settings and tokens of its own.
    #[must_use]
    pub fn fresh(&self) -> Self
    where
        M: Clone,
        C: Clone,
    {
        self.clone().anew(|_| {})
    }

    fn anew(self, change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = self.state.telemetry.setup().clone();
        change(&mut setup);
        Self { state: State::of_layer(*self.state.family.settings(), setup), ..self }
    }

    /// Returns a handle for inspecting and changing the quota above a balancer, or without one, and the
    /// settings of this layer.
    pub fn handle(&self) -> RateLimitHandle {
        RateLimitHandle::new(self.state.clone())
    }

    /// Returns a handle for inspecting and changing the quota of the endpoint with this key, below a
    /// balancer.
    ///
    /// There is one from the first call on, while the endpoint is in the set. If several sets share the
    /// layer, it is that of the newest.
    pub fn handle_for(&self, key: &str) -> Option<QuotaHandle> {
        self.state.family.get(key).map(QuotaHandle::new)
    }
}

impl<S, M: Clone, C: Clone> Layer<S> for RateLimitLayer<M, C> {
    type Service = RateLimit<S, M, C>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, self.state.clone(), self.mode.clone(), self.cost.clone())
    }
}

impl<M: fmt::Debug, C> fmt::Debug for RateLimitLayer<M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("state", &self.state)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
