//! The way of a call that was not done at once: from endpoint to endpoint, and the time it has.

use std::{
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use super::{
    hedge::Hedging,
    ticket::{Reserve, Ticket},
};
use crate::{
    choose::{Choose, Chosen, Tried},
    course::{AttemptEnd, Attempts, Course, LastAttempt, LiveAttempts, Reach, Then, failed_answer},
    error::{BoxError, Error, Kind},
    outcome::Classify,
    replay::{CallOptions, ReplayPolicy},
    time::{self, Instant, Timer},
};

/// The way of a call that was not done at once.
pub(super) struct Journey<S: Choose<Req>, Req> {
    pub(super) course: Course,
    start: Instant,
    /// What makes the next attempt; from the first failure on.
    service: Option<S>,
    pub(super) tried: Tried,
    request: Option<Req>,
    /// Why no attempt is made.
    refusal: Option<Error>,
    pub(super) until: Option<Instant>,
    end: Option<Timer>,
    pub(super) attempt: Option<Timer>,
    /// The caller gives attempts less time than the layer does: that it is over says nothing of an endpoint.
    pub(super) is_impatient: bool,
    pub(super) hedging: Hedging<S::Choosing>,
    wait: Option<Timer>,
    /// Until when it waits for an endpoint, from the first time on that there was none.
    endpoint: Option<Timer>,
    /// What the balancer said, of a call that waits for an endpoint.
    nowhere: Option<Error>,
}

/// How a call has ended that was not done at once.
pub(super) enum End<T> {
    /// With an answer that no other attempt follows.
    Well(T),
    Badly(Result<T, Error>),
}

/// Why a call failed that found no endpoint.
const WAITED: &str = "waited for an endpoint for as long as it may (`wait_for_endpoint`)";

impl<S: Choose<Req>, Req> Journey<S, Req> {
    #[cold]
    pub(super) fn new<R, C>(ticket: &mut Ticket<S, R, C>) -> Box<Self> {
        Self::with_options(ticket, CallOptions::NONE)
    }

    #[cold]
    pub(super) fn with_options<R, C>(
        ticket: &mut Ticket<S, R, C>,
        options: CallOptions,
    ) -> Box<Self> {
        let start = ticket.start();
        let attempts = ticket.reserve().live.attempts();
        let is_shorter = |own| attempts.timeout.is_none_or(|timeout| own < timeout);
        let is_impatient = options.attempt_timeout().is_some_and(is_shorter);
        let attempts = attempts.with_options(options);
        let overall = attempts.overall.map(|overall| time::later(start, overall));
        Box::new(Self {
            course: Course::new(attempts),
            start,
            service: None,
            tried: Tried::default(),
            request: None,
            refusal: None,
            until: time::earlier(overall, ticket.deadline()),
            end: None,
            attempt: None,
            is_impatient,
            hedging: Hedging::NONE,
            wait: None,
            endpoint: None,
            nowhere: None,
        })
    }

    /// The call came too late, and is not made.
    #[cold]
    pub(super) fn refused<R, C>(ticket: &mut Ticket<S, R, C>) -> Box<Self> {
        ticket.reserve().live.counts.late();
        let mut journey = Self::new(ticket);
        let late = "the deadline of the call passed before it was made";
        journey.refusal = Some(Error::blameless(Kind::Timeout).message(late));
        journey
    }

    pub(super) fn took(&self) -> Duration {
        time::now().saturating_duration_since(self.start)
    }

    /// What ended the call: the limit of the settings, or the deadline that it came with.
    pub(super) fn time_is_over(&self) -> String {
        match self.course.attempts.overall {
            Some(overall) if self.until == Some(time::later(self.start, overall)) => {
                format!("the call took longer than {overall:?}")
            }
            _ => "the deadline of the call passed".to_owned(),
        }
    }

    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.until else {
            return Poll::Pending;
        };
        self.end.get_or_insert_with(|| Timer::at(until)).poll(cx)
    }

    /// What the call took so far teaches when to hedge others, while no attempt has followed on its first.
    /// Unless it `is_over`, since it was cut short, that is less than it would have taken.
    pub(super) fn learn(&self, live: &LiveAttempts, is_over: bool) {
        if self.service.is_none() {
            live.learn(self.course.attempts.hedge, self.took(), is_over);
        }
    }

    /// The call has ended in an answer that no other attempt follows. What else is in flight is dropped.
    #[cold]
    pub(super) fn settle<R, C>(&mut self, reserve: &Reserve<S, R, C>, rewarded: bool) {
        drop(self.hedging.take());
        self.learn(&reserve.live, true);
        Course::settle(Some(&mut self.course), &reserve.plan.budget, rewarded);
    }

    /// An attempt has not ended well. `None`: another one follows, or is in flight.
    #[cold]
    pub(super) fn fail<R, C, Res>(
        &mut self,
        result: Result<Res, Error>,
        ended: AttemptEnd,
        ticket: &Ticket<S, R, C>,
        inner: &S::Choosing,
        spare: &mut Option<Req>,
    ) -> Option<Result<Res, Error>>
    where
        S: Clone,
        R: ReplayPolicy<Req>,
    {
        if self.hedging.is_in_flight() && !ended.ends_call() {
            self.lose(result, &ended, ticket, inner, false);
            return None;
        }
        self.fail_alone(result, ended, ticket, inner, spare)
    }

    /// Of two attempts one has not ended well, and the other goes on.
    pub(super) fn lose<R, C, Res>(
        &mut self,
        result: Result<Res, Error>,
        ended: &AttemptEnd,
        ticket: &Ticket<S, R, C>,
        inner: &S::Choosing,
        is_hedge: bool,
    ) {
        if let Some(member) = inner.chosen() {
            self.tried.insert(member.clone());
        }
        self.note(result, inner);
        self.course.lose(ended, is_hedge, &ticket.reserve().plan.budget);
    }

    fn note<Res>(&mut self, result: Result<Res, Error>, inner: &S::Choosing) {
        self.course.note(result.map_or_else(
            |error| error,
            |_| match inner.chosen() {
                Some(member) => failed_answer().at_endpoint(member.shared_key()),
                None => failed_answer(),
            },
        ));
    }

    /// The same where no other one is in flight, or would be of use.
    pub(super) fn fail_alone<R, C, Res>(
        &mut self,
        result: Result<Res, Error>,
        ended: AttemptEnd,
        ticket: &Ticket<S, R, C>,
        inner: &S::Choosing,
        spare: &mut Option<Req>,
    ) -> Option<Result<Res, Error>>
    where
        S: Clone,
        R: ReplayPolicy<Req>,
    {
        let Reserve { live, plan, service } = ticket.reserve();
        let chosen = inner.chosen().cloned();
        let again = chosen.as_ref().is_some_and(|member| self.tried.contains(member));
        if let Some(member) = &chosen {
            self.tried.insert(member.clone());
        }
        let untried = service.has_untried(&self.tried);
        let may_wait = chosen.is_none() && self.may_wait();
        let none = may_wait && self.finds_none(service);
        let attempt = LastAttempt {
            ended,
            endpoint: chosen.as_ref().map(|member| member.shared_key()),
            reach: Reach { chose: chosen.is_some(), again, untried, none },
            idempotent: ticket.is_idempotent(),
            // A copy whose body turned out too long to be kept is none.
            copied: spare.as_ref().is_some_and(|spare| plan.replay.is_whole(spare)),
            left: self.until.map(|end| end.saturating_duration_since(time::now())),
            may_wait,
        };
        match self.course.end(&attempt, live, plan) {
            Then::Again(wait) => {
                self.note(result, inner);
                self.service.get_or_insert_with(|| service.clone());
                self.prepare(wait, &plan.replay, untried, spare);
                None
            }
            Then::WhenThereIsOne(wait) => {
                self.nowhere = result.err();
                self.prepare(wait, &plan.replay, untried, spare);
                None
            }
            Then::Stop(note) => Some(result.map_err(|error| self.give_up(error, note))),
        }
    }

    /// Whether the call may wait for an endpoint. Its time for that begins when it asks.
    fn may_wait(&mut self) -> bool {
        let Some(longest) = self.course.attempts.wait_for_endpoint else {
            return false;
        };
        let until = || Timer::at(time::later(time::now(), longest));
        self.endpoint.get_or_insert_with(until).ends_at() > time::now()
    }

    /// Whether no endpoint can be chosen just now.
    fn finds_none(&mut self, service: &S) -> bool
    where
        S: Clone,
    {
        let service = self.service.get_or_insert_with(|| service.clone());
        // None to wake: while the call waits it asks again, with a waker.
        service.poll_endpoint(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    fn prepare<R>(&mut self, wait: Duration, replay: &R, untried: bool, spare: &mut Option<Req>)
    where
        R: ReplayPolicy<Req>,
    {
        self.request = spare.take();
        if let Some(request) = &mut self.request {
            // After the last attempt only a guard that says no makes use of another copy.
            let Attempts { max, wait_for_endpoint, .. } = self.course.attempts;
            if untried || self.course.made < max || wait_for_endpoint.is_some() {
                *spare = replay.replay(request);
            }
            replay.begin_attempt(request, self.course.made);
        }
        self.wait = (!wait.is_zero()).then(|| Timer::at(time::later(time::now(), wait)));
        self.attempt = None;
        drop(self.hedging.take());
    }

    /// Why the call is not made, told once.
    pub(super) fn take_refusal(&mut self) -> Option<Error> {
        self.refusal.take()
    }

    /// Ready with the next attempt, or with the end of the call. A hedge may still be in flight.
    pub(super) fn poll_between<R, C>(
        &mut self,
        ticket: &Ticket<S, R, C>,
        spare: &mut Option<Req>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<S::Choosing, End<S::Response>>>
    where
        S: Clone,
        S::Error: Into<BoxError> + 'static,
        R: ReplayPolicy<Req>,
        C: Classify<S::Response, S::Error>,
    {
        if let Poll::Ready(Some(end)) = self.poll_hedge(ticket, None, spare, cx) {
            return Poll::Ready(Err(end));
        }
        let failed = |error| Poll::Ready(Err(End::Badly(Err(error))));
        let plan = &ticket.reserve().plan;
        if self.poll_end(cx).is_ready() {
            let message = self.time_is_over();
            let is_unsent = self.course.is_unsent() && !self.hedging.is_in_flight();
            let error = if is_unsent { Error::not_sent } else { Error::failed };
            let mut error = error(Kind::Timeout).without_blame().message(message);
            if let Some(member) = self.hedging.call().and_then(Chosen::chosen) {
                error = error.at_endpoint(member.shared_key());
            }
            if let Some(nowhere) = self.nowhere.take() {
                error = error.caused_by(nowhere);
            }
            let took = self.took();
            return failed(self.course.too_late(error, took, plan));
        }
        if self.hedging.is_in_flight() {
            return Poll::Pending;
        }
        if let Some(wait) = &mut self.wait {
            // Without a runtime there is nothing that would wake this, so then it does not wait.
            if wait.can_wake() {
                ready!(wait.poll(cx));
            }
            self.wait = None;
        }
        let Some(service) = &mut self.service else {
            return Poll::Pending;
        };
        if self.nowhere.is_some() && service.poll_endpoint(cx).is_pending() {
            let Some(end) = &mut self.endpoint else { return Poll::Pending };
            ready!(end.poll(cx));
            if let Some(nowhere) = self.nowhere.take() {
                return failed(self.give_up(nowhere, Some(WAITED)));
            }
        }
        match ready!(service.poll_ready(cx)) {
            Err(error) => failed(self.give_up(Error::from_service(error), None)),
            Ok(()) => match self.request.take() {
                Some(request) => {
                    // What was not tried is not tried again.
                    if self.nowhere.take().is_none() {
                        self.course.begin(plan);
                    }
                    Poll::Ready(Ok(service.call_avoiding(request, &self.tried)))
                }
                None => Poll::Pending,
            },
        }
    }

    fn give_up(&mut self, last: Error, note: Option<&'static str>) -> Error {
        let took = self.took();
        self.course.give_up(last, Some(took), note)
    }
}
