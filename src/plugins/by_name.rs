use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    body::{Request, Response},
    upstream::{Upstream, UpstreamFuture},
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
        Readying { upstream: Upstream<Req, Res>, call: Option<Call<Req>> },
        Calling { #[pin] inner: F },
        Failed { error: Option<Error> },
    }
}

impl<Req: Request, Res: Response> CallFuture<Req, Res> {
    pub(super) fn new(upstream: Result<Upstream<Req, Res>, Error>, call: Call<Req>) -> Self {
        let state = match upstream {
            Ok(upstream) => State::Readying { upstream, call: Some(call) },
            Err(error) => State::Failed { error: Some(error) },
        };
        Self { state }
    }
}

impl<Req: Request, Res: Response> Future for CallFuture<Req, Res> {
    type Output = Result<Reply<Res>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Readying { upstream, call } => {
                    ready!(upstream.poll_ready(cx))?;
                    let Some(call) = call.take() else { return Poll::Pending };
                    let inner = upstream.call(call);
                    state.set(State::Calling { inner });
                }
                StateProj::Calling { inner } => return inner.poll(cx),
                StateProj::Failed { error } => {
                    return error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
                }
            }
        }
    }
}

impl<Req: Request, Res: Response> fmt::Debug for CallFuture<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallFuture").finish_non_exhaustive()
    }
}
