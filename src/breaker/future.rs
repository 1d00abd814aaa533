use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::{
    admitted::{Admitted, IfPanics},
    settle::Settle,
};
use crate::{
    choose::Chosen,
    error::{BoxError, Error},
    member::Member,
};

pin_project! {
    /// The response of a [`CircuitBreaker`](super::CircuitBreaker).
    ///
    /// Dropping it before it is done gives a probe place back, and counts as
    /// [`CircuitBreakerConfig::cancelled`](super::CircuitBreakerConfig::cancelled) says.
    pub struct ResponseFuture<F, C> {
        #[pin]
        state: State<F>,
        settle: C,
        // Beside the state, not in it: what lives in an enum is moved about.
        admitted: Admitted,
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
    pub(super) fn new(inner: F, settle: C, admitted: Admitted) -> Self {
        let state = State::Calling { inner };
        Self { state, settle, admitted }
    }

    #[inline]
    pub(super) fn refused(error: Error, settle: C) -> Self {
        let state = State::Refused { error: Some(error) };
        Self { state, settle, admitted: Admitted::nothing() }
    }
}

impl<F, C, Res, Err> Future for ResponseFuture<F, C>
where
    F: Future<Output = Result<Res, Err>>,
    Err: Into<BoxError> + 'static,
    C: Settle<Res, Err>,
{
    type Output = Result<C::Response, Error>;

    // It is small, but for what is never run, and the compiler counts that in.
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.state.project() {
            StateProj::Calling { inner } => {
                let panics = IfPanics(this.admitted);
                let polled = inner.poll(cx);
                std::mem::forget(panics);
                let Poll::Ready(result) = polled else {
                    this.admitted.has_to_wait();
                    return Poll::Pending;
                };
                Poll::Ready(this.settle.settle(this.admitted, result).map_err(Error::from_service))
            }
            StateProj::Refused { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
        }
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
