use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    body::{Request, Response},
    generation::{PluginStack, gone},
    passage::{InFlight, UpstreamFuture, refused},
    slot::Place,
};
use crate::{
    error::Error,
    guard::ResponseFuture,
    plugin::{Call, Reply},
    sync::WaitKey,
};

pin_project! {
    /// Response of [`Plugins::call`](super::Plugins::call).
    ///
    /// The call counts as [in flight](super::Plugins::in_flight) until this is dropped or done: a plugin that is replaced
    /// meanwhile keeps its connections until then, or until the call goes on at what has taken its place.
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
        Readying { way: Way<Req, Res>, call: Option<Call<Req>> },
        Calling { #[pin] inner: F },
    }
}

/// The way of one call through whatever stands in the place of its plugin.
struct Way<Req, Res> {
    /// While it waits to be ready. First, so that it is gone when what it is of is told of the end of the call.
    stack: Option<Box<PluginStack<Req, Res>>>,
    held: InFlight<Req, Res>,
    waits: WaitKey,
}

impl<Req: Request, Res: Response> CallFuture<Req, Res> {
    #[inline]
    pub(super) fn new(found: Result<InFlight<Req, Res>, Error>, call: Call<Req>) -> Self {
        let state = match found {
            Ok(held) => {
                let way = Way { stack: None, held, waits: WaitKey::default() };
                State::Readying { way, call: Some(call) }
            }
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
        if let StateProj::Readying { way, call } = state.as_mut().project() {
            let mut stack = match ready!(way.poll_ready(cx)) {
                Ok(stack) => stack,
                Err(error) => {
                    drop(way.held.take());
                    return Poll::Ready(Err(error));
                }
            };
            let Some(call) = call.take() else { return Poll::Pending };
            let inner = stack.call(call);
            let inner = ResponseFuture::holding(way.end(stack), inner);
            state.set(State::Calling { inner });
        }
        match state.project() {
            StateProj::Calling { inner } => inner.poll(cx),
            StateProj::Readying { .. } => Poll::Pending,
        }
    }
}

impl<Req: Request, Res: Response> Way<Req, Res> {
    /// A stack that is ready for the call.
    #[inline]
    fn poll_ready(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Box<PluginStack<Req, Res>>, Error>> {
        loop {
            // It has ended.
            let Some(generation) = self.held.generation() else { return Poll::Pending };
            // Looked at after it was counted, and after it was listed: see `replace`.
            if !generation.is_replaced() {
                let made = generation.stack.as_ref().map_err(Error::clone)?;
                let stack = self.stack.take().or_else(|| generation.idle.take());
                let mut stack = stack.unwrap_or_else(|| Box::new(made.service.clone()));
                match stack.poll_ready(cx) {
                    Poll::Ready(is_ready) => {
                        generation.waiting.leave(&mut self.waits);
                        return Poll::Ready(is_ready.map(|()| stack));
                    }
                    Poll::Pending => self.stack = Some(stack),
                }
                generation.waiting.wait(&mut self.waits, cx.waker());
                if !generation.is_replaced() {
                    return Poll::Pending;
                }
            }
            self.go_on()?;
        }
    }

    /// Goes to what stands in its place now.
    #[cold]
    fn go_on(&mut self) -> Result<(), Error> {
        let Some(generation) = self.held.generation() else { return Ok(()) };
        generation.waiting.leave(&mut self.waits);
        self.stack = None;
        let next = generation.next().ok_or_else(|| gone(&generation.plugin.name))?;
        self.held = InFlight::of(&next);
        Ok(())
    }

    /// What the call holds until its end. The stack is for the next one.
    #[inline]
    fn end(&mut self, stack: Box<PluginStack<Req, Res>>) -> InFlight<Req, Res> {
        if let Some(generation) = self.held.generation() {
            generation.idle.put(stack);
        }
        self.held.take()
    }
}

impl<Req, Res> Drop for Way<Req, Res> {
    #[inline]
    fn drop(&mut self) {
        if let Some(generation) = self.held.generation() {
            generation.waiting.leave(&mut self.waits);
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
        CallFuture::new(Ok(self.0.core().take()), call)
    }
}

impl<Req, Res> Clone for ByName<Req, Res> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
