use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    body::{Request, Response},
    passage::{Passage, UpstreamFuture},
    slot::Place,
};
use crate::{
    error::Error,
    plugin::{Call, Reply},
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
    place: Place<Req, Res>,
    passage: Passage<Req, Res>,
}

impl<Req: Request, Res: Response> Upstream<Req, Res> {
    pub(super) fn new(place: Place<Req, Res>) -> Self {
        let passage = place.core().passage();
        Self { place, passage }
    }
}

impl<Req, Res> Upstream<Req, Res> {
    /// Returns the name of the plugin.
    pub fn name(&self) -> &str {
        &self.place.core().name
    }
}

impl<Req: Request, Res: Response> Service<Call<Req>> for Upstream<Req, Res> {
    type Response = Reply<Res>;
    type Error = Error;
    type Future = UpstreamFuture<Req, Res>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.place.core().poll_ready(&mut self.passage, cx)
    }

    #[inline]
    fn call(&mut self, call: Call<Req>) -> Self::Future {
        self.passage.call(call)
    }
}

/// A clone starts unready.
impl<Req: Request, Res: Response> Clone for Upstream<Req, Res> {
    fn clone(&self) -> Self {
        Self { place: self.place.clone(), passage: self.passage.clone() }
    }
}

impl<Req, Res> fmt::Debug for Upstream<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Upstream");
        debug.field("name", &self.name());
        self.passage.show(&mut debug);
        debug.finish()
    }
}
