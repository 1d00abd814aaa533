use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::stream::{self, BoxStream, StreamExt};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    body::{Request, Response},
    generation::shut_down,
    places::NOWHERE,
    program::Program,
    upstream::Upstream,
};
use crate::{
    balance::{Balance, BalanceLayer, LeastRequest, Priority},
    connect::Connect,
    discover::{Discover, EndpointSet},
    endpoint::Endpoint,
    error::{Error, Kind},
    failover::{Attempts, Failover, FailoverLayer},
    guard::ResponseFuture,
    member::Member,
    plugin::{Call, Reply},
};

/// The plugins of one `type`, as one service.
///
/// Balances over them by the fewest requests: those with the greatest `priority` first, and others as far as those
/// cannot carry the load. A call that one refuses, or that is idempotent and fails, goes to another. Plugins
/// join and leave while it is in use.
///
/// # Errors
/// [`Kind::NoEndpoints`], code `LOADBALANCER_1701`, at once, if there is no plugin of the type that is enabled;
/// `REGISTRY_1901` after a [shutdown](super::Plugins::shutdown); otherwise those of the plugins.
///
/// # Cancel safety
/// Dropping the response drops the call.
///
/// # Example
/// ```
/// use tower::{ServiceExt, service_fn};
/// use tower_upstream::{
///     BoxError, Call, Endpoint, Reply, config::PluginConfig, connect_fn,
///     plugins::{AnyConnector, Plugins},
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let plugins = Plugins::<(), String>::new();
/// for (name, priority) in [("card", 10), ("bill", 1)] {
///     let connector = AnyConnector::new(connect_fn(move |_: &Endpoint| {
///         service_fn(async move |_: Call<()>| Ok::<_, BoxError>(Reply::new(name.to_owned())))
///     }));
///     let plugin = PluginConfig::new(name, "mine").with_kind("payment").with_priority(priority);
///     plugins.register_with(plugin.with_endpoint("a:1"), connector)?;
/// }
/// let payment = plugins.group("payment");
/// assert_eq!(payment.oneshot(Call::new(())).await?.into_body(), "card");
/// # Ok(()) }
/// ```
pub struct Group<Req, Res>
where
    Req: Request,
    Res: Response,
{
    of: Members<Req, Res>,
    inner: Chosen<Req, Res>,
    /// From readiness to the call.
    is_empty: bool,
}

type Chosen<Req, Res> = Failover<Balance<Upstream<Req, Res>, LeastRequest>>;

/// Response of a [`Group`].
pub type GroupFuture<Req, Res> = ResponseFuture<<Chosen<Req, Res> as Service<Call<Req>>>::Future>;

/// Finds the plugins of a type, and connects to them.
struct Members<Req, Res> {
    program: Arc<Program<Req, Res>>,
    kind: Arc<str>,
}

impl<Req: Request, Res: Response> Group<Req, Res> {
    pub(super) fn new(program: Arc<Program<Req, Res>>, kind: Arc<str>) -> Self {
        let of = Members { program, kind };
        let balance = BalanceLayer::new(of.clone(), LeastRequest::new()).layer(of.clone());
        let inner = FailoverLayer::new(Attempts::default()).layer(balance);
        Self { of, inner, is_empty: false }
    }
}

impl<Req: Request, Res: Response> Members<Req, Res> {
    fn plugins(&self) -> impl Iterator<Item = (Arc<str>, i64)> + '_ {
        let all = self.program.names.all().into_iter();
        all.filter_map(|slot| {
            let held = slot.current();
            let of = held.core();
            let is_one = *of.plugin.kind == *self.kind && of.made().is_some();
            is_one.then(|| (slot.name.clone(), of.plugin.priority))
        })
    }

    /// The plugins as endpoints, whose key is the name and whose tier follows the priority.
    fn set(&self) -> Option<EndpointSet> {
        let (names, priorities): (Vec<_>, Vec<_>) = self.plugins().unzip();
        let tiers = Priority::tiers(&priorities);
        let endpoints = names.into_iter().zip(tiers).map(|(name, tier)| {
            let endpoint = Endpoint::new(NOWHERE)?;
            Ok::<_, Error>(endpoint.with_key(name).with_priority(tier))
        });
        EndpointSet::new(endpoints.collect::<Result<Vec<_>, _>>().ok()?, "group").ok()
    }
}

impl<Req: Request, Res: Response> Discover for Members<Req, Res> {
    type Stream = BoxStream<'static, EndpointSet>;

    fn discover(&self) -> Self::Stream {
        let of = self.clone();
        let changes = self.program.names.watch();
        let sets = stream::unfold((of, changes, true), |(of, mut changes, is_first)| async move {
            if !is_first {
                changes.changed().await.ok()?;
            }
            changes.borrow_and_update();
            Some((of.set(), (of, changes, false)))
        });
        sets.filter_map(std::future::ready).boxed()
    }
}

impl<Req: Request, Res: Response> Connect for Members<Req, Res> {
    type Service = Upstream<Req, Res>;

    fn connect(&self, member: &Arc<Member>) -> Upstream<Req, Res> {
        // One that is gone by now refuses the call, which goes to another.
        Upstream::new(self.program.names.place(member.key()))
    }
}

impl<Req: Request, Res: Response> Service<Call<Req>> for Group<Req, Res> {
    type Response = Reply<Res>;
    type Error = Error;
    type Future = GroupFuture<Req, Res>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.inner.poll_ready(cx) {
            // There is none to wait for.
            Poll::Pending if self.of.plugins().next().is_none() => {
                self.is_empty = true;
                Poll::Ready(Ok(()))
            }
            ready => {
                self.is_empty = false;
                ready
            }
        }
    }

    fn call(&mut self, call: Call<Req>) -> Self::Future {
        if self.of.program.is_shut_down() {
            return ResponseFuture::refused(shut_down());
        }
        if self.is_empty {
            let text = format!("there is no plugin of the type `{}` that is enabled", self.of.kind);
            return ResponseFuture::refused(Error::refused(Kind::NoEndpoints).message(text));
        }
        ResponseFuture::called(self.inner.call(call))
    }
}

impl<Req, Res> Clone for Members<Req, Res> {
    fn clone(&self) -> Self {
        Self { program: self.program.clone(), kind: self.kind.clone() }
    }
}

/// A clone shares the set.
impl<Req: Request, Res: Response> Clone for Group<Req, Res> {
    fn clone(&self) -> Self {
        Self { of: self.of.clone(), inner: self.inner.clone(), is_empty: false }
    }
}

impl<Req: Request, Res: Response> fmt::Debug for Group<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("type", &self.of.kind).field("inner", &self.inner).finish()
    }
}
