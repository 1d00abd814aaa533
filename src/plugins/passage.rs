use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    body::{Request, Response},
    calls::Taken,
    generation::{Generation, Held, PluginStack, retire_if_done},
};
use crate::{
    error::Error,
    guard::{Hold, ResponseFuture},
    plugin::{Call, Reply},
    sync::WaitKey,
};

/// The way of calls through one generation of a plugin.
pub(super) struct Passage<Req, Res> {
    /// Which of all that stood in its place it is.
    pub(super) epoch: u64,
    generation: Held<Req, Res>,
    service: Result<PluginStack<Req, Res>, Error>,
    /// From readiness to the call.
    ready: InFlight<Req, Res>,
    /// While it waits to be ready.
    waits: WaitKey,
}

/// Response of an [`Upstream`](super::Upstream).
pub type UpstreamFuture<Req, Res> =
    ResponseFuture<<PluginStack<Req, Res> as Service<Call<Req>>>::Future, InFlight<Req, Res>>;

/// Holds the generation of a plugin for one call. A part of an [`UpstreamFuture`].
///
/// ```
/// use tower_upstream::{guard::ResponseFuture, plugins::InFlight};
/// type Future<F> = ResponseFuture<F, InFlight<u64, u64>>;
/// ```
pub struct InFlight<Req, Res> {
    taken: Option<Taken<Generation<Req, Res>>>,
}

impl<Req, Res> InFlight<Req, Res> {
    /// Counts a call. What it looks at afterwards is not older than that.
    #[inline]
    pub(super) fn of(held: &Held<Req, Res>) -> Self {
        Self { taken: Some(Taken::of(held)) }
    }

    pub(super) const fn none() -> Self {
        Self { taken: None }
    }

    #[inline]
    pub(super) fn generation(&self) -> Option<&Generation<Req, Res>> {
        self.taken.as_ref().map(Taken::core)
    }

    /// What is held, which is held here no more.
    #[inline]
    pub(super) fn take(&mut self) -> Self {
        Self { taken: self.taken.take() }
    }
}

impl<Req: Request, Res: Response> Passage<Req, Res> {
    pub(super) fn new(epoch: u64, generation: Held<Req, Res>) -> Self {
        let service = generation.core().stack.as_ref().map(|made| made.service.clone());
        let service = service.map_err(Error::clone);
        let (ready, waits) = (InFlight::none(), WaitKey::default());
        Self { epoch, generation, service, ready, waits }
    }

    /// Whether the generation waits for the call. One that was replaced before it was told of the call does not.
    #[inline]
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        let Ok(service) = &mut self.service else {
            // It is the call that fails.
            return Poll::Ready(Ok(true));
        };
        let Poll::Ready(is_ready) = service.poll_ready(cx) else {
            return self.poll_replaced(cx);
        };
        self.generation.core().waiting.leave(&mut self.waits);
        is_ready?;
        if self.ready.taken.is_none() {
            self.ready = InFlight::of(&self.generation);
            // Looked at after it was counted: what replaces it does so in the other order, so one of the two sees
            // the other.
            if self.generation.core().is_replaced() {
                self.ready = InFlight::none();
                return Poll::Ready(Ok(false));
            }
        }
        Poll::Ready(Ok(true))
    }

    /// The generation may never be ready: what takes its place need not wait for it.
    #[cold]
    fn poll_replaced(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        let of = self.generation.core();
        of.waiting.wait(&mut self.waits, cx.waker());
        if of.is_replaced() { Poll::Ready(Ok(false)) } else { Poll::Pending }
    }

    #[inline]
    pub(super) fn call(&mut self, call: Call<Req>) -> UpstreamFuture<Req, Res> {
        let held = self.ready.take();
        match &mut self.service {
            Ok(service) => ResponseFuture::holding(held, service.call(call)),
            Err(error) => refused(error.clone()),
        }
    }
}

/// A call that goes through no generation.
#[cold]
pub(super) fn refused<Req: Request, Res: Response>(error: Error) -> UpstreamFuture<Req, Res> {
    ResponseFuture::refused_with(InFlight::none(), error)
}

impl<Req, Res> Hold<Reply<Res>, Error> for InFlight<Req, Res> {
    type Response = Reply<Res>;

    #[inline]
    fn settle(&mut self, result: Result<Reply<Res>, Error>) -> Result<Reply<Res>, Error> {
        result
    }
}

impl<Req, Res> Drop for InFlight<Req, Res> {
    #[inline]
    fn drop(&mut self) {
        if let Some(taken) = self.taken.take_if(|taken| taken.core().is_replaced()) {
            last_of(taken);
        }
    }
}

/// The last call of a generation that was replaced ends it.
#[cold]
fn last_of<Req, Res>(taken: Taken<Generation<Req, Res>>) {
    if let Some(held) = taken.end() {
        retire_if_done(&held);
    }
}

/// A clone starts unready.
impl<Req: Request, Res: Response> Clone for Passage<Req, Res> {
    fn clone(&self) -> Self {
        Self {
            epoch: self.epoch,
            generation: self.generation.clone(),
            service: self.service.clone(),
            ready: InFlight::none(),
            waits: WaitKey::default(),
        }
    }
}

impl<Req, Res> Drop for Passage<Req, Res> {
    #[inline]
    fn drop(&mut self) {
        self.generation.core().waiting.leave(&mut self.waits);
    }
}

/// As a part of what it is the way to.
impl<Req, Res> Passage<Req, Res> {
    pub(super) fn show(&self, debug: &mut fmt::DebugStruct<'_, '_>) {
        match &self.service {
            Ok(stack) => debug.field("stack", stack),
            Err(error) => debug.field("error", error),
        };
    }
}

impl<Req, Res> fmt::Debug for InFlight<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").field("held", &self.taken.is_some()).finish()
    }
}
