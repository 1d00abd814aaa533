use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    config::{Quota, RateLimitConfig},
    handle::RateLimitHandle,
    service::RateLimit,
    state::State,
};

/// Lets so many calls pass in a time.
///
/// `M` is what becomes of a call beyond the quota: [`Refuse`], the default, or [`Wait`].
///
/// Above a balancer, or over a single client, there is one quota for all that this layer value and
/// its clones make. Below a balancer each endpoint has a quota of its own.
///
/// # Example
/// ```
/// use std::convert::Infallible;
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{Kind, Quota, RateLimitLayer};
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
#[derive(Debug, Clone)]
pub struct RateLimitLayer<M = Refuse> {
    state: Arc<State>,
    mode: M,
}

/// A call beyond the quota is refused at once. See [`RateLimitLayer::new`].
///
/// ```
/// use tower_upstream::{Quota, limit::{RateLimitLayer, Refuse}};
///
/// struct Limits {
///     api: RateLimitLayer<Refuse>,
/// }
/// let limits = Limits { api: RateLimitLayer::new(Quota::per_second(100)) };
/// # let _ = limits.api;
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Refuse;

/// A call beyond the quota waits for its turn. See [`RateLimitLayer::wait`].
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::{Quota, limit::{RateLimitLayer, Wait}};
///
/// struct Limits {
///     batch: RateLimitLayer<Wait>,
/// }
/// let quota = RateLimitLayer::new(Quota::per_second(5));
/// let limits = Limits { batch: quota.wait(Duration::from_secs(60)) };
/// # let _ = limits.batch;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    pub(in crate::limit) max: Duration,
}

impl RateLimitLayer {
    /// Refuses what is beyond `quota` with [`Kind::RateLimited`](crate::Kind::RateLimited) and the
    /// moment from which on there is a token again.
    ///
    /// Below a balancer nothing is refused: an endpoint whose quota is spent is not ready, and the
    /// balancer takes another. Where all are spent, it waits for the first to be ready again, for as
    /// long as its `fail_fast_after` says, and then answers `AllEndpointsDown`.
    pub fn new(quota: Quota) -> Self {
        Self { state: Arc::new(State::new(quota)), mode: Refuse }
    }

    /// The same from a config. Values out of range become the nearest sane ones.
    pub fn with_config(config: &RateLimitConfig) -> Self {
        Self::new(config.quota())
    }

    /// Lets a call wait for its turn instead, in its response future.
    ///
    /// A call waits at most `max`, and never past its [deadline](crate::Replay::deadline): one
    /// whose turn would come later is refused at once. Turns are taken in the order of the calls.
    /// A call that is dropped while it waits lets the next move up, and so does one that is not
    /// polled, once its time is over. Timers are a millisecond coarse, so a call may wait up to two
    /// more.
    ///
    /// The request must implement [`Replay`](crate::Replay), which tells its deadline, as
    /// [`Call`](crate::Call) and `http::Request` do; for a type of yours that is a few lines.
    ///
    /// As many calls wait as get their turn within `max`, so keep `max` times the rate to what
    /// memory allows. The request and a clone of the inner service wait with them; that clone is
    /// made ready when its turn has come.
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
    pub fn wait(self, max: Duration) -> RateLimitLayer<Wait> {
        RateLimitLayer { state: self.state, mode: Wait { max } }
    }
}

impl<M> RateLimitLayer<M> {
    /// The same quota, with tokens of its own.
    #[must_use]
    pub fn fresh(&self) -> Self
    where
        M: Clone,
    {
        Self { state: Arc::new(State::new(self.state.quota())), mode: self.mode.clone() }
    }

    /// A view of the quota above a balancer, or without one.
    pub fn handle(&self) -> RateLimitHandle {
        RateLimitHandle::new(self.state.clone())
    }

    /// A view of the quota of the endpoint with this key below a balancer: from the first call on,
    /// while it is in the set.
    pub fn handle_for(&self, key: &str) -> Option<RateLimitHandle> {
        self.state.members.get(key).map(RateLimitHandle::new)
    }
}

impl<S, M: Clone> Layer<S> for RateLimitLayer<M> {
    type Service = RateLimit<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, self.state.clone(), self.mode.clone())
    }
}
