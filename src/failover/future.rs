use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::{
    journey::{CallTimes, Journey, Late, NEVER},
    reserve::InReserve,
};
use crate::{
    budget::RunningCall,
    choose::{Choose, Chosen},
    course::{AttemptEnd, Course},
    error::{BoxError, Error},
    member::attempt_timed_out,
    outcome::Classify,
    replay::ReplayPolicy,
    time::{self, Instant},
};

pin_project! {
    /// Response future of a [`Failover`](super::Failover).
    ///
    /// # Cancel safety
    /// Dropping it drops the attempt that runs, and no other follows.
    pub struct ResponseFuture<S, R, C, Req>
    where
        S: Choose<Req>,
    {
        #[pin]
        state: State<S::Choosing>,
        // A copy of the request, where it could be made and may be needed.
        spare: Option<Req>,
        reserve: InReserve<S, R, C>,
        running: RunningCall,
        times: CallTimes,
        // Made when the first attempt fails, or has to wait where there is a limit.
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
    fn give_up(mut self: Pin<&mut Self>, timed_out: bool) {
        let chosen = match self.as_mut().project() {
            StateProj::Calling { inner } if timed_out => inner.chosen().cloned(),
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
        idempotent: bool,
        deadline: Option<Instant>,
        reserve: InReserve<S, R, C>,
        running: RunningCall,
    ) -> Self {
        let times = CallTimes {
            began: NEVER,
            deadline: deadline.map_or(NEVER, time::stamp),
            idempotent: u64::from(idempotent),
        };
        Self { state: State::Calling { inner }, spare, reserve, running, times, journey: None }
    }

    /// No attempt is made.
    #[cold]
    pub(super) fn refused(reserve: InReserve<S, R, C>, running: RunningCall) -> Self {
        let times = CallTimes { began: NEVER, deadline: NEVER, idempotent: 0 };
        let journey = Some(Journey::refused(reserve.core(), &times));
        Self { state: State::Between, spare: None, reserve, running, times, journey }
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
        let reserve = &**this.reserve.core();
        let last = loop {
            let StateProj::Calling { mut inner } = this.state.as_mut().project() else {
                let Some(journey) = this.journey else {
                    return Poll::Pending;
                };
                if let Some(late) = journey.take_refusal() {
                    this.running.end();
                    return Poll::Ready(Err(late));
                }
                match journey.poll_between(reserve, cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => break Err(error),
                    Poll::Ready(Ok(inner)) => {
                        this.state.set(State::Calling { inner });
                        continue;
                    }
                }
            };
            let classify = &reserve.plan.classify;
            let mut timed_out = false;
            let (result, ended) = match inner.as_mut().poll(cx) {
                Poll::Ready(Ok(answer)) => match AttemptEnd::of_answer(classify, &answer) {
                    Some(ended) if !ended.is_final() => (Ok(answer), ended),
                    not_good => {
                        let (budget, good) = (&reserve.plan.budget, not_good.is_none());
                        match this.journey {
                            None if good => budget.first_success(),
                            journey => {
                                let course = journey.as_mut().map(|journey| &mut journey.course);
                                Course::settle(course, budget, good);
                            }
                        }
                        this.running.end();
                        return Poll::Ready(Ok(answer));
                    }
                },
                Poll::Ready(Err(error)) => {
                    let ended = AttemptEnd::of_error(classify, &error);
                    (Err(Error::from_service(error)), ended)
                }
                Poll::Pending => {
                    this.times.begin();
                    if this.journey.is_none()
                        && !this.times.has_deadline()
                        && !reserve.live.limits()
                    {
                        return Poll::Pending;
                    }
                    let journey =
                        this.journey.get_or_insert_with(|| Journey::new(reserve, this.times));
                    match journey.poll_limits(reserve, &*inner, cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Late::Call(error)) => {
                            this.state.set(State::Between);
                            break Err(error);
                        }
                        Poll::Ready(Late::Attempt(error)) => {
                            timed_out = true;
                            let ended = AttemptEnd::timed_out(error.is_unsent());
                            (Err(error), ended)
                        }
                    }
                }
            };
            let journey = this.journey.get_or_insert_with(|| Journey::new(reserve, this.times));
            let last = journey.fail(result, ended, this.reserve, this.times, &*inner, this.spare);
            this.state.as_mut().give_up(timed_out);
            if let Some(result) = last {
                break result;
            }
        };
        reserve.live.counts.failed();
        this.running.end();
        Poll::Ready(last)
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
