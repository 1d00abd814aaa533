use std::{
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tower::retry::Policy;

use super::{
    ByKind, ByOutcome, Judge, RetryConfig, Verdict, Wait,
    judge::Ended,
    rule::{Progress, next},
};
use crate::{
    budget::{Budget, Cause, Permit, Running},
    error::{BoxError, Error, Kind},
    outcome::{TypeName, is_refusal},
    replay::{ByReplay, ReplayFn, ReplayPolicy},
    sync::random_fraction,
    time::{self, Instant},
};

/// A policy for [`tower::retry::RetryLayer`]: when to try a call again.
///
/// The budget belongs to the policy: its clones, and so all services of one layer, share it. What
/// a call takes along until it fails is a few words; nothing is allocated before.
///
/// A call puts its share into the budget when its first attempt has ended: not one that was
/// refused, nor one that was dropped. tower asks nothing of a call whose request could not be
/// copied: such a call puts it in at once, and how it ends is not counted.
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, ServiceExt, retry::RetryLayer, service_fn};
/// use tower_upstream::{BoxError, Call, retry::{RetryConfig, RetryPolicy}};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), BoxError> {
/// let service = ServiceBuilder::new()
///     .layer(RetryLayer::new(RetryPolicy::new(RetryConfig::up_to(3))))
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
pub struct RetryPolicy<R = ByReplay, J = ByKind> {
    shared: Arc<Shared<R, J>>,
    /// When the call began, as a stamp. Only kept where there is a limit for the whole of it.
    began: i64,
    /// Set while tower takes a call in: the next clone is the one that goes with it.
    taken_in: AtomicBool,
    running: Running,
    /// From the first failure on.
    course: Option<Box<Course>>,
}

#[derive(Clone)]
struct Shared<R, J> {
    config: RetryConfig,
    budget: Budget,
    replay: R,
    judge: J,
}

/// What a call that failed has behind it.
struct Course {
    /// Attempts begun.
    made: u32,
    errors: Vec<Error>,
    backoff: Option<Duration>,
    permit: Option<Permit>,
}

impl RetryPolicy {
    /// Judges [by kind](ByKind), and requests say themselves whether they may be repeated. Values
    /// out of range become the nearest sane ones; see [`RetryConfig::validate`].
    pub fn new(config: RetryConfig) -> Self {
        let config = config.clamped();
        Self::of(Shared { config, budget: Budget::default(), replay: ByReplay, judge: ByKind })
    }
}

impl<R, J> RetryPolicy<R, J> {
    fn of(shared: Shared<R, J>) -> Self {
        Self::sharing(Arc::new(shared), 0, Running::default())
    }

    fn sharing(shared: Arc<Shared<R, J>>, began: i64, running: Running) -> Self {
        Self { shared, began, taken_in: AtomicBool::new(false), running, course: None }
    }
}

impl<R: Clone, J: Clone> RetryPolicy<R, J> {
    /// Sets the budget, which may be shared with other policies and layers.
    #[must_use]
    pub fn with_budget(self, budget: Budget) -> Self {
        Self::of(Shared { budget, ..Shared::clone(&self.shared) })
    }

    /// Lets `copy` make the copies of requests: `Some` of those that may be sent twice.
    ///
    /// For requests that do not implement [`Replay`](crate::replay::Replay). Deadlines are read from those
    /// that do, so there are none here but [`RetryConfig::overall`].
    pub fn with_replay<F>(self, copy: F) -> RetryPolicy<ReplayFn<F>, J> {
        let Shared { config, budget, judge, .. } = Shared::clone(&self.shared);
        RetryPolicy::of(Shared { config, budget, replay: ReplayFn::new(copy), judge })
    }

    /// Lets `judge` say which results are tried again: a [`Judge`], such as `ByStatus` (feature
    /// `http`), or a closure. Write the type of the closure's argument, or the compiler cannot
    /// tell it.
    pub fn with_judge<K>(self, judge: K) -> RetryPolicy<R, K> {
        let Shared { config, budget, replay, .. } = Shared::clone(&self.shared);
        RetryPolicy::of(Shared { config, budget, replay, judge })
    }

    /// Tries again what `classify`, a [`Classify`](crate::Classify), holds for a failure or an
    /// overload.
    pub fn with_classify<C>(self, classify: C) -> RetryPolicy<R, ByOutcome<C>> {
        self.with_judge(ByOutcome::new(classify))
    }
}

impl<R, J, Req, Res, E> Policy<Req, Res, E> for RetryPolicy<R, J>
where
    R: ReplayPolicy<Req>,
    J: Judge<Res, E>,
    E: 'static,
{
    type Future = Wait;

    #[inline]
    fn retry(&mut self, request: &mut Req, result: &mut Result<Res, E>) -> Option<Wait> {
        let verdict = match result.as_ref() {
            Err(error) if is_refusal(error) => Verdict::FINAL,
            result => self.shared.judge.judge(result),
        };
        if verdict.ended == Ended::Well {
            self.succeed();
            return None;
        }
        self.fail(verdict, request, result)
    }

    #[inline]
    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        let shared = &*self.shared;
        let copy = if shared.config.attempts > 1 { shared.replay.replay(request) } else { None };
        if self.course.is_none() {
            // Not a retry: the call begins. Of one without a copy nothing more will be heard.
            if copy.is_none() {
                shared.budget.deposit();
            }
            if shared.config.overall.is_some() {
                self.began = time::stamp(time::now());
            }
            *self.taken_in.get_mut() = true;
        }
        copy
    }
}

impl<R, J> RetryPolicy<R, J> {
    #[inline]
    fn succeed(&mut self) {
        self.running.end();
        match self.course.as_mut().and_then(|course| course.permit.take()) {
            Some(permit) => permit.succeed(),
            None => self.shared.budget.first_success(),
        }
    }

    #[cold]
    fn fail<Req, Res, E>(
        &mut self,
        verdict: Verdict,
        request: &mut Req,
        result: &mut Result<Res, E>,
    ) -> Option<Wait>
    where
        R: ReplayPolicy<Req>,
        E: 'static,
    {
        let Shared { config, budget, replay, .. } = &*self.shared;
        let ours = result.as_ref().err().and_then(Error::find);
        let unsent = ours.is_some_and(Error::is_unsent);
        if self.course.is_none() && (!unsent || verdict.is_failure()) {
            budget.deposit();
        }
        let course = self.course.get_or_insert_with(|| Box::new(Course::new()));
        // The attempt is over, so it is no retry that runs.
        course.permit = None;
        if verdict.is_failure() {
            budget.failure();
        }
        let progress = Progress {
            made: course.made,
            safe: replay.is_whole(request) && (unsent || replay.is_idempotent(request)),
            left: end(config, self.began, replay.deadline(request))
                .map(|end| end.saturating_duration_since(time::now())),
            previous: course.backoff,
        };
        let cause = match verdict.ended {
            Ended::Overloaded => Cause::Overload,
            _ => Cause::Failure,
        };
        let again = next(verdict, progress, config, random_fraction());
        let paid = again.and_then(|again| Some((again, budget.retry(cause)?)));
        let Some((again, permit)) = paid else {
            course.note(result, began(config, self.began));
            self.running.end();
            return None;
        };
        course.made += 1;
        course.errors.push(error_of(result));
        course.backoff = Some(again.backoff);
        course.permit = Some(permit);
        replay.begin_attempt(request, course.made);
        Some(Wait::of(again.wait))
    }
}

impl Course {
    fn new() -> Self {
        Self { made: 1, errors: Vec::new(), backoff: None, permit: None }
    }

    /// Tells the last error of the way that led to it, if it is one of ours. A refusal of the
    /// first attempt stays as it is.
    fn note<Res, E: 'static>(&mut self, result: &mut Result<Res, E>, began: Option<Instant>) {
        let Some(last) = result.as_mut().err().and_then(Error::find_mut) else {
            return;
        };
        let earlier = mem::take(&mut self.errors);
        if earlier.is_empty() && last.is_refused() {
            return;
        }
        let error = last.clone();
        let error = if earlier.is_empty() { error } else { Error::exhausted(earlier, error) };
        let duration = began.map(|began| time::now().saturating_duration_since(began));
        *last = error.after_attempts(self.made, duration);
    }
}

/// The error of an attempt, for the history of the call.
fn error_of<Res, E: 'static>(result: &Result<Res, E>) -> Error {
    let error = match result {
        Ok(_) => return Error::failed(Kind::Service).message("the answer was judged a failure"),
        Err(error) => error,
    };
    if let Some(ours) = Error::find(error) {
        return ours.clone();
    }
    // Of a stranger nothing is known but what it says, if it says anything.
    let text = (error as &dyn std::any::Any).downcast_ref::<BoxError>().map(ToString::to_string);
    let error = Error::failed(Kind::Service);
    match text {
        Some(text) => error.caused_by(text),
        None => error,
    }
}

fn began(config: &RetryConfig, stamp: i64) -> Option<Instant> {
    config.overall.map(|_| time::at_stamp(stamp))
}

/// The earlier of two deadlines.
fn end(config: &RetryConfig, stamp: i64, deadline: Option<Instant>) -> Option<Instant> {
    let overall = config.overall.map(|overall| time::later(time::at_stamp(stamp), overall));
    match (overall, deadline) {
        (Some(overall), Some(deadline)) => Some(overall.min(deadline)),
        (overall, deadline) => overall.or(deadline),
    }
}

/// A clone knows nothing of the call that this one serves, unless tower makes it for that call.
impl<R, J> Clone for RetryPolicy<R, J> {
    #[inline]
    fn clone(&self) -> Self {
        // Relaxed, in two steps: it is set and cleared within one `Retry::call`, which has the
        // service for itself.
        let running = if self.taken_in.load(Ordering::Relaxed) {
            self.taken_in.store(false, Ordering::Relaxed);
            self.shared.budget.running()
        } else {
            Running::default()
        };
        Self::sharing(self.shared.clone(), self.began, running)
    }
}

impl<R, J> fmt::Debug for RetryPolicy<R, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy")
            .field("config", &self.shared.config)
            .field("budget", &self.shared.budget)
            .field("replay", &TypeName::<R>::new())
            .field("judge", &TypeName::<J>::new())
            .field("attempts", &self.course.as_ref().map_or(1, |course| course.made))
            .finish()
    }
}
