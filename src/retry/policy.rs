use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tower::retry::{Policy, Retry};
use tower_layer::Layer;

use super::{RetryConfig, RetryHandle, RetryWait};
use crate::{
    budget::{Budget, Cause, RunningCall},
    course::{AttemptEnd, Course, LastAttempt, LiveAttempts, Plan, Reach, Then, failed_answer},
    error::{BoxError, Error, Kind},
    outcome::{Classify, ErrIsFailure, TypeName},
    replay::{ByReplay, ReplayFn, ReplayPolicy},
    telemetry::Events,
    time::{self, Instant},
};

/// Policy for [`tower::retry`]: whether to send a call again, and when.
///
/// It is a layer as well, of which each service is a [`Retry`] with a clone of it. The settings and the budget belong to the policy: its clones, and so all services of one layer, share them. Nothing is
/// allocated before a call fails.
///
/// A call puts its share into the budget when its first attempt has ended, unless the attempt was
/// refused or dropped. tower does not tell how a call ends whose request could not be copied: such a
/// call puts its share in at once.
///
/// # Cancel safety
/// Dropping the response future ends the call; what its retry held of the budget is given back.
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{BoxError, Call, retry::{RetryConfig, RetryPolicy}};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), BoxError> {
/// let service = ServiceBuilder::new()
///     .layer(RetryPolicy::new(RetryConfig::up_to(3)))
///     .service(service_fn(|call: Call<u32>| async move {
///         match call.attempt() {
///             1 => Err(BoxError::from("broken")),
///             _ => Ok(call.into_body()),
///         }
///     }));
///
/// assert_eq!(service.oneshot(Call::new(7).idempotent()).await?, 7);
/// # Ok(()) }
/// ```
pub struct RetryPolicy<R = ByReplay, C = ErrIsFailure> {
    terms: Arc<Terms<R, C>>,
    /// When the call began, as a stamp; `NEVER` where there was no limit for the whole of it.
    began: i64,
    /// Set while tower takes a call in: the next clone is the one that goes with it.
    taken_in: AtomicBool,
    running: RunningCall,
    /// From the first failure on.
    course: Option<Box<Course>>,
}

/// What all calls go by.
struct Terms<R, C> {
    live: Arc<LiveAttempts>,
    plan: Plan<R, C>,
}

const NEVER: i64 = i64::MAX;

impl RetryPolicy {
    /// Creates a policy that treats every `Err` as a failure, and asks requests whether they may be sent
    /// twice. Values out of range become the nearest valid ones; see [`RetryConfig::validate`].
    pub fn new(config: RetryConfig) -> Self {
        Self::of(Arc::new(LiveAttempts::new(config.into())), Plan::default())
    }
}

impl<R, C> RetryPolicy<R, C> {
    /// Returns a handle to the settings and counts of this policy, its clones, and all services that
    /// they are given to.
    pub fn handle(&self) -> RetryHandle {
        RetryHandle { live: self.terms.live.clone() }
    }

    fn of(live: Arc<LiveAttempts>, plan: Plan<R, C>) -> Self {
        Self::sharing(Arc::new(Terms { live, plan }), NEVER, RunningCall::default())
    }

    fn sharing(terms: Arc<Terms<R, C>>, began: i64, running: RunningCall) -> Self {
        Self { terms, began, taken_in: AtomicBool::new(false), running, course: None }
    }
}

impl<R: Clone, C: Clone> RetryPolicy<R, C> {
    /// Sets the retry budget, which may be shared with other policies and layers.
    ///
    /// Default: [`Budget::default`], a fifth of the calls, at least ten a second.
    #[must_use]
    pub fn with_budget(self, budget: Budget) -> Self {
        self.replan(|plan| plan.with_budget(budget))
    }

    /// Names this policy in its events. Default: no name.
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        self.replan(|plan| plan.named(name))
    }

    /// Tells `events` of each further attempt ([`Attempt`](crate::telemetry::EventKind::Attempt)), of
    /// each wait before one ([`Wait`](crate::telemetry::EventKind::Wait)), and of each call that the
    /// retry budget did not pay for ([`BudgetEmpty`](crate::telemetry::EventKind::BudgetEmpty)).
    ///
    /// An event has an endpoint if the error of the attempt that failed has one. A call that succeeds at
    /// once makes no event. Listeners run in the call. Default: no events.
    ///
    /// ```
    /// use tower_upstream::{retry::{RetryConfig, RetryPolicy}, telemetry::Events};
    ///
    /// let events = Events::new();
    /// events.subscribe(|event| println!("{event:?}")).detach();
    /// let policy = RetryPolicy::new(RetryConfig::up_to(3)).named("tax").with_events(&events);
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn with_events(self, events: &Events) -> Self {
        self.replan(|plan| plan.with_events(events))
    }

    /// Sets a backoff of your own, in place of [`RetryConfig::initial_interval`], `multiplier` and
    /// `jitter`: the wait of each number, from 1, and cause.
    ///
    /// # Bounds
    /// A wait is 0, or from 1 ms to an hour; a value beyond becomes the nearest one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::{budget::Cause, retry::{RetryConfig, RetryPolicy}};
    ///
    /// // As the AWS SDKs begin: 50 ms, or 1 s after an overload.
    /// let policy = RetryPolicy::new(RetryConfig::default()).with_backoff(|number, cause| match cause {
    ///     Cause::Overload => Duration::from_secs(1) * number,
    ///     Cause::Failure => Duration::from_millis(50) * number,
    /// });
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn with_backoff<F>(self, backoff: F) -> Self
    where
        F: Fn(u32, Cause) -> Duration + Send + Sync + 'static,
    {
        self.replan(|plan| plan.with_backoff(backoff))
    }

    /// Sets how requests are copied: `copy` returns `Some` for a request that may be sent twice.
    ///
    /// For requests that do not implement [`Replay`](crate::replay::Replay). Such requests have no
    /// deadline but [`RetryConfig::overall`].
    #[must_use]
    pub fn with_replay<F>(self, copy: F) -> RetryPolicy<ReplayFn<F>, C> {
        self.replan(|plan| plan.with_replay(ReplayFn::new(copy)))
    }

    /// Sets the rule that judges calls: a [`Classify`], such as a closure, or `http::HttpClassify`
    /// (feature `http`). Write the type of the closure's argument, or the compiler cannot infer it.
    #[must_use]
    pub fn with_classify<D>(self, classify: D) -> RetryPolicy<R, D> {
        self.replan(|plan| plan.with_classify(classify))
    }

    fn replan<Q, D>(self, change: impl FnOnce(Plan<R, C>) -> Plan<Q, D>) -> RetryPolicy<Q, D> {
        let Terms { live, plan } = &*self.terms;
        RetryPolicy::of(live.clone(), change(plan.clone()))
    }
}

impl<R, C, Req, Res, E> Policy<Req, Res, E> for RetryPolicy<R, C>
where
    R: ReplayPolicy<Req>,
    C: Classify<Res, E>,
    E: 'static,
{
    type Future = RetryWait;

    #[inline]
    fn retry(&mut self, request: &mut Req, result: &mut Result<Res, E>) -> Option<RetryWait> {
        let classify = &self.terms.plan.classify;
        let ended = match result {
            Ok(answer) => match AttemptEnd::of_answer(classify, answer) {
                Some(ended) if !ended.is_final() => ended,
                not_good => {
                    self.settle(not_good.is_none());
                    return None;
                }
            },
            Err(error) => AttemptEnd::of_error(classify, error),
        };
        self.fail(ended, request, result)
    }

    #[inline]
    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        let Terms { live, plan } = &*self.terms;
        if let Some(course) = &self.course {
            course.begin(plan);
            return plan.replay.replay(request);
        }
        let own = plan.replay.options(request).max_attempts();
        let uses_copies = own.map_or_else(|| live.uses_copies(), |attempts| attempts > 1);
        let copy = if uses_copies { plan.replay.replay(request) } else { None };
        // Of a call without a copy nothing more will be known.
        if copy.is_none() {
            deposit(&plan.budget);
        }
        if live.limits() {
            self.began = time::stamp(time::now());
        }
        *self.taken_in.get_mut() = true;
        copy
    }
}

impl<R, C> RetryPolicy<R, C> {
    /// The call has ended in an answer that no other attempt follows.
    #[inline]
    fn settle(&mut self, good: bool) {
        self.running.end();
        let budget = &self.terms.plan.budget;
        match &mut self.course {
            None if good => budget.first_success(),
            course => Course::settle(course.as_deref_mut(), budget, good),
        }
    }

    #[cold]
    fn fail<Req, Res, E>(
        &mut self,
        ended: AttemptEnd,
        request: &mut Req,
        result: &mut Result<Res, E>,
    ) -> Option<RetryWait>
    where
        R: ReplayPolicy<Req>,
        E: 'static,
    {
        let Terms { live, plan } = &*self.terms;
        let attempts = || live.attempts().with_options(plan.replay.options(request));
        let course = self.course.get_or_insert_with(|| Box::new(Course::new(attempts())));
        // A call that began before there was a limit has none.
        let began = (self.began != NEVER).then(|| time::at_stamp(self.began));
        let overall = began.zip(course.attempts.overall);
        let end = overall.map(|(began, overall)| time::later(began, overall));
        let until = time::earlier(end, plan.replay.deadline(request));
        let attempt = LastAttempt {
            ended,
            endpoint: result.as_ref().err().and_then(Error::find).and_then(Error::endpoint_key),
            reach: Reach::ONE,
            idempotent: plan.replay.is_idempotent(request),
            copied: plan.replay.is_whole(request),
            left: until.map(|until| until.saturating_duration_since(time::now())),
            may_wait: false,
        };
        match course.end(&attempt, live, plan) {
            Then::Again(wait) | Then::WhenThereIsOne(wait) => {
                course.note(error_of(result));
                plan.replay.begin_attempt(request, course.made);
                Some(RetryWait::of(wait))
            }
            Then::Stop(note) => {
                live.counts.failed();
                let last = result.as_mut().err().and_then(Error::find_mut);
                if let Some(last) = last {
                    let took = |began: Instant| time::now().saturating_duration_since(began);
                    *last = course.give_up(last.clone(), began.map(took), note);
                }
                self.running.end();
                None
            }
        }
    }
}

impl<S, R, C> Layer<S> for RetryPolicy<R, C> {
    type Service = Retry<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(self.clone(), inner)
    }
}

/// Out of the way of a call that can be copied.
#[cold]
fn deposit(budget: &Budget) {
    budget.deposit();
}

/// The error of an attempt, for the history of the call.
fn error_of<Res, E: 'static>(result: &Result<Res, E>) -> Error {
    let error = match result {
        Ok(_) => return failed_answer(),
        Err(error) => error,
    };
    if let Some(ours) = Error::find(error) {
        return ours.clone();
    }
    // Of a foreign error nothing is known but its text, if it has one.
    let text = (error as &dyn std::any::Any).downcast_ref::<BoxError>().map(ToString::to_string);
    let error = Error::failed(Kind::Service);
    match text {
        Some(text) => error.caused_by(text),
        None => error,
    }
}

/// A clone knows nothing of the call that this one serves, unless tower makes it for that call.
impl<R, C> Clone for RetryPolicy<R, C> {
    #[inline]
    fn clone(&self) -> Self {
        // Relaxed, in two steps: it is set and cleared within one `Retry::call`, which has the
        // service for itself.
        let running = if self.taken_in.load(Ordering::Relaxed) {
            self.taken_in.store(false, Ordering::Relaxed);
            self.terms.plan.budget.running()
        } else {
            RunningCall::default()
        };
        Self::sharing(self.terms.clone(), self.began, running)
    }
}

impl<R, C> fmt::Debug for RetryPolicy<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy")
            .field("config", &self.terms.live.attempts())
            .field("budget", &self.terms.plan.budget)
            .field("replay", &TypeName::<R>::new())
            .field("classify", &TypeName::<C>::new())
            .field("attempts", &self.course.as_ref().map_or(1, |course| course.made))
            .finish()
    }
}
