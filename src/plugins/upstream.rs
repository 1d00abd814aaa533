use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tower_service::Service;

use super::{
    body::{Request, Response},
    generation::{Generation, Held, PluginStack, retire_if_done},
    slot::Slot,
};
use crate::{
    error::Error,
    guard::{Hold, ResponseFuture},
    plugin::{Call, Reply},
    sync::{Lease, Leases},
};

/// One plugin by its name, whatever becomes of it.
///
/// Made by [`Plugins::get`](super::Plugins::get). It stays valid when the plugin is replaced: the next
/// `poll_ready` goes to what stands in its place. A value that is ready calls what said so.
///
/// # Cancel safety
/// Dropping the response drops the call, and gives back what it reserved.
///
/// # Errors
/// Those of the [stack](super::Layers) of the plugin; `PLUGIN_1202` if it is not enabled, `PLUGIN_1201` if it
/// is there no more, `REGISTRY_1901` after a [shutdown](super::Plugins::shutdown).
///
/// # Example
/// ```
/// use tower::{ServiceExt, service_fn};
/// use tower_upstream::{BoxError, Call, Reply, plugins::{Plugins, Upstream}};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let plugins = Plugins::<u64, u64>::new();
/// plugins.register("tax", service_fn(async |call: Call<u64>| {
///     Ok::<_, BoxError>(Reply::new(call.into_body() + 1))
/// }))?;
/// let tax: Upstream<u64, u64> = plugins.get("tax").ok_or("no tax")?;
/// assert_eq!(tax.oneshot(Call::new(7)).await?.into_body(), 8);
/// # Ok(()) }
/// ```
pub struct Upstream<Req, Res> {
    slot: Leases<Arc<Slot<Req, Res>>, ()>,
    epoch: u64,
    generation: Held<Req, Res>,
    service: Result<PluginStack<Req, Res>, Error>,
    /// From readiness to the call.
    ready: InFlight<Req, Res>,
}

/// Response of an [`Upstream`].
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

impl<Req: Request, Res: Response> Upstream<Req, Res> {
    pub(super) fn new(slot: Leases<Arc<Slot<Req, Res>>, ()>) -> Self {
        let epoch = slot.core().epoch();
        let generation = slot.core().current();
        let service = service_of(generation.core());
        Self { slot, epoch, generation, service, ready: InFlight { lease: None } }
    }

    /// Goes to what stands in the place of the plugin now.
    #[cold]
    fn renew(&mut self) {
        self.ready = InFlight { lease: None };
        self.epoch = self.slot.core().epoch();
        self.generation = self.slot.core().current();
        self.service = service_of(self.generation.core());
    }
}

impl<Req, Res> Upstream<Req, Res> {
    /// Returns the name of the plugin.
    pub fn name(&self) -> &str {
        &self.slot.core().name
    }
}

fn service_of<Req: Request, Res: Response>(
    of: &Generation<Req, Res>,
) -> Result<PluginStack<Req, Res>, Error> {
    of.stack.as_ref().map(|made| made.service.clone()).map_err(Error::clone)
}

impl<Req: Request, Res: Response> Service<Call<Req>> for Upstream<Req, Res> {
    type Response = Reply<Res>;
    type Error = Error;
    type Future = UpstreamFuture<Req, Res>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.slot.core().epoch() != self.epoch {
            self.renew();
        }
        let Ok(service) = &mut self.service else {
            // It is the call that fails.
            return Poll::Ready(Ok(()));
        };
        ready!(service.poll_ready(cx))?;
        if self.ready.lease.is_none() {
            self.ready.lease = Some(self.generation.take());
        }
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, call: Call<Req>) -> Self::Future {
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
impl<Req: Request, Res: Response> Clone for Upstream<Req, Res> {
    fn clone(&self) -> Self {
        Self {
            slot: self.slot.clone(),
            epoch: self.epoch,
            generation: self.generation.clone(),
            service: self.service.clone(),
            ready: InFlight { lease: None },
        }
    }
}

impl<Req, Res> fmt::Debug for Upstream<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Upstream");
        debug.field("name", &self.name());
        match &self.service {
            Ok(stack) => debug.field("stack", stack),
            Err(error) => debug.field("error", error),
        };
        debug.finish()
    }
}

impl<Req, Res> fmt::Debug for InFlight<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").field("held", &self.lease.is_some()).finish()
    }
}
