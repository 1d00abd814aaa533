//! The second attempt of a call, beside one that takes long.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use super::ticket::{Reserve, Ticket};
use crate::{
    choose::{Choose, Chosen, Tried},
    course::{Course, Hedge, LiveAttempts},
    replay::ReplayPolicy,
    time::{self, Timer},
};

/// The hedge of an attempt: due, in flight, or neither.
pub(super) struct Hedging<F> {
    due: Due,
    call: Option<Pin<Box<F>>>,
    /// Its own time limit.
    timeout: Option<Timer>,
}

enum Due {
    /// Nothing was looked at yet.
    NotYet,
    After(Duration, Timer),
    Never,
}

impl<F> Hedging<F> {
    pub(super) const NONE: Self = Self { due: Due::NotYet, call: None, timeout: None };

    pub(super) fn is_in_flight(&self) -> bool {
        self.call.is_some()
    }

    pub(super) fn call(&self) -> Option<&F> {
        self.call.as_deref()
    }

    /// Takes out what is in flight. From now on another attempt may be hedged, or the same one again.
    pub(super) fn take(&mut self) -> Option<Pin<Box<F>>> {
        (self.due, self.timeout) = (Due::NotYet, None);
        self.call.take()
    }

    /// Ready with how long the other attempt has had no answer, once a hedge is due.
    pub(super) fn poll_due(
        &mut self,
        hedge: Hedge,
        live: &LiveAttempts,
        cx: &mut Context<'_>,
    ) -> Poll<Duration> {
        if let Due::NotYet = self.due {
            self.due = match live.hedge_delay(hedge) {
                Some(delay) => Due::After(delay, Timer::at(time::later(time::now(), delay))),
                None => Due::Never,
            };
        }
        let Due::After(delay, timer) = &mut self.due else { return Poll::Pending };
        ready!(timer.poll(cx));
        Poll::Ready(*delay)
    }

    /// Makes the hedge of `first`, if it may be made and there is an endpoint for it.
    pub(super) fn begin<S, R, C, Req>(
        &mut self,
        course: &mut Course,
        (first, delay): (&F, Duration),
        tried: &Tried,
        ticket: &Ticket<S, R, C>,
        spare: Option<&Req>,
    ) where
        S: Choose<Req, Choosing = F> + Clone,
        F: Chosen,
        R: ReplayPolicy<Req>,
    {
        // What has not reached its endpoint yet is looked at again after the same time.
        self.due = if first.is_unsent() { Due::NotYet } else { Due::Never };
        let (Some(member), false) = (first.chosen(), first.is_unsent()) else { return };
        let Reserve { live, plan, service } = ticket.reserve();
        let copies = |spare: &&Req| {
            let replay = &plan.replay;
            ticket.is_idempotent() && replay.is_whole(spare) && replay.is_independent(spare)
        };
        let Some(spare) = spare.filter(copies) else { return };
        let mut tried = tried.clone();
        tried.insert(member.clone());
        if !course.may_hedge() || !service.can_hedge(&tried) {
            return;
        }
        let mut service = service.clone();
        // None to wake: a hedge that has to wait is none.
        let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
        let (Poll::Ready(Ok(())), Some(mut request)) = (ready, plan.replay.replay(spare)) else {
            return;
        };
        if !course.pay_hedge(&plan.budget) {
            return;
        }
        plan.replay.begin_attempt(&mut request, course.made + 1);
        self.call = service.call_hedging(request, &tried).map(Box::pin);
        course.hedged(self.call.is_some(), (member.shared_key(), delay), live, plan);
    }

    /// Ready when the hedge has ended; with `None` if it took longer than `timeout`.
    pub(super) fn poll_call<T>(
        &mut self,
        timeout: Option<Duration>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<T>>
    where
        F: Future<Output = T>,
    {
        let Some(call) = &mut self.call else { return Poll::Pending };
        if let Poll::Ready(ended) = call.as_mut().poll(cx) {
            return Poll::Ready(Some(ended));
        }
        let Some(timeout) = timeout else { return Poll::Pending };
        let timer = || Timer::at(time::later(time::now(), timeout));
        self.timeout.get_or_insert_with(timer).poll(cx).map(|()| None)
    }
}
