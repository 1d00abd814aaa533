use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    group::Connected,
    marks::Marks,
    strategy::{Pick, Strategy},
    waiting::Waiting,
};
use crate::{
    choose::Chosen,
    decision::Decision,
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
        aside: Option<Box<Aside<S, P, Req>>>,
        flight: Option<Flight<Arc<Connected<S>>>>,
        classify: C,
    }
}

/// What few calls are in.
enum Aside<S: Service<Req>, P: Strategy, Req> {
    Waiting(Waiting<S, P, Req>),
    /// The call was made, and there is more to do at its end than for most.
    Marked {
        inner: Pin<Box<S::Future>>,
        marks: Marks,
    },
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        // Nearly always.
        Calling { #[pin] inner: F },
        Aside,
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

    pub(super) fn marked(
        flight: Flight<Arc<Connected<S>>>,
        inner: S::Future,
        marks: Marks,
        classify: C,
    ) -> Self {
        let aside = Some(Box::new(Aside::Marked { inner: Box::pin(inner), marks }));
        Self { state: State::Aside, flight: Some(flight), aside, classify }
    }

    pub(super) fn waiting(
        flight: Option<Flight<Arc<Connected<S>>>>,
        waiting: Waiting<S, P, Req>,
        classify: C,
    ) -> Self {
        let aside = Some(Box::new(Aside::Waiting(waiting)));
        Self { state: State::Aside, flight, aside, classify }
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
        if matches!(self.state, State::Aside) {
            if let Some(answer) = ready!(self.as_mut().poll_aside(cx)) {
                return Poll::Ready(answer);
            }
        }
        let this = self.project();
        match this.state.project() {
            StateProj::Calling { inner } => match this.flight {
                Some(flight) => flight.poll(inner, cx, this.classify),
                // A call has its flight.
                None => Poll::Pending,
            },
            StateProj::Refused { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
            StateProj::Aside => Poll::Pending,
        }
    }
}

impl<S, P, Req, C> ResponseFuture<S, P, Req, C>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    P: Pick<Req>,
    C: Classify<S::Response, S::Error>,
{
    /// `None` once the call is made that is as nearly all are.
    // Out of line, so that a call that was made at once saves no registers for it.
    #[cold]
    #[inline(never)]
    fn poll_aside(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<S::Response, Error>>> {
        let mut this = self.project();
        loop {
            match this.aside.as_deref_mut() {
                Some(Aside::Waiting(waiting)) => match ready!(waiting.poll_call(this.flight, cx)) {
                    Ok((inner, marks)) if marks.is_empty() => {
                        *this.aside = None;
                        this.state.set(State::Calling { inner });
                        return Poll::Ready(None);
                    }
                    Ok((inner, marks)) => {
                        let inner = Box::pin(inner);
                        *this.aside = Some(Box::new(Aside::Marked { inner, marks }));
                    }
                    Err(error) => {
                        (*this.aside, *this.flight) = (None, None);
                        return Poll::Ready(Some(Err(error)));
                    }
                },
                Some(Aside::Marked { inner, marks }) => {
                    let Some(flight) = this.flight else { return Poll::Pending };
                    let answer = ready!(flight.poll(inner.as_mut(), cx, this.classify));
                    let answer = marks.settle(answer, flight.ended(), this.classify);
                    return Poll::Ready(Some(answer));
                }
                None => return Poll::Pending,
            }
        }
    }
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
        !matches!(self.state, State::Calling { .. })
            && !matches!(self.aside.as_deref(), Some(Aside::Marked { .. }))
    }

    fn decision(&self) -> Option<Arc<Decision>> {
        match self.aside.as_deref()? {
            Aside::Waiting(waiting) => waiting.decision(),
            Aside::Marked { marks, .. } => marks.decision.clone(),
        }
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
