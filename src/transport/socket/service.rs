use std::{
    collections::BTreeMap,
    fmt,
    future::poll_fn,
    marker::PhantomData,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use pin_project_lite::pin_project;
use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use super::{answer, config::SocketConfig, exchange::Exchange, pool::Pool};
use crate::{
    error::Error,
    member::Member,
    plugin::{
        Call, HealthStatus, PluginHealth, PluginInfo, Reply,
        wire::{
            stream::{EXECUTE, HEALTH, INFO, StreamQuestion, Told, message, milliseconds},
            unwritable,
        },
    },
    sync::WaitKey,
    time,
    transport::{answering::Answering, counts::Counts, description::Description, limit::Terms},
};

/// Longest time of a question for the health or the description. As in Go.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Plugin that is reached over a socket: the service of a [`SocketTransport`](super::SocketTransport).
///
/// Without a balancer, [`Connect::connect`](crate::connect::Connect::connect) makes one. It is ready
/// unless all of [`SocketConfig::max_connections`](super::SocketConfig::max_connections) are in use. Clones
/// share the connections.
///
/// # Errors
/// Those of [`SocketTransport`](super::SocketTransport#what-comes-back).
///
/// # Cancel safety
/// Dropping a response future closes the connection of an exchange that has begun. The plugin may have
/// done the work.
///
/// # Example
/// ```no_run
/// use tower::ServiceExt;
/// use tower_upstream::{
///     Call, Endpoint, connect::Connect, member::Member, transport::SocketTransport,
/// };
///
/// # async fn example() -> Result<(), tower_upstream::Error> {
/// let member = Member::new("unix:/run/tax.sock".parse::<Endpoint>()?);
/// let plugin = SocketTransport::<u64, u64>::new().connect(&member);
/// println!("{}", plugin.health().await.status);
/// let reply = plugin.oneshot(Call::new(1_200)).await?;
/// # let _ = reply;
/// # Ok(())
/// # }
/// ```
pub struct SocketService<Req, Res> {
    plugin: Arc<Plugin>,
    /// While it waits for room.
    wait: WaitKey,
    types: PhantomData<fn(Req) -> Res>,
}

/// The plugin, of which each clone of a service knows.
pub(super) struct Plugin {
    key: Arc<str>,
    pool: Arc<Pool>,
    counts: Arc<Counts>,
    info: Description,
}

impl<Req, Res> SocketService<Req, Res> {
    pub(super) fn new(member: &Member, pool: Arc<Pool>, counts: Arc<Counts>) -> Self {
        let key = member.shared_key().clone();
        let plugin = Plugin { key, pool, counts, info: Description::default() };
        Self { plugin: Arc::new(plugin), wait: WaitKey::default(), types: PhantomData }
    }

    /// Asks the plugin for its health. Takes at most 5 s.
    ///
    /// | answer | status |
    /// |---|---|
    /// | its whole health, as [`serve`](crate::serve) answers it | that |
    /// | success | healthy |
    /// | an error | degraded |
    /// | none | unhealthy |
    ///
    /// # Cancel safety
    /// The future may drop at any point.
    pub async fn health(&self) -> HealthStatus {
        let start = time::now();
        let health = match self.plugin.ask(HEALTH, |told| Ok(answer::health(told))).await {
            Ok(health) => health,
            Err(error) if error.is_unsent() => {
                HealthStatus::unhealthy(format!("Failed to get connection: {error}"))
            }
            Err(error) => HealthStatus::unhealthy(format!("Health check failed: {error}")),
        };
        let took = time::now().saturating_duration_since(start);
        let mut health = health.checked_at(SystemTime::now(), took);
        if let Ok(address) = self.plugin.pool.address() {
            health = health
                .with_metadata("socket_path", address.path())
                .with_metadata("transport", address.transport());
        }
        health
    }

    /// Returns the description of the plugin, which is asked for it once.
    ///
    /// Clones share the answer, and callers at the same time share the question. A question without an
    /// answer is asked again by the next caller.
    ///
    /// # Errors
    /// Those of a call. Takes at most 5 s.
    ///
    /// # Cancel safety
    /// The future may drop at any point. Other callers that wait go on.
    pub async fn info(&self) -> Result<PluginInfo, Error> {
        let plugin = self.plugin.clone();
        let ask = || async move { plugin.ask(INFO, answer::info).await };
        self.plugin.info.get_or_ask(ask).await
    }
}

impl Plugin {
    /// Asks for something that is no call.
    async fn ask<T>(
        &self,
        operation: &str,
        read: impl FnOnce(&Told<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let call = Call::new(()).with_timeout(ASK_TIMEOUT).idempotent();
        let asked = async {
            let message = write::<()>(operation, &call, None, ASK_TIMEOUT);
            let mut exchange = pin!(self.begin(&call, self.pool.config(), message)?);
            let arrived = poll_fn(|cx| exchange.as_mut().poll_exchange(cx)).await?;
            answer::open(arrived, &call.id(), &self.pool, read)
        };
        asked.await.map_err(|error| error.at_endpoint(&self.key))
    }

    /// Begins to exchange a call of which only the context is left, and its message.
    fn begin(
        &self,
        call: &Call<()>,
        config: Arc<SocketConfig>,
        message: Result<Vec<u8>, Error>,
    ) -> Result<Exchange, Error> {
        self.pool.address()?;
        Exchange::begin(self.pool.clone(), config, message?, Terms::of(call))
    }
}

fn write<T: Serialize>(
    operation: &str,
    call: &Call<impl Sized>,
    data: Option<&T>,
    timeout: Duration,
) -> Result<Vec<u8>, Error> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    let question = StreamQuestion {
        operation,
        request_id: &call.id(),
        data,
        headers: if data.is_some() { call.headers() } else { &NONE },
        timeout_ms: milliseconds(timeout),
        metadata: call.metadata(),
    };
    message(&question).map_err(|error| unwritable("the call", error))
}

impl<Req, Res> Service<Call<Req>> for SocketService<Req, Res>
where
    Req: Serialize,
    Res: DeserializeOwned,
{
    type Response = Reply<Res>;
    type Error = Error;
    type Future = SocketFuture<Res>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.plugin.pool.connections().poll_room(&mut self.wait, cx).map(Ok)
    }

    fn call(&mut self, call: Call<Req>) -> SocketFuture<Res> {
        let config = self.plugin.pool.config();
        let timeout = call.timeout_within(config.request_timeout);
        let message = write(EXECUTE, &call, Some(call.body()), timeout);
        let call = call.map(drop);
        let begun = self.plugin.begin(&call, config, message);
        let (answering, plugin) = (Answering::new(call, begun), self.plugin.clone());
        SocketFuture { answering, plugin, types: PhantomData }
    }
}

/// Calls [`SocketService::health`].
impl<Req, Res> PluginHealth for SocketService<Req, Res> {
    async fn health(&self) -> HealthStatus {
        Self::health(self).await
    }
}

impl<Req, Res> Clone for SocketService<Req, Res> {
    fn clone(&self) -> Self {
        Self { plugin: self.plugin.clone(), wait: WaitKey::default(), types: PhantomData }
    }
}

impl<Req, Res> Drop for SocketService<Req, Res> {
    fn drop(&mut self) {
        self.plugin.pool.connections().leave(&mut self.wait);
    }
}

impl<Req, Res> fmt::Debug for SocketService<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketService")
            .field("endpoint", &self.plugin.key)
            .field("address", &self.plugin.pool.address())
            .field("config", &self.plugin.pool.config())
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// Future of a reply of a [`SocketService`].
    ///
    /// # Cancel safety
    /// Dropping it ends the exchange.
    #[must_use = "futures do nothing unless polled"]
    pub struct SocketFuture<Res> {
        #[pin]
        answering: Answering<Exchange>,
        plugin: Arc<Plugin>,
        types: PhantomData<fn() -> Res>,
    }
}

impl<Res: DeserializeOwned> Future for SocketFuture<Res> {
    type Output = Result<Reply<Res>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Plugin { key, counts, pool, .. } = &**this.plugin;
        this.answering.poll_reply(cx, key, counts, |exchange, call, cx| {
            let arrived = ready!(exchange.poll_exchange(cx));
            Poll::Ready(arrived.and_then(|arrived| answer::reply(arrived, &call.id(), pool)))
        })
    }
}

impl<Res> fmt::Debug for SocketFuture<Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketFuture")
            .field("endpoint", &self.plugin.key)
            .field("call", self.answering.call())
            .finish_non_exhaustive()
    }
}
