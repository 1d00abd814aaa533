use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tower_service::Service;

use super::{
    body::{Request, Response},
    generation::{Generation, Held, PluginStack, retire_if_done},
};
use crate::{
    error::Error,
    guard::{Hold, ResponseFuture},
    plugin::{Call, Reply},
    sync::Lease,
};

/// The way of calls through one generation of a plugin.
pub(super) struct Passage<Req, Res> {
    /// Which of all that stood in its place it is.
    pub(super) epoch: u64,
    generation: Held<Req, Res>,
    service: Result<PluginStack<Req, Res>, Error>,
    /// From readiness to the call.
    ready: InFlight<Req, Res>,
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
    lease: Option<Arc<Lease<Generation<Req, Res>, ()>>>,
}

impl<Req: Request, Res: Response> Passage<Req, Res> {
    pub(super) fn new(epoch: u64, generation: Held<Req, Res>) -> Self {
        let service = generation.core().stack.as_ref().map(|made| made.service.clone());
        let service = service.map_err(Error::clone);
        Self { epoch, generation, service, ready: InFlight { lease: None } }
    }

    /// Whether the generation waits for the call. One that was replaced before it was told of the call does not.
    #[inline]
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        let Ok(service) = &mut self.service else {
            // It is the call that fails.
            return Poll::Ready(Ok(true));
        };
        ready!(service.poll_ready(cx))?;
        if self.ready.lease.is_none() {
            let ready = InFlight { lease: Some(self.generation.take()) };
            // Looked at after it was told: what replaces it does so in the other order, so one of the two sees
            // the other.
            if self.generation.core().is_replaced() {
                return Poll::Ready(Ok(false));
            }
            self.ready = ready;
        }
        Poll::Ready(Ok(true))
    }

    #[inline]
    pub(super) fn call(&mut self, call: Call<Req>) -> UpstreamFuture<Req, Res> {
        let held = InFlight { lease: self.ready.lease.take() };
        match &mut self.service {
            Ok(service) => ResponseFuture::holding(held, service.call(call)),
            Err(error) => ResponseFuture::refused_with(held, error.clone()),
        }
    }
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
        if let Some(lease) = self.lease.take() {
            if lease.core().is_replaced() {
                last_of(lease);
            }
        }
    }
}

/// The last call of a generation that was replaced ends it.
#[cold]
fn last_of<Req, Res>(lease: Arc<Lease<Generation<Req, Res>, ()>>) {
    let held = Held::of(lease);
    retire_if_done(&held);
}

/// A clone starts unready.
impl<Req: Request, Res: Response> Clone for Passage<Req, Res> {
    fn clone(&self) -> Self {
        Self {
            epoch: self.epoch,
            generation: self.generation.clone(),
            service: self.service.clone(),
            ready: InFlight { lease: None },
        }
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
        f.debug_struct("InFlight").field("held", &self.lease.is_some()).finish()
    }
}
