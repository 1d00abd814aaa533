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
    },
    time::Instant,
};

/// Limits how many calls pass in a time.
///
/// `M` is what becomes of a call beyond the quota: [`Refuse`], the default, or [`Wait`]. `C` is the
/// [`Cost`](super::Cost) of a call.
///
/// Above a balancer, or over a single client, there is one quota for all that this layer value and
/// its clones make. Below a balancer each endpoint has a quota of its own.
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
    /// Refuses what is beyond the quota with [`Kind::RateLimited`](crate::error::Kind::RateLimited) and the
    /// moment from which on there is a token again. Several quotas, as an array of up to four, all
    /// hold: a call takes a token of each, or none.
    ///
    /// Below a balancer nothing is refused: an endpoint whose quota is spent is not ready, and the
    /// balancer takes another. Where all are spent, it waits for the first to be ready again, for as
    /// long as its `fail_fast_after` says, and then answers `AllEndpointsDown`. There, a call of a
    /// [cost](Self::with_cost) above one finds out in `call` whether there are enough tokens, and is
    /// refused if not.
    pub fn new(quotas: impl Into<Quotas>) -> Self {
        Self { state: State::of_layer(quotas.into()), mode: Refuse, cost: PerCall }
    }

    /// The same from a config. Values out of range become the nearest sane ones.
    pub fn with_config(config: RateLimitConfig) -> Self {
        Self::new(&config)
    }
}

impl<C> RateLimitLayer<Refuse, C> {
    /// Lets a call wait for its turn instead, in its response future.
    ///
    /// A call waits at most `max`, and never past its [deadline](crate::deadline::HasDeadline::deadline): one
    /// whose turn would come later is refused at once. One whose deadline has passed is not made,
    /// though there is a token: it fails unsent with [`Kind::Timeout`](crate::error::Kind::Timeout), which
    /// counts against nothing, and takes no token. Turns are taken in the order of the calls,
    /// whatever they cost.
    /// A call that is dropped while it waits lets the next move up, and so does one that is not
    /// polled, once its time is over. Timers are a millisecond coarse, so a call may wait up to two
    /// more.
    ///
    /// A call takes its token when it is made: one that waits, when its turn has come; one that need
    /// not wait, at once, so its token is spent even if the future is dropped before its first poll.
    ///
    /// The request must implement [`Replay`](crate::replay::Replay), which tells its deadline, as
    /// [`Call`](crate::Call) and `http::Request` do; for a type of yours that is a few lines.
    ///
    /// As many calls wait as get their turn within `max`, but never more than 65,536 for one quota;
    /// one more is refused at once. Where requests are large, keep `max` times the rate to what
    /// memory allows: the request and a clone of the inner service wait with each. That clone is made
    /// ready when its turn has come; until then neither it nor the service that was called keeps what
    /// `poll_ready` reserved.
    ///
    /// Outside a tokio runtime there is nothing to wait with, and a call is refused instead.
    ///
    /// Below a balancer this means that calls wait for the endpoint that was chosen, rather than
    /// go to another one.
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

    /// A quota for each key, such as a tenant or a client's address, instead of one for all.
    ///
    /// `key` is a closure over the request that answers anything that can be hashed, or a
    /// [`Key`](crate::key::Key). Of the keys nothing is kept but a hash and the tokens, in a table
    /// of fixed size: see [`KeyedRateLimitLayer`].
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
        KeyedRateLimitLayer::new(*self.state.family.settings(), key, self.cost)
    }
}

impl<D, C> RateLimitLayer<Wait<D>, C> {
    /// Asks `deadline` for the deadline of a request: for requests that are no
    /// [`HasDeadline`](crate::deadline::HasDeadline), or to use another.
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
    /// Lets a call take more tokens than one, or none: a [`Cost`](super::Cost), such as a closure
    /// over the request, whose type must be written.
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

    /// The same quota, with tokens of its own.
    #[must_use]
    pub fn fresh(&self) -> Self
    where
        M: Clone,
        C: Clone,
    {
        let state = State::of_layer(*self.state.family.settings());
        Self { state, mode: self.mode.clone(), cost: self.cost.clone() }
    }

    /// A view of the quota above a balancer, or without one.
    pub fn handle(&self) -> RateLimitHandle {
        RateLimitHandle::new(self.state.clone())
    }

    /// A view of the quota of the endpoint with this key below a balancer: from the first call on,
    /// while it is in the set.
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
