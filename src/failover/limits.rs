//! What ends an attempt that has no answer: its time, that of the call, and a hedge.

use std::task::{Context, Poll, ready};

use super::{
    journey::{End, Journey},
    ticket::{Reserve, Ticket},
};
use crate::{
    choose::{Choose, Chosen},
    course::{AttemptEnd, Plan},
    error::{BoxError, Error, Kind},
    member::attempt_timed_out,
    outcome::Classify,
    replay::ReplayPolicy,
    time::{self, Timer},
};

/// What an attempt ended of that has no answer.
pub(super) enum Late<T> {
    /// The call is over with it.
    Call(End<T>),
    /// It took too long.
    Attempt(Error, AttemptEnd),
}

/// Says that a call took too long, which `inner` was an attempt of.
fn late(inner: &impl Chosen, message: String) -> Error {
    let error = if inner.is_unsent() { Error::not_sent } else { Error::failed };
    let error = error(Kind::Timeout).message(message);
    let error = match inner.decision() {
        Some(decision) => error.decided(decision),
        None => error,
    };
    match inner.chosen() {
        Some(member) => error.at_endpoint(member.shared_key()),
        None => error,
    }
}

impl<S, Req> Journey<S, Req>
where
    S: Choose<Req> + Clone,
    S::Error: Into<BoxError> + 'static,
{
    /// Ready when the call, or this attempt of it, has taken too long, or a hedge has ended the call.
    pub(super) fn poll_limits<R, C>(
        &mut self,
        ticket: &Ticket<S, R, C>,
        inner: &S::Choosing,
        spare: &mut Option<Req>,
        cx: &mut Context<'_>,
    ) -> Poll<Late<S::Response>>
    where
        R: ReplayPolicy<Req>,
        C: Classify<S::Response, S::Error>,
    {
        let Reserve { live, plan, .. } = ticket.reserve();
        if let (None, Some(timeout)) = (&self.attempt, self.course.attempts.timeout) {
            self.attempt = Some(Timer::at(time::later(time::now(), timeout)));
        }
        let ended = self.poll_end(cx).is_ready();
        let timed_out = self.attempt.as_mut().is_some_and(|attempt| attempt.poll(cx).is_ready());
        // What is there is taken, but nothing begins any more.
        if self.hedging.is_in_flight() || !(ended || timed_out) {
            if let Poll::Ready(Some(end)) = self.poll_hedge(ticket, Some(inner), spare, cx) {
                return Poll::Ready(Late::Call(end));
            }
        }
        // Where both are over, because nothing was polled for a while, the earlier one was first.
        if timed_out && (!ended || self.attempt.as_ref().map(Timer::ends_at) < self.until) {
            let (error, ended) = self.late_attempt(inner, plan, spare.as_ref());
            if !self.hedging.is_in_flight() {
                self.learn(live, error.is_evidence());
            }
            return Poll::Ready(Late::Attempt(error, ended));
        }
        if ended {
            self.learn(live, false);
            if !inner.is_unsent() {
                self.course.deposit_first(&plan.budget);
            }
            // The caller's time is over, which says nothing about the endpoint.
            let error = late(inner, self.time_is_over()).without_blame();
            let took = self.took();
            let error = self.course.too_late(error, took, plan);
            return Poll::Ready(Late::Call(End::Badly(Err(error))));
        }
        Poll::Pending
    }

    /// An attempt took too long: the endpoint's fault, unless its caller is in a hurry, or has not sent what
    /// it announced.
    fn late_attempt<R, C>(
        &self,
        inner: &S::Choosing,
        plan: &Plan<R, C>,
        spare: Option<&Req>,
    ) -> (Error, AttemptEnd)
    where
        R: ReplayPolicy<Req>,
    {
        let limit = self.course.attempts.timeout.unwrap_or_default();
        let owes = spare.is_some_and(|spare| plan.replay.waits_for_caller(spare));
        let why = if owes { ", and waited for the rest of its request" } else { "" };
        let error = late(inner, format!("the attempt took longer than {limit:?}{why}"));
        let error = if self.is_impatient || owes { error.without_blame() } else { error };
        let ended = AttemptEnd::timed_out(&error, owes);
        (error, ended)
    }

    /// Ready when the call has ended by its hedge; with `None` if the hedge alone was left, and has failed.
    /// A hedge begins only beside `first`.
    pub(super) fn poll_hedge<R, C>(
        &mut self,
        ticket: &Ticket<S, R, C>,
        first: Option<&S::Choosing>,
        spare: &mut Option<Req>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<End<S::Response>>>
    where
        R: ReplayPolicy<Req>,
        C: Classify<S::Response, S::Error>,
    {
        let Reserve { live, plan, .. } = ticket.reserve();
        let (Some(hedge), timeout) = (self.course.attempts.hedge, self.course.attempts.timeout)
        else {
            return Poll::Pending;
        };
        loop {
            if let (Some(first), false) = (first, self.hedging.is_in_flight()) {
                let delay = ready!(self.hedging.poll_due(hedge, live, cx));
                let (course, tried) = (&mut self.course, &self.tried);
                self.hedging.begin(course, (first, delay), tried, ticket, spare.as_ref());
                continue;
            }
            let ended = ready!(self.hedging.poll_call(timeout, cx));
            let Some(call) = self.hedging.take() else { return Poll::Pending };
            let mut is_to_blame = false;
            let (result, ended) = match ended {
                Some(Ok(answer)) => match AttemptEnd::of_answer(&plan.classify, &answer) {
                    Some(ended) if !ended.is_final() => (Ok(answer), ended),
                    not_good => {
                        self.course.hedge_wins(live);
                        self.settle(ticket.reserve(), not_good.is_none());
                        return Poll::Ready(Some(End::Well(answer)));
                    }
                },
                Some(Err(error)) => {
                    let ended = AttemptEnd::of_error(&plan.classify, &error);
                    (Err(Error::from_service(error)), ended)
                }
                None => {
                    let (error, ended) = self.late_attempt(&*call, plan, spare.as_ref());
                    is_to_blame = error.is_evidence();
                    (Err(error), ended)
                }
            };
            let last = match first {
                Some(_) if !ended.ends_call() => {
                    self.lose(result, &ended, ticket, &*call, true);
                    None
                }
                _ => self.fail_alone(result, ended, ticket, &*call, spare),
            };
            match call.chosen().cloned() {
                Some(member) if is_to_blame => attempt_timed_out(&member, || drop(call)),
                _ => drop(call),
            }
            match (last, first) {
                (Some(last), _) => return Poll::Ready(Some(End::Badly(last))),
                (None, None) => return Poll::Ready(None),
                (None, Some(_)) => {}
            }
        }
    }
}
