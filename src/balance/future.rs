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
    pub struct ResponseFuture<S, P, Req>
    where
        S: Service<Req>,
        P: Strategy,
    {
        #[pin]
        state: State<S::Future>,
        // These stand beside the state, not in it: what lives in an enum is moved about.
        flight: Option<Flight<Arc<Connected<S>>>>,
        aside: Option<Box<Aside<S, P, Req>>>,
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

impl<S, P, Req> ResponseFuture<S, P, Req>
where
    S: Service<Req>,
    P: Strategy,
{
    #[inline]
    pub(super) fn calling(flight: Flight<Arc<Connected<S>>>, inner: S::Future) -> Self {
        Self { state: State::Calling { inner }, flight: Some(flight), aside: None }
    }

    pub(super) fn waiting(
        flight: Option<Flight<Arc<Connected<S>>>>,
        waiting: Waiting<S, P, Req>,
    ) -> Self {
        let aside = Some(Box::new(Aside::Waiting(waiting)));
        Self { state: State::Waiting, flight, aside }
    }

    #[cold]
    pub(super) fn refused(error: Error) -> Self {
        Self { state: State::Refused { error: Some(error) }, flight: None, aside: None }
    }
}

impl<S, P, Req> Future for ResponseFuture<S, P, Req>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    P: Pick<Req>,
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
                Some(flight) => flight.poll(inner, cx),
                // A call has its flight.
                None => Poll::Pending,
            },
            StateProj::Probing { inner } => poll_probe(this.flight, this.aside, inner, cx),
            StateProj::Refused { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
            StateProj::Waiting => Poll::Pending,
        }
    }
}

impl<S, P, Req> ResponseFuture<S, P, Req>
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
fn poll_probe<S, P, Req>(
    flight: &mut Option<Flight<Arc<Connected<S>>>>,
    aside: &mut Option<Box<Aside<S, P, Req>>>,
    inner: Pin<&mut S::Future>,
    cx: &mut Context<'_>,
) -> Poll<Result<S::Response, Error>>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
    P: Strategy,
{
    let Some(flight) = flight else { return Poll::Pending };
    let ended = ready!(flight.poll(inner, cx));
    if let (Some(Aside::Probe(probe)), Some(end)) = (aside.as_deref_mut(), flight.end()) {
        probe.take().into_iter().for_each(|probe| probe.settle(end));
    }
    Poll::Ready(ended)
}

impl<S, P, Req> Chosen for ResponseFuture<S, P, Req>
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

impl<S, P, Req> fmt::Debug for ResponseFuture<S, P, Req>
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
