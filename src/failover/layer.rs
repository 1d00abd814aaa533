use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{Attempts, Failover, service::Policy};
use crate::{
    budget::Budget,
    choose::Chooses,
    outcome::{ErrIsFailure, TypeName},
    replay::{ByReplay, ReplayFn},
};

/// Tries another endpoint when one fails.
///
/// The budget belongs to the layer value: all services that it and its clones make share it.
///
/// Requests implement [`Replay`](crate::replay::Replay), as [`Call`](crate::Call) and `http::Request` do; for
/// others there is [`with_replay`](Self::with_replay).
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{
///     BoxError, Call, Endpoint, Reply,
///     balance::{BalanceLayer, RoundRobin},
///     connect_fn, discover,
///     failover::{Attempts, FailoverLayer},
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let service = ServiceBuilder::new()
///     .layer(FailoverLayer::new(Attempts::up_to(2)))
///     .layer(BalanceLayer::new(discover::fixed(["bad:1", "good:1"])?, RoundRobin::default()))
///     .service(connect_fn(|endpoint: &Endpoint| {
///         let good = endpoint.address().host() == "good";
///         service_fn(move |call: Call<u32>| async move {
///             if good { Ok(Reply::new(call.into_body())) } else { Err(BoxError::from("broken")) }
///         })
///     }));
///
/// let reply = service.oneshot(Call::new(7).idempotent()).await?;
/// assert_eq!(reply.into_body(), 7);
/// # Ok(()) }
/// ```
pub struct FailoverLayer<R = ByReplay, C = ErrIsFailure> {
    policy: Arc<Policy<R, C>>,
}

impl FailoverLayer {
    /// Every `Err` is a failure, and requests say themselves whether they may be repeated. Values
    /// out of range become the nearest sane ones; see [`Attempts::validate`].
    pub fn new(attempts: Attempts) -> Self {
        let policy = Policy {
            attempts: attempts.clamped(),
            budget: Budget::default(),
            replay: ByReplay,
            classify: ErrIsFailure,
        };
        Self { policy: Arc::new(policy) }
    }
}

impl<R: Clone, C: Clone> FailoverLayer<R, C> {
    /// Sets the budget of retries, which may be shared with other layers.
    ///
    /// Without a breaker below, failover saves no more calls than the budget pays for; the error of one
    /// that it did not pay for says so. Default: [`Budget::default`], a fifth of the calls, at least ten
    /// a second.
    ///
    /// A call puts its share in when its first attempt has ended: not one that was refused, nor one
    /// that was dropped. Where answers have bodies, an attempt ends with the head.
    #[must_use]
    pub fn with_budget(self, budget: Budget) -> Self {
        let policy = Policy { budget, ..Policy::clone(&self.policy) };
        Self { policy: Arc::new(policy) }
    }

    /// Lets `copy` make the copies of requests: `Some` of those that may be sent twice.
    ///
    /// For requests that do not implement [`Replay`](crate::replay::Replay). Deadlines are read from those
    /// that do, so there are none here but [`Attempts::overall`].
    pub fn with_replay<F>(self, copy: F) -> FailoverLayer<ReplayFn<F>, C> {
        let Policy { attempts, budget, classify, .. } = Policy::clone(&self.policy);
        let policy = Policy { attempts, budget, replay: ReplayFn::new(copy), classify };
        FailoverLayer { policy: Arc::new(policy) }
    }

    /// Lets `classify` judge the calls: a [`Classify`](crate::Classify), such as a closure. An
    /// answer that is a failure is treated like an error; the caller gets the last one, unless a
    /// later attempt ends in an error. An error that is no failure is given to the caller at once.
    ///
    /// Write the type of the closure's argument, or the compiler cannot tell it:
    /// ```
    /// use tower_upstream::{Attempts, Error, FailoverLayer, Outcome};
    /// let layer = FailoverLayer::new(Attempts::up_to(3)).with_classify(
    ///     |result: Result<&u16, &Error>| match result {
    ///         Ok(500..) | Err(_) => Outcome::Failure,
    ///         Ok(_) => Outcome::Success,
    ///     },
    /// );
    /// # let _ = layer;
    /// ```
    pub fn with_classify<D>(self, classify: D) -> FailoverLayer<R, D> {
        let Policy { attempts, budget, replay, .. } = Policy::clone(&self.policy);
        FailoverLayer { policy: Arc::new(Policy { attempts, budget, replay, classify }) }
    }
}

impl<S: Chooses + Clone, R, C> Layer<S> for FailoverLayer<R, C> {
    type Service = Failover<S, R, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Failover::new(inner, self.policy.clone())
    }
}

impl<R, C> Clone for FailoverLayer<R, C> {
    fn clone(&self) -> Self {
        Self { policy: self.policy.clone() }
    }
}

impl<R, C> fmt::Debug for FailoverLayer<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailoverLayer")
            .field("attempts", &self.policy.attempts)
            .field("budget", &self.policy.budget)
            .field("replay", &TypeName::<R>::new())
            .field("classify", &TypeName::<C>::new())
            .finish()
    }
}
