use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    body::{Request, Response},
    passage::{Passage, UpstreamFuture, refused},
    slot::{Found, Place},
};
use crate::{
    error::Error,
    plugin::{Call, Reply},
};

pin_project! {
    /// Response of [`Plugins::call`](super::Plugins::call).
    ///
    /// # Cancel safety
    /// Dropping it drops the call, and gives back what it reserved.
    #[must_use = "futures do nothing unless polled"]
    pub struct CallFuture<Req, Res>
    where
        Req: Request,
        Res: Response,
    {
        #[pin]
        state: State<Req, Res, UpstreamFuture<Req, Res>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<Req, Res, F> {
        // The call is here until the plugin is ready.
        Readying {
            place: Found<Req, Res>,
            passage: Option<Box<Passage<Req, Res>>>,
            call: Option<Call<Req>>,
        },
        Calling { #[pin] inner: F },
    }
}

impl<Req: Request, Res: Response> CallFuture<Req, Res> {
    #[inline]
    pub(super) fn new(found: Result<Found<Req, Res>, Error>, call: Call<Req>) -> Self {
        let state = match found {
            Ok(place) => State::Readying { place, passage: None, call: Some(call) },
            Err(error) => State::Calling { inner: refused(error) },
        };
        Self { state }
    }
}

impl<Req: Request, Res: Response> Future for CallFuture<Req, Res> {
    type Output = Result<Reply<Res>, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        if let StateProj::Readying { place, passage: at, call } = state.as_mut().project() {
            let slot = place.core();
            let mut passage = at.take().unwrap_or_else(|| slot.borrow());
            if slot.poll_ready(&mut passage, cx)?.is_pending() {
                *at = Some(passage);
                return Poll::Pending;
            }
            let Some(call) = call.take() else { return Poll::Pending };
            let inner = passage.call(call);
            slot.give_back(passage);
            state.set(State::Calling { inner });
        }
        match state.project() {
            StateProj::Calling { inner } => inner.poll(cx),
            StateProj::Readying { .. } => Poll::Pending,
        }
    }
}

impl<Req: Request, Res: Response> fmt::Debug for CallFuture<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallFuture").finish_non_exhaustive()
    }
}

/// The plugin of a place, which each call finds anew: it keeps nothing of one that was replaced.
pub(super) struct ByName<Req, Res>(Place<Req, Res>);

impl<Req, Res> ByName<Req, Res> {
    pub(super) fn new(place: Place<Req, Res>) -> Self {
        Self(place)
    }
}

impl<Req: Request, Res: Response> Service<Call<Req>> for ByName<Req, Res> {
    type Response = Reply<Res>;
    type Error = Error;
    type Future = CallFuture<Req, Res>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<Req>) -> CallFuture<Req, Res> {
        CallFuture::new(Ok(self.0.take()), call)
    }
}

impl<Req, Res> Clone for ByName<Req, Res> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
