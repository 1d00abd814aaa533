use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    probation::Probe,
    snapshot::Connected,
    strategy::{Pick, Strategy},
    waiting::Waiting,
};
use crate::{
    choose::Chosen,
    error::{BoxError, Error},
    member::{Flight, Member},
    outcome::{Classify, ErrIsFailure},
};

pin_project! {
    /// Response future of a [`Balance`](super::Balance).
    ///
    /// If the chosen service was ready, it has been called already. If not, this drives it and others to
    /// readiness and calls the first that is ready.
    ///
    /// # Cancel safety
    /// Dropping it at any point takes the call out of what is in flight.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, P, Req, C = ErrIsFailure>
    where
        S: Service<Req>,
        P: Strategy,
    {
        #[pin]
        state: State<S::Future>,
        // These stand beside the state, not in it: what lives in an enum is moved about.
        flight: Option<Flight<Arc<Connected<S>>>>,
        aside: Option<Box<Aside<S, P, Req>>>,
        classify: C,
    }
}

/// What few calls have.
enum Aside<S, P: Strategy, Req> {
    Waiting(Waiting<S, P, Req>),
    /// The call goes to a member on probation, and has its place.
    Probe(Option<Probe>),
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        // No service is ready yet, and the request is still here.
        Waiting,
        Calling { #[pin] inner: F },
        // A call to a member on probation.
        Probing { #[pin] inner: F },
        Refused { error: Option<Error> },
    }
}

impl<S, P, Req, C> ResponseFuture<S, P, Req, C>
where
    S: Service<Req>,
    P: Strategy,
{
    #[inline]
    pub(super) fn calling(
        flight: Flight<Arc<Connected<S>>>,
        inner: S::Future,
        classify: C,
    ) -> Self {
        Self { state: State::Calling { inner }, flight: Some(flight), aside: None, classify }
    }

    pub(super) fn waiting(
        flight: Option<Flight<Arc<Connected<S>>>>,
        waiting: Waiting<S, P, Req>,
        classify: C,
    ) -> Self {
        let aside = Some(Box::new(Aside::Waiting(waiting)));
        Self { state: State::Waiting, flight, aside, classify }
    }

    #[cold]
    pub(super) fn refused(error: Error, classify: C) -> Self {
        let state = State::Refused { error: Some(error) };
        Self { state, flight: None, aside: None, classify }
    }
}

impl<S, P, Req, C> Future for ResponseFuture<S, P, Req, C>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    P: Pick<Req>,
    C: Classify<S::Response, S::Error>,
{
    type Output = Result<S::Response, Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if matches!(self.state, State::Waiting) {
            ready!(self.as_mut().poll_waiting(cx))?;
        }
        let this = self.project();
        match this.state.project() {
            StateProj::Calling { inner } => match this.flight {
                Some(flight) => flight.poll(inner, cx, this.classify),
                // A call has its flight.
                None => Poll::Pending,
            },
            StateProj::Probing { inner } => {
                poll_probe(this.flight, this.aside, inner, cx, this.classify)
            }
            StateProj::Refused { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
            StateProj::Waiting => Poll::Pending,
        }
    }
}

impl<S, P, Req, C> ResponseFuture<S, P, Req, C>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    P: Pick<Req>,
{
    /// Ready when the call is made.
    // Out of line, so that a call that was made at once saves no registers for it.
    #[cold]
    #[inline(never)]
    fn poll_waiting(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut this = self.project();
        let Some(Aside::Waiting(waiting)) = this.aside.as_deref_mut() else {
            return Poll::Pending;
        };
        let called = ready!(waiting.poll_call(this.flight, cx));
        *this.aside = None;
        match called {
            Ok((inner, None)) => this.state.set(State::Calling { inner }),
            Ok((inner, probe)) => {
                *this.aside = Some(Box::new(Aside::Probe(probe)));
                this.state.set(State::Probing { inner });
            }
            Err(error) => {
                *this.flight = None;
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Polls a call to a member on probation, and tells how it ended.
#[cold]
#[inline(never)]
fn poll_probe<S, P, Req, C>(
    flight: &mut Option<Flight<Arc<Connected<S>>>>,
    aside: &mut Option<Box<Aside<S, P, Req>>>,
    inner: Pin<&mut S::Future>,
    cx: &mut Context<'_>,
    classify: &C,
) -> Poll<Result<S::Response, Error>>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
    P: Strategy,
    C: Classify<S::Response, S::Error>,
{
    let Some(flight) = flight else { return Poll::Pending };
    let answer = ready!(flight.poll(inner, cx, classify));
    if let Some(Aside::Probe(probe)) = aside.as_deref_mut() {
        Probe::settle(probe.take(), flight.ended());
    }
    Poll::Ready(answer)
}

impl<S, P, Req, C> Chosen for ResponseFuture<S, P, Req, C>
where
    S: Service<Req>,
    P: Strategy,
{
    fn chosen(&self) -> Option<&Arc<Member>> {
        self.flight.as_ref().map(Flight::member)
    }

    fn is_unsent(&self) -> bool {
        !matches!(self.state, State::Calling { .. } | State::Probing { .. })
    }
}

impl<S, P, Req, C> fmt::Debug for ResponseFuture<S, P, Req, C>
where
    S: Service<Req>,
    P: Strategy,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("chosen", &self.chosen().map(|member| member.key()))
            .field("unsent", &self.is_unsent())
            .finish_non_exhaustive()
    }
}
