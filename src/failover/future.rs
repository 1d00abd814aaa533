use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::{
    course::{Course, Late, NEVER, Times, has_limit},
    failure::Failure,
    service::Held,
};
use crate::{
    budget::Running,
    choose::{Choose, Chosen},
    error::{BoxError, Error, Fault},
    member::attempt_timed_out,
    outcome::{Classify, Outcome, fault, is_answer},
    replay::ReplayPolicy,
    time::{self, Instant},
};

pin_project! {
    /// The response of a [`Failover`](super::Failover).
    ///
    /// Dropping it drops the attempt that runs, and no other follows.
    pub struct ResponseFuture<S, R, C, Req>
    where
        S: Choose<Req>,
    {
        #[pin]
        state: State<S::Choosing>,
        // A copy of the request, where it could be made and may be needed.
        spare: Option<Req>,
        shared: Held<S, R, C>,
        running: Running,
        times: Times,
        // Made when the first attempt fails, or has to wait where there is a limit.
        course: Option<Box<Course<S, Req>>>,
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
    /// The attempt is over. Whoever keeps this future does not keep it, since it may have hung.
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
        shared: Held<S, R, C>,
        running: Running,
    ) -> Self {
        let times = Times {
            began: NEVER,
            deadline: deadline.map_or(NEVER, time::stamp),
            idempotent: u64::from(idempotent),
        };
        Self { state: State::Calling { inner }, spare, shared, running, times, course: None }
    }

    /// No attempt is made.
    #[cold]
    pub(super) fn refused(error: Error, shared: Held<S, R, C>, running: Running) -> Self {
        let times = Times { began: NEVER, deadline: NEVER, idempotent: 0 };
        let course = Some(Course::refused(&times, error));
        Self { state: State::Between, spare: None, shared, running, times, course }
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
        let policy = &*this.shared.core().policy;
        loop {
            let StateProj::Calling { mut inner } = this.state.as_mut().project() else {
                let Some(course) = this.course else {
                    return Poll::Pending;
                };
                match course.poll_between(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(error)) => {
                        this.running.end();
                        return Poll::Ready(Err(error));
                    }
                    Poll::Ready(Ok(inner)) => {
                        this.state.set(State::Calling { inner });
                        continue;
                    }
                }
            };
            let failure = match inner.as_mut().poll(cx) {
                Poll::Ready(Ok(response)) => match policy.classify.classify(Ok(&response)) {
                    outcome @ (Outcome::Failure | Outcome::Overload { .. }) => {
                        let last = policy.classify.forbids_repeat(Ok(&response));
                        Failure::answer(response, outcome, last)
                    }
                    _ => {
                        match this.course {
                            Some(course) => course.succeed(&policy.budget),
                            None => policy.budget.first_success(),
                        }
                        this.running.end();
                        return Poll::Ready(Ok(response));
                    }
                },
                Poll::Ready(Err(error)) => {
                    // What is not the endpoint's doing is not for the rule to judge, nor what a plugin
                    // answered.
                    let is_final = fault(&error) == Fault::Endpoint
                        && !is_answer(&error)
                        && (!policy.classify.classify(Err(&error)).is_failure()
                            || policy.classify.forbids_repeat(Err(&error)));
                    let error = Error::from_service(error);
                    if is_final { Failure::Final(error) } else { Failure::Error(error) }
                }
                Poll::Pending => {
                    this.times.begin();
                    if !has_limit(policy, this.times) {
                        return Poll::Pending;
                    }
                    let course = this.course.get_or_insert_with(|| Course::new(this.times));
                    match course.poll_limits(policy, this.times, &*inner, cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Late::Call(error)) => {
                            this.running.end();
                            this.state.set(State::Between);
                            return Poll::Ready(Err(error));
                        }
                        Poll::Ready(Late::Attempt(error)) => Failure::TimedOut(error),
                    }
                }
            };
            let course = this.course.get_or_insert_with(|| Course::new(this.times));
            let timed_out = matches!(failure, Failure::TimedOut(_));
            let last = course.fail(failure, this.shared, this.times, &*inner, this.spare);
            this.state.as_mut().give_up(timed_out);
            if let Some(result) = last {
                this.running.end();
                return Poll::Ready(result);
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
            .field("attempts", &self.course.as_ref().map_or(1, |course| course.made))
            .finish_non_exhaustive()
    }
}
