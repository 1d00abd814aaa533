use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{Attempts, Failover, FailoverHandle};
use crate::{
    budget::{Budget, Cause},
    choose::Chooses,
    course::{LiveAttempts, Plan},
    outcome::{ErrIsFailure, TypeName},
    replay::{ByCopy, ByReplay, ReplayFn},
    telemetry::Events,
};

/// Layer that tries another endpoint when one fails. See [the module](super) for how.
///
/// The settings and the budget belong to the layer value: all services that it and its clones make
/// share them.
///
/// Requests implement [`Replay`](crate::replay::Replay), as [`Call`](crate::Call) and `http::Request`
/// do; for other requests there is [`with_replay`](Self::with_replay).
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
    live: Arc<LiveAttempts>,
    plan: Arc<Plan<R, C>>,
}

impl FailoverLayer {
    /// Creates a layer that treats every `Err` as a failure, and asks requests whether they may be sent
    /// twice. Values out of range become the nearest valid ones; see [`Attempts::validate`].
    pub fn new(attempts: Attempts) -> Self {
        Self { live: Arc::new(LiveAttempts::new(attempts)), plan: Arc::new(Plan::default()) }
    }
}

impl<R, C> FailoverLayer<R, C> {
    /// Returns a handle to the settings and counts of all services of this layer.
    pub fn handle(&self) -> FailoverHandle {
        FailoverHandle { live: self.live.clone() }
    }
}

impl<R: Clone, C: Clone> FailoverLayer<R, C> {
    /// Sets the retry budget, which may be shared with other layers.
    ///
    /// Without a breaker below, failover saves no more calls than the budget pays for; the error of one
    /// that it did not pay for says so.
    ///
    /// A call puts its share into the budget when its first attempt has ended, or a hedge has answered for it,
    /// unless the attempt was refused or dropped. Where answers have bodies, an attempt ends with the head.
    ///
    /// Default: [`Budget::default`], a fifth of the calls, at least ten a second.
    #[must_use]
    pub fn with_budget(self, budget: Budget) -> Self {
        self.replan(|plan| plan.with_budget(budget))
    }

    /// Names this layer in its events, and counts all of its calls.
    ///
    /// A layer without a name counts only the calls that did not go well. Default: no name.
    ///
    /// ```
    /// use tower_upstream::{Attempts, FailoverLayer};
    /// let layer = FailoverLayer::new(Attempts::up_to(3)).named("tax");
    /// assert_eq!(layer.handle().stats().succeeded, Some(0));
    /// ```
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        self.live.count_calls();
        self.replan(|plan| plan.named(name))
    }

    /// Tells `events` of each further attempt ([`Attempt`](crate::telemetry::EventKind::Attempt)), of each hedge
    /// ([`Hedge`](crate::telemetry::EventKind::Hedge)), of each wait before an attempt
    /// ([`Wait`](crate::telemetry::EventKind::Wait)), of each call that the retry budget did not pay for
    /// ([`BudgetEmpty`](crate::telemetry::EventKind::BudgetEmpty)), and of each that ran out of time
    /// ([`Timeout`](crate::telemetry::EventKind::Timeout)).
    ///
    /// The endpoint of an event is that of the attempt that failed, or took long. A call that succeeds at once makes no
    /// event. Listeners run in the call. Default: no events.
    ///
    /// ```
    /// use tower_upstream::{
    ///     Attempts, FailoverLayer,
    ///     telemetry::{EventKind, Events},
    /// };
    ///
    /// let events = Events::new();
    /// let listening = events.subscribe(|event| {
    ///     if let EventKind::Attempt { number, after, .. } = &event.kind {
    ///         println!("attempt {number}, since {:?} failed: {after:?}", event.endpoint);
    ///     }
    /// });
    /// let layer = FailoverLayer::new(Attempts::up_to(3)).with_events(&events);
    /// # let _ = (layer, listening);
    /// ```
    #[must_use]
    pub fn with_events(self, events: &Events) -> Self {
        self.replan(|plan| plan.with_events(events))
    }

    /// Sets a backoff of your own, in place of [`Attempts::backoff`], `multiplier` and `jitter`: the
    /// wait of each number, from 1, and cause.
    ///
    /// # Bounds
    /// A wait is 0, or from 1 ms to an hour; a value beyond becomes the nearest one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::{Attempts, FailoverLayer, budget::Cause};
    ///
    /// // As the AWS SDKs begin: 50 ms, or 1 s after an overload.
    /// let layer = FailoverLayer::new(Attempts::up_to(3)).with_backoff(|number, cause| match cause {
    ///     Cause::Overload => Duration::from_secs(1) * number,
    ///     Cause::Failure => Duration::from_millis(50) * number,
    /// });
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn with_backoff<F>(self, backoff: F) -> Self
    where
        F: Fn(u32, Cause) -> Duration + Send + Sync + 'static,
    {
        self.replan(|plan| plan.with_backoff(backoff))
    }

    /// Draws what is random about waits from numbers that `seed` determines. Default: other numbers each time.
    ///
    /// One seed gives one run, for calls that are made one after the other: for simulations and tests.
    ///
    /// ```
    /// use tower_upstream::{Attempts, FailoverLayer};
    /// let layer = FailoverLayer::new(Attempts::up_to(3)).with_seed(7);
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        self.replan(|plan| plan.with_seed(seed))
    }

    /// Sets how requests are copied: `copy` returns `Some` for a request that may be sent twice.
    ///
    /// For requests that do not implement [`Replay`](crate::replay::Replay). Such requests have no
    /// deadline but [`Attempts::overall`].
    #[must_use]
    pub fn with_replay<F>(self, copy: F) -> FailoverLayer<ReplayFn<F>, C> {
        self.replan(|plan| plan.with_replay(ReplayFn::new(copy)))
    }

    /// Accepts only requests of which there always is a copy, [`Repeatable`](crate::replay::Repeatable) ones.
    ///
    /// By default a request that cannot be copied, such as one with a body that streams, is sent once, and only
    /// its error says so. With this, a stack for such requests does not compile.
    ///
    /// # Example
    /// ```
    /// use tower_upstream::{Attempts, FailoverLayer};
    /// let layer = FailoverLayer::new(Attempts::up_to(3)).require_copies();
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn require_copies(self) -> FailoverLayer<ByCopy, C> {
        self.replan(|plan| plan.with_replay(ByCopy))
    }

    /// Sets the rule that judges calls: a [`Classify`](crate::Classify), such as a closure.
    ///
    /// An answer that is a failure is treated like an error: the caller gets the last one, unless a
    /// later attempt ends in an error. An error that is no failure is returned at once.
    ///
    /// Write the type of the closure's argument, or the compiler cannot infer it:
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
    #[must_use]
    pub fn with_classify<D>(self, classify: D) -> FailoverLayer<R, D> {
        self.replan(|plan| plan.with_classify(classify))
    }

    fn replan<Q, D>(self, change: impl FnOnce(Plan<R, C>) -> Plan<Q, D>) -> FailoverLayer<Q, D> {
        let plan = Arc::unwrap_or_clone(self.plan);
        FailoverLayer { live: self.live, plan: Arc::new(change(plan)) }
    }
}

impl<S: Chooses + Clone, R, C> Layer<S> for FailoverLayer<R, C> {
    type Service = Failover<S, R, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Failover::new(inner, self.live.clone(), self.plan.clone())
    }
}

impl<R, C> Clone for FailoverLayer<R, C> {
    fn clone(&self) -> Self {
        Self { live: self.live.clone(), plan: self.plan.clone() }
    }
}

impl<R, C> fmt::Debug for FailoverLayer<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailoverLayer")
            .field("attempts", &self.live.attempts())
            .field("budget", &self.plan.budget)
            .field("replay", &TypeName::<R>::new())
            .field("classify", &TypeName::<C>::new())
            .finish()
    }
}
