use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::time::Sleep;

use super::admitted::Admitted;
use crate::{
    choose::Chosen,
    error::{BoxError, Error},
    member::Member,
    outcome::{Classify, Outcome, judge},
};

pin_project! {
    /// The response of a [`CircuitBreaker`](super::CircuitBreaker).
    ///
    /// Dropping it before it is done counts as neither good nor bad, and gives a probe place back.
    pub struct ResponseFuture<F, C> {
        #[pin]
        state: State<F>,
        classify: C,
        // Beside the state, not in it: what lives in an enum is moved about.
        admitted: Admitted,
        // Runs only for a probe that has to wait.
        probe: Option<Pin<Box<Sleep>>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Calling { #[pin] inner: F },
        Refused { error: Option<Error> },
    }
}

impl<F, C> ResponseFuture<F, C> {
    #[inline]
    pub(super) fn new(inner: F, classify: C, admitted: Admitted) -> Self {
        let state = State::Calling { inner };
        Self { state, classify, admitted, probe: None }
    }

    #[inline]
    pub(super) fn refused(error: Error, classify: C) -> Self {
        let state = State::Refused { error: Some(error) };
        Self { state, classify, admitted: Admitted::nothing(), probe: None }
    }
}

impl<F, C, Res, Err> Future for ResponseFuture<F, C>
where
    F: Future<Output = Result<Res, Err>>,
    Err: Into<BoxError> + 'static,
    C: Classify<Res, Err>,
{
    type Output = Result<Res, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.state.project() {
            StateProj::Calling { inner } => {
                let Poll::Ready(result) = inner.poll(cx) else {
                    if this.admitted.is_probe() {
                        time_probe(this.admitted, this.probe, cx);
                    }
                    return Poll::Pending;
                };
                this.admitted.settle(judge(this.classify, &result));
                Poll::Ready(result.map_err(Error::from_service))
            }
            StateProj::Refused { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
        }
    }
}

/// A probe that hangs counts as failed past its time. The call goes on.
#[cold]
fn time_probe(admitted: &mut Admitted, sleep: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) {
    // Without a runtime there are no timers: the next call that asks looks at the clock.
    if sleep.is_none() && tokio::runtime::Handle::try_current().is_ok() {
        *sleep = admitted.probe_timeout().map(|timeout| Box::pin(tokio::time::sleep(timeout)));
    }
    let late = match sleep {
        Some(sleep) => sleep.as_mut().poll(cx),
        None => Poll::Pending,
    };
    if late.is_ready() {
        admitted.settle(Outcome::Failure);
        *sleep = None;
    }
}

impl<F: Chosen, C> Chosen for ResponseFuture<F, C> {
    fn chosen(&self) -> Option<&Arc<Member>> {
        match &self.state {
            State::Calling { inner } => inner.chosen(),
            State::Refused { .. } => None,
        }
    }

    fn is_unsent(&self) -> bool {
        match &self.state {
            State::Calling { inner } => inner.is_unsent(),
            State::Refused { .. } => true,
        }
    }
}

impl<F, C> fmt::Debug for ResponseFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("admitted", &self.admitted).finish_non_exhaustive()
    }
}
