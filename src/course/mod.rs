//! The course of a call that is sent more than once: what failover and retries have in common.

mod attempts;
mod counts;
mod ended;
mod hedge;
mod live;
mod plan;
mod rule;

use std::{sync::Arc, time::Duration};

#[cfg(feature = "config")]
pub(crate) use self::hedge::read as read_hedge;
pub use self::{attempts::Attempts, hedge::Hedge};
pub(crate) use self::{
    attempts::limit_mistake,
    ended::AttemptEnd,
    live::{LiveAttempts, modes},
    plan::Plan,
    rule::Reach,
};

use self::rule::{Next, Progress, next};
use crate::{
    budget::{Budget, Cause, RetryPermit},
    error::{Error, Kind},
    telemetry::EventKind,
};

/// Why a call that could have been sent again was not.
const NOT_COPIED: &str = "not sent again: the request cannot be copied (bodies that stream need a \
                          `ReplayBodyLayer` above, and longer ones its `with_cap`; other requests \
                          `with_replay`)";
const NOT_PAID_FOR: &str = "not sent again: the retry budget is spent (`with_budget`)";

/// What a call that did not end well at once has behind it.
pub(crate) struct Course {
    /// The settings that the call met.
    pub(crate) attempts: Attempts,
    /// Attempts begun, without those that were refused.
    pub(crate) made: u32,
    /// It was sent again for free, since a connection was dead.
    resent: bool,
    /// How often it has waited, and how long the last time, before what an endpoint asked for.
    waits: u32,
    backoff: Option<Duration>,
    /// The error of each attempt that another one followed.
    errors: Vec<Error>,
    /// The kind and the endpoint of the last of them; no kind if it was an answer.
    after: (Option<Kind>, Option<Arc<str>>),
    /// The right to make the attempt that runs or is waited for, if it is not the first.
    permit: Option<RetryPermit>,
    /// The right to make the hedge that runs beside it.
    hedge: Option<RetryPermit>,
    /// The call has put its share into the budget.
    deposited: bool,
}

/// What an attempt had that has ended.
pub(crate) struct LastAttempt<'a> {
    pub(crate) ended: AttemptEnd,
    /// The key of its endpoint, where that is known.
    pub(crate) endpoint: Option<&'a Arc<str>>,
    pub(crate) reach: Reach,
    pub(crate) idempotent: bool,
    /// There is a copy of the request that can be sent.
    pub(crate) copied: bool,
    /// Time left until the deadline.
    pub(crate) left: Option<Duration>,
    /// It may wait for an endpoint, if there is none.
    pub(crate) may_wait: bool,
}

/// What follows on an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Another one, after this wait.
    Again(Duration),
    /// The same one once more, after this wait and when there is an endpoint.
    WhenThereIsOne(Duration),
    /// Nothing; with the reason, where something can be done about it.
    Stop(Option<&'static str>),
}

impl Course {
    pub(crate) const fn new(attempts: Attempts) -> Self {
        Self {
            attempts,
            made: 1,
            resent: false,
            waits: 0,
            backoff: None,
            errors: Vec::new(),
            after: (None, None),
            permit: None,
            hedge: None,
            deposited: false,
        }
    }

    /// Decides what follows on an attempt that did not end well, pays for it, and tells of it.
    pub(crate) fn end<R, C>(
        &mut self,
        attempt: &LastAttempt<'_>,
        live: &LiveAttempts,
        plan: &Plan<R, C>,
    ) -> Then {
        let LastAttempt { ended, endpoint, reach, idempotent, copied, left, may_wait } = attempt;
        let budget = &plan.budget;
        // The attempt is over. What it paid is kept for the one that takes its place, if a guard
        // turned it away.
        let permit = self.permit.take();
        self.count(ended, budget);
        let attempts = &self.attempts;
        // The first other endpoint is tried at once.
        let at_once = reach.untried && self.made == 1;
        let mut backoff = None;
        let progress = Progress {
            made: self.made,
            resent: self.resent,
            idempotent: *idempotent,
            reach: *reach,
            left: *left,
            may_wait: *may_wait,
        };
        let next = next(ended, progress, attempts, || {
            let own = || plan.wait(attempts, self.waits + 1, self.backoff, ended.cause());
            *backoff.insert(if at_once { Duration::ZERO } else { own() })
        });
        if next != Next::Stop && !copied {
            return Then::Stop(attempts.use_copies().then_some(NOT_COPIED));
        }
        let wait = match next {
            Next::Stop => return Then::Stop(None),
            Next::Elsewhere | Next::Resend => {
                self.permit = permit;
                self.resent |= next == Next::Resend;
                live.counts.attempt(false, *reach);
                Duration::ZERO
            }
            Next::WhenThereIsOne(wait) => {
                self.permit = permit;
                self.waits += u32::from(!wait.is_zero());
                return Then::WhenThereIsOne(wait);
            }
            Next::After(wait) => {
                // It is no retry that runs any more.
                drop(permit);
                self.permit = budget.retry(ended.cause());
                if self.permit.is_none() {
                    plan.reporter.emit(*endpoint, || EventKind::BudgetEmpty);
                    return Then::Stop(Some(NOT_PAID_FOR));
                }
                if !at_once {
                    (self.waits, self.backoff) = (self.waits + 1, backoff);
                }
                self.made += 1;
                live.counts.attempt(true, *reach);
                if !wait.is_zero() {
                    let number = self.made;
                    plan.reporter.emit(*endpoint, || EventKind::Wait { number, delay: wait });
                }
                wait
            }
        };
        self.after = (ended.kind, endpoint.cloned());
        Then::Again(wait)
    }

    /// An attempt has ended that was not good, or is the last.
    fn count(&mut self, ended: &AttemptEnd, budget: &Budget) {
        if ended.made {
            self.deposit(budget);
        }
        if ended.counts {
            budget.failure();
        }
    }

    /// Puts the share of the call into the budget, once.
    pub(crate) fn deposit(&mut self, budget: &Budget) {
        if !std::mem::replace(&mut self.deposited, true) {
            budget.deposit();
        }
    }

    /// The same for a call that ends while its first attempt runs.
    pub(crate) fn deposit_first(&mut self, budget: &Budget) {
        if self.made == 1 || self.hedge.is_some() {
            self.deposit(budget);
        }
    }

    /// Whether one attempt more may be made.
    pub(crate) fn may_hedge(&self) -> bool {
        self.made < self.attempts.max
    }

    /// Pays for a hedge, if the budget can.
    pub(crate) fn pay_hedge(&mut self, budget: &Budget) -> bool {
        self.hedge = budget.retry(Cause::Overload);
        self.hedge.is_some()
    }

    /// A hedge was made, since `endpoint` took longer than `delay`; or not, though it was paid for.
    pub(crate) fn hedged<R, C>(
        &mut self,
        made: bool,
        (endpoint, delay): (&Arc<str>, Duration),
        live: &LiveAttempts,
        plan: &Plan<R, C>,
    ) {
        if !made {
            self.hedge = None;
            return;
        }
        self.made += 1;
        live.counts.hedge();
        let number = self.made;
        plan.reporter.emit(Some(endpoint), || EventKind::Hedge { number, delay });
    }

    /// Of two attempts, one has failed, and the other goes on: the first one if that `is_hedge`.
    pub(crate) fn lose(&mut self, ended: &AttemptEnd, is_hedge: bool, budget: &Budget) {
        let hedge = self.hedge.take();
        if is_hedge {
            // Its share is for the first one to put in.
            if ended.counts {
                budget.failure();
            }
        } else {
            self.permit = hedge;
            self.count(ended, budget);
        }
    }

    /// The hedge has given the answer.
    pub(crate) fn hedge_wins(&mut self, live: &LiveAttempts) {
        live.counts.hedge_won();
        if let Some(hedge) = self.hedge.take() {
            self.permit = Some(hedge);
        }
    }

    /// Another attempt begins.
    pub(crate) fn begin<R, C>(&self, plan: &Plan<R, C>) {
        let (after, endpoint) = &self.after;
        let event = || EventKind::Attempt { number: self.made, after: *after };
        plan.reporter.emit(endpoint.as_ref(), event);
    }

    /// A call has ended in an answer that no other attempt follows. One that had no course, and is
    /// good, needs no more than [`Budget::first_success`].
    #[cold]
    pub(crate) fn settle(course: Option<&mut Self>, budget: &Budget, rewarded: bool) {
        let permit = course.and_then(|course| {
            course.hedge = None;
            let permit = course.permit.take()?;
            // Of a call whose first attempt has not ended.
            course.deposit(budget);
            Some(permit)
        });
        match permit {
            Some(permit) if rewarded => permit.succeed(),
            Some(_) => {}
            None if rewarded => budget.first_success(),
            None => budget.deposit(),
        }
    }

    /// Another attempt follows on one that ended in `error`.
    pub(crate) fn note(&mut self, error: Error) {
        self.errors.push(error);
    }

    /// Whether nothing of the call reached an endpoint, as far as it has gone.
    pub(crate) fn is_unsent(&self) -> bool {
        self.errors.iter().all(Error::is_unsent)
    }

    /// The last word, with the way that led to it. A refusal of the first attempt stays as it is.
    pub(crate) fn give_up(
        &mut self,
        last: Error,
        took: Option<Duration>,
        note: Option<&'static str>,
    ) -> Error {
        (self.permit, self.hedge) = (None, None);
        let earlier = std::mem::take(&mut self.errors);
        let last = match last {
            last if earlier.is_empty() && last.is_refused() => last,
            last if earlier.is_empty() => last.after_attempts(self.made, took),
            last => Error::exhausted(earlier, last).after_attempts(self.made, took),
        };
        match note {
            Some(note) => last.note(note),
            None => last,
        }
    }

    /// The deadline of the whole call has passed, whatever the last attempt would have said.
    pub(crate) fn too_late<R, C>(
        &mut self,
        error: Error,
        took: Duration,
        plan: &Plan<R, C>,
    ) -> Error {
        (self.permit, self.hedge) = (None, None);
        let attempts = self.made;
        plan.reporter.emit(error.endpoint_key(), || EventKind::Timeout { attempts });
        let earlier = std::mem::take(&mut self.errors);
        let error = if earlier.is_empty() { error } else { error.with_history(earlier) };
        error.after_attempts(self.made, Some(took))
    }
}

/// An answer that was judged a failure, in the history of a call. It was sent, so whatever comes of
/// the call is not unsent.
pub(crate) fn failed_answer() -> Error {
    Error::failed(Kind::Service).message("the answer was judged a failure")
}
