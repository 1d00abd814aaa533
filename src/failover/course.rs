//! The course of a call that was not done at once: its attempts, and the time it has.

use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{
    failure::Failure,
    rule::{Next, Progress, next},
    service::{Held, Policy},
};
use crate::{
    budget::{Budget, Permit},
    choose::{Choose, Chosen, Tried},
    error::{BoxError, Error, Kind},
    replay::ReplayPolicy,
    sync::random_fraction,
    time::{self, Instant, Timer},
};

/// In whole words, beside which nothing is moved: a stamp each, and a flag.
pub(super) struct Times {
    /// When the call was first pending; `NEVER` before.
    pub(super) began: i64,
    /// The deadline of the request; `NEVER` without one.
    pub(super) deadline: i64,
    pub(super) idempotent: u64,
}

pub(super) const NEVER: i64 = i64::MAX;

/// Why a call that could have been sent again was not.
const NOT_COPIED: &str = "not sent again: the request cannot be copied (bodies that stream need a \
                          `ReplayBodyLayer` above, other requests `with_replay`)";
const NOT_PAID_FOR: &str = "not sent again: the retry budget is spent (`with_budget`)";

/// The course of a call that was not done at once.
pub(super) struct Course<S, Req> {
    start: Instant,
    /// Who makes the next attempt; from the first failure on.
    service: Option<S>,
    /// Attempts begun, without those that were refused.
    pub(super) made: u32,
    /// It was sent again for free, since a connection was dead.
    resent: bool,
    tried: Tried,
    errors: Vec<Error>,
    request: Option<Req>,
    /// Why no attempt is made.
    refusal: Option<Error>,
    end: Option<Timer>,
    attempt: Option<Timer>,
    wait: Option<Timer>,
    /// The right to make the attempt that runs or is waited for, if it is not the first.
    permit: Option<Permit>,
}

impl Times {
    #[inline]
    pub(super) fn begin(&mut self) {
        if self.began == NEVER {
            self.began = time::stamp(time::now());
        }
    }
}

fn ends_at(timer: &Option<Timer>) -> Option<Instant> {
    timer.as_ref().map(Timer::ends_at)
}

/// A call that came too late is not made.
#[cold]
pub(super) fn came_too_late() -> Error {
    Error::blameless(Kind::Timeout).message("the deadline of the call passed before it was made")
}

#[inline]
pub(super) fn has_limit<R, C>(policy: &Policy<R, C>, times: &Times) -> bool {
    times.deadline != NEVER
        || policy.attempts.overall.is_some()
        || policy.attempts.timeout.is_some()
}

/// What took too long.
pub(super) enum Late {
    Call(Error),
    Attempt(Error),
}

impl<S, Req> Course<S, Req> {
    #[cold]
    pub(super) fn new(times: &Times) -> Box<Self> {
        let start = match times.began {
            NEVER => time::now(),
            began => time::at_stamp(began),
        };
        Box::new(Self {
            start,
            service: None,
            made: 1,
            resent: false,
            tried: Tried::default(),
            errors: Vec::new(),
            request: None,
            refusal: None,
            end: None,
            attempt: None,
            wait: None,
            permit: None,
        })
    }

    /// The course of a call that is not made.
    #[cold]
    pub(super) fn refused(times: &Times, error: Error) -> Box<Self> {
        let mut course = Self::new(times);
        course.refusal = Some(error);
        course
    }

    /// Ready when the call, or this attempt of it, has taken too long.
    pub(super) fn poll_limits<R, C, F: Chosen>(
        &mut self,
        policy: &Policy<R, C>,
        times: &Times,
        inner: &F,
        cx: &mut Context<'_>,
    ) -> Poll<Late> {
        if self.end.is_none() {
            self.end = self.end_of_call(policy, times).map(Timer::at);
        }
        if let (None, Some(timeout)) = (&self.attempt, policy.attempts.timeout) {
            self.attempt = Some(Timer::at(time::later(time::now(), timeout)));
        }
        let late = |kind: &str, limit: Duration| {
            let error = if inner.is_unsent() { Error::not_sent } else { Error::failed };
            let error = error(Kind::Timeout).message(format!("{kind} took longer than {limit:?}"));
            match inner.chosen() {
                Some(member) => error.at_endpoint(member.shared_key()),
                None => error,
            }
        };
        let ended = self.poll_end(cx).is_ready();
        let timed_out = self.attempt.as_mut().is_some_and(|attempt| attempt.poll(cx).is_ready());
        // Where both are over, because nothing was polled for a while, the earlier one was first.
        if timed_out && (!ended || ends_at(&self.attempt) < ends_at(&self.end)) {
            let timeout = policy.attempts.timeout.unwrap_or_default();
            return Poll::Ready(Late::Attempt(late("the attempt", timeout)));
        }
        if ended {
            if self.made == 1 && !inner.is_unsent() {
                policy.budget.deposit();
            }
            // The caller's time is over, which says nothing about the endpoint.
            let error = late("the call", time::now().saturating_duration_since(self.start));
            return Poll::Ready(Late::Call(self.too_late(error.without_blame())));
        }
        Poll::Pending
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.end {
            Some(end) => end.poll(cx),
            None => Poll::Pending,
        }
    }

    fn end_of_call<R, C>(&self, policy: &Policy<R, C>, times: &Times) -> Option<Instant> {
        let overall = policy.attempts.overall.map(|overall| time::later(self.start, overall));
        let deadline = (times.deadline != NEVER).then(|| time::at_stamp(times.deadline));
        match (overall, deadline) {
            (Some(overall), Some(deadline)) => Some(overall.min(deadline)),
            (overall, deadline) => overall.or(deadline),
        }
    }

    /// An attempt has failed. `None`: another one follows.
    #[cold]
    pub(super) fn fail<R, C, Res>(
        &mut self,
        failure: Failure<Res>,
        shared: &Held<S, R, C>,
        times: &Times,
        inner: &S::Choosing,
        spare: &mut Option<Req>,
    ) -> Option<Result<Res, Error>>
    where
        S: Choose<Req> + Clone,
        R: ReplayPolicy<Req>,
    {
        let policy = &*shared.core().policy;
        let chosen = inner.chosen().cloned();
        let again = chosen.as_ref().is_some_and(|member| self.tried.contains(member));
        let failed = failure.seen(chosen.as_ref(), again);
        // The attempt is over. What it paid is kept for the one that takes its place, if a guard
        // turned it away.
        let permit = self.permit.take();
        if let Some(member) = &chosen {
            self.tried.insert(member.clone());
        }
        if self.made == 1 && failure.is_deposited() && (!failed.unsent || failed.is_failure()) {
            policy.budget.deposit();
        }
        if failed.is_failure() {
            policy.budget.failure();
        }
        let untried = shared.core().service.has_untried(&self.tried);
        let progress = Progress {
            made: self.made,
            idempotent: times.idempotent != 0,
            resent: self.resent,
            untried,
            left: self
                .end_of_call(policy, times)
                .map(|end| end.saturating_duration_since(time::now())),
        };
        let mut note = None;
        let next = match next(failed, progress, &policy.attempts, random_fraction()) {
            // A copy whose body turned out too long to be kept is none.
            next if spare.as_ref().is_some_and(|spare| policy.replay.is_whole(spare)) => next,
            Next::Stop => Next::Stop,
            _ if policy.attempts.max <= 1 => Next::Stop,
            _ => {
                note = Some(NOT_COPIED);
                Next::Stop
            }
        };
        let wait = match next {
            Next::Elsewhere | Next::Resend => {
                self.permit = permit;
                self.resent |= next == Next::Resend;
                Some(Duration::ZERO)
            }
            Next::After(wait) => {
                // It is no retry that runs any more.
                drop(permit);
                self.permit = policy.budget.retry(failure.cause());
                if self.permit.is_none() {
                    note = Some(NOT_PAID_FOR);
                }
                self.permit.is_some().then(|| {
                    self.made += 1;
                    wait
                })
            }
            Next::Stop => None,
        };
        match (wait, failure) {
            (Some(wait), failure) => {
                self.errors.push(failure.into_error(chosen.as_ref()));
                self.service.get_or_insert_with(|| shared.core().service.clone());
                self.prepare(wait, policy, times, untried, spare);
                None
            }
            (None, Failure::Error(error) | Failure::TimedOut(error) | Failure::Final(error)) => {
                let last = self.give_up(error);
                Some(Err(match note {
                    Some(note) => last.note(note),
                    None => last,
                }))
            }
            (None, Failure::Answer { response, .. }) => Some(Ok(response)),
        }
    }

    fn prepare<R, C>(
        &mut self,
        wait: Duration,
        policy: &Policy<R, C>,
        times: &Times,
        untried: bool,
        spare: &mut Option<Req>,
    ) where
        R: ReplayPolicy<Req>,
    {
        self.request = spare.take();
        if let Some(request) = &mut self.request {
            // After the last attempt only a guard that says no makes use of another copy.
            if untried || self.made < policy.attempts.max {
                *spare = policy.replay.replay(request);
            }
            policy.replay.begin_attempt(request, self.made);
        }
        self.wait = (!wait.is_zero()).then(|| Timer::at(time::later(time::now(), wait)));
        self.attempt = None;
        if self.end.is_none() {
            self.end = self.end_of_call(policy, times).map(Timer::at);
        }
    }

    /// Ready with the next attempt.
    pub(super) fn poll_between(&mut self, cx: &mut Context<'_>) -> Poll<Result<S::Choosing, Error>>
    where
        S: Choose<Req>,
        S::Error: Into<BoxError> + 'static,
    {
        if let Some(refusal) = self.refusal.take() {
            return Poll::Ready(Err(refusal));
        }
        if self.poll_end(cx).is_ready() {
            let message = format!(
                "the call took longer than {:?}",
                time::now().saturating_duration_since(self.start)
            );
            let unsent = self.errors.iter().all(Error::is_unsent);
            let error = if unsent { Error::not_sent } else { Error::failed };
            let error = error(Kind::Timeout).without_blame().message(message);
            return Poll::Ready(Err(self.too_late(error)));
        }
        if let Some(wait) = &mut self.wait {
            // Nobody would wake this without a runtime, so then it does not wait.
            if wait.can_wake() {
                ready!(wait.poll(cx));
            }
            self.wait = None;
        }
        let Some(service) = &mut self.service else {
            return Poll::Pending;
        };
        match ready!(service.poll_ready(cx)) {
            Err(error) => Poll::Ready(Err(self.give_up(Error::from_service(error)))),
            Ok(()) => match self.request.take() {
                Some(request) => Poll::Ready(Ok(service.call_avoiding(request, &self.tried))),
                None => Poll::Pending,
            },
        }
    }

    /// The attempt that ran went well.
    pub(super) fn succeed(&mut self, budget: &Budget) {
        match self.permit.take() {
            Some(permit) => permit.succeed(),
            None => budget.first_success(),
        }
    }

    /// The last word, with the way that led to it. A refusal from above stays as it is.
    fn give_up(&mut self, last: Error) -> Error {
        self.permit = None;
        let earlier = std::mem::take(&mut self.errors);
        if earlier.is_empty() && last.is_refused() {
            return last;
        }
        self.noted(if earlier.is_empty() { last } else { Error::exhausted(earlier, last) })
    }

    /// The deadline of the whole call has passed, whatever the last attempt would have said.
    fn too_late(&mut self, error: Error) -> Error {
        self.permit = None;
        let earlier = std::mem::take(&mut self.errors);
        self.noted(if earlier.is_empty() { error } else { error.with_history(earlier) })
    }

    fn noted(&self, error: Error) -> Error {
        let duration = time::now().saturating_duration_since(self.start);
        error.after_attempts(self.made, Some(duration))
    }
}
