use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::{
    journey::{End, Journey},
    limits::Late,
    ticket::Ticket,
};
use crate::{
    choose::{Choose, Chosen},
    course::{AttemptEnd, Course},
    error::{BoxError, Error},
    member::attempt_timed_out,
    outcome::Classify,
    replay::ReplayPolicy,
};

pin_project! {
    /// Response future of a [`Failover`](super::Failover).
    ///
    /// # Cancel safety
    /// Dropping it drops the attempt that runs, and its hedge, and no other follows.
    pub struct ResponseFuture<S, R, C, Req>
    where
        S: Choose<Req>,
    {
        #[pin]
        state: State<S::Choosing>,
        // A copy of the request, where it could be made and may be needed.
        spare: Option<Req>,
        ticket: Ticket<S, R, C>,
        // Made when the first attempt fails, or has to wait where there is a limit, or if the request has
        // options of its own.
        journey: Option<Box<Journey<S, Req>>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Calling { #[pin] inner: F },
        // Between two attempts.
        Between,
    }
}

impl<F: Chosen> State<F> {
    /// The attempt is over. What keeps this future does not keep the attempt, since it may have hung.
    #[cold]
    #[inline(never)]
    fn give_up(mut self: Pin<&mut Self>, is_to_blame: bool) {
        let chosen = match self.as_mut().project() {
            StateProj::Calling { inner } if is_to_blame => inner.chosen().cloned(),
            _ => None,
        };
        match chosen {
            Some(member) => attempt_timed_out(&member, || self.set(State::Between)),
            None => self.set(State::Between),
        }
    }
}

impl<S, R, C, Req> ResponseFuture<S, R, C, Req>
where
    S: Choose<Req>,
{
    #[inline]
    pub(super) fn new(
        inner: S::Choosing,
        spare: Option<Req>,
        ticket: Ticket<S, R, C>,
        journey: Option<Box<Journey<S, Req>>>,
    ) -> Self {
        Self { state: State::Calling { inner }, spare, ticket, journey }
    }

    /// No attempt is made.
    #[cold]
    pub(super) fn refused(mut ticket: Ticket<S, R, C>) -> Self {
        let journey = Some(Journey::refused(&mut ticket));
        // It does not run.
        ticket.end(false);
        Self { state: State::Between, spare: None, ticket, journey }
    }
}

impl<S, R, C, Req> Future for ResponseFuture<S, R, C, Req>
where
    S: Choose<Req> + Clone,
    S::Error: Into<BoxError> + 'static,
    R: ReplayPolicy<Req>,
    C: Classify<S::Response, S::Error>,
{
    type Output = Result<S::Response, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let ticket = this.ticket;
        let last = loop {
            let StateProj::Calling { mut inner } = this.state.as_mut().project() else {
                let Some(journey) = this.journey else {
                    return Poll::Pending;
                };
                if let Some(late) = journey.take_refusal() {
                    return Poll::Ready(Err(late));
                }
                match journey.poll_between(ticket, this.spare, cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(end)) => break end,
                    Poll::Ready(Ok(inner)) => {
                        this.state.set(State::Calling { inner });
                        continue;
                    }
                }
            };
            let plan = &ticket.reserve().plan;
            let mut is_to_blame = false;
            let (result, ended) = match inner.as_mut().poll(cx) {
                Poll::Ready(Ok(answer)) => match AttemptEnd::of_answer(&plan.classify, &answer) {
                    Some(ended) if !ended.is_final() => (Ok(answer), ended),
                    not_good => {
                        let (budget, good) = (&plan.budget, not_good.is_none());
                        match this.journey {
                            None if good => budget.first_success(),
                            None => Course::settle(None, budget, good),
                            Some(journey) => journey.settle(ticket.reserve(), good),
                        }
                        ticket.end(true);
                        return Poll::Ready(Ok(answer));
                    }
                },
                Poll::Ready(Err(error)) => {
                    let ended = AttemptEnd::of_error(&plan.classify, &error);
                    (Err(Error::from_service(error)), ended)
                }
                Poll::Pending => {
                    ticket.pend();
                    if this.journey.is_none()
                        && !ticket.has_deadline()
                        && !ticket.reserve().live.limits()
                    {
                        return Poll::Pending;
                    }
                    let journey = this.journey.get_or_insert_with(|| Journey::new(ticket));
                    match journey.poll_limits(ticket, &*inner, this.spare, cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Late::Call(end)) => break end,
                        Poll::Ready(Late::Attempt(error, ended)) => {
                            is_to_blame = error.is_evidence();
                            (Err(error), ended)
                        }
                    }
                }
            };
            let journey = this.journey.get_or_insert_with(|| Journey::new(ticket));
            let last = journey.fail(result, ended, ticket, &*inner, this.spare);
            this.state.as_mut().give_up(is_to_blame);
            if let Some(result) = last {
                break End::Badly(result);
            }
        };
        // What is in flight is dropped, though this may be kept: an attempt, its hedge, or both.
        this.state.set(State::Between);
        if let Some(journey) = this.journey {
            drop(journey.hedging.take());
        }
        match last {
            End::Well(answer) => {
                ticket.end(true);
                Poll::Ready(Ok(answer))
            }
            End::Badly(last) => {
                ticket.reserve().live.counts.failed();
                ticket.end(false);
                Poll::Ready(last)
            }
        }
    }
}

impl<S, R, C, Req> fmt::Debug for ResponseFuture<S, R, C, Req>
where
    S: Choose<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("attempts", &self.journey.as_ref().map_or(1, |journey| journey.course.made))
            .finish_non_exhaustive()
    }
}
