use std::{
    fmt,
    future::poll_fn,
    marker::PhantomData,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use pin_project_lite::pin_project;
use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use super::{
    answer,
    exchange::Exchange,
    permit::Permit,
    plugin::Plugin,
    question::{ASK_TIMEOUT, write},
    state::{Phase, Status},
};
use crate::{
    error::Error,
    plugin::{
        Call, HealthStatus, PluginHealth, PluginInfo, PluginStatus, Reply,
        wire::stream::{EXECUTE, HEALTH},
    },
    time,
    transport::{answering::Answering, counts::Counts},
    wire::rfc3339,
};

/// Plugin that is a child process: the service of a [`ProcessTransport`](super::ProcessTransport).
///
/// Without a balancer, [`Connect::connect`](crate::connect::Connect::connect) makes one. It is ready
/// unless [`ProcessConfig::max_calls`](super::ProcessConfig::max_calls) calls are under way. Clones share
/// the process, which ends after the last of them and of their calls.
///
/// # Errors
/// Those of [`ProcessTransport`](super::ProcessTransport#what-comes-back).
///
/// # Cancel safety
/// Dropping a response future leaves the process and the other calls alone. A call of which nothing was
/// written is not sent any more; otherwise the plugin may do the work, and its answer is dropped.
///
/// # Example
/// ```no_run
/// use tower::ServiceExt;
/// use tower_upstream::{
///     Call, Endpoint, connect::Connect, member::Member, transport::ProcessTransport,
/// };
///
/// # async fn example() -> Result<(), tower_upstream::Error> {
/// let member = Member::new("exec:/opt/plugins/tax".parse::<Endpoint>()?);
/// let plugin = ProcessTransport::<u64, u64>::new().connect(&member);
/// println!("{}", plugin.health().await.status);
/// let reply = plugin.oneshot(Call::new(1_200)).await?;
/// # let _ = reply;
/// # Ok(())
/// # }
/// ```
pub struct ProcessService<Req, Res> {
    plugin: Arc<Plugin>,
    counts: Arc<Counts>,
    permit: Permit,
    types: PhantomData<fn(Req) -> Res>,
}

impl<Req, Res> ProcessService<Req, Res> {
    pub(super) fn new(plugin: Arc<Plugin>, counts: Arc<Counts>) -> Self {
        Self { plugin, counts, permit: Permit::None, types: PhantomData }
    }

    /// Returns the health of the plugin. Starts the process if there is none. Takes at most 10 s.
    ///
    /// | | status |
    /// |---|---|
    /// | the process ended, or cannot be started | offline |
    /// | it runs, and does not describe itself | healthy |
    /// | it takes one call at a time, and works on one | healthy |
    /// | it answers the question for its health: with its whole health, as [`serve`](crate::serve) does | that |
    /// | ... with a result | healthy |
    /// | ... with an error | degraded |
    /// | ... not within 5 s | unhealthy |
    ///
    /// The metadata tell the `transport`, the `pid`, the `status` of the process, since when it runs
    /// (`started_at`), how often it was started again (`restarts`), and `replaced` if the path leads to
    /// another file by now than the one that runs.
    ///
    /// # Cancel safety
    /// The future may drop at any point.
    pub async fn health(&self) -> HealthStatus {
        let start = time::now();
        let offline = |error: &Error| {
            HealthStatus::new(PluginStatus::Offline).with_message(error.to_string())
        };
        let status = match self.plugin.status(false).await {
            Ok(status) => status,
            Err(error) => return offline(&error),
        };
        let health = match &status.phase {
            Phase::Down(error) => offline(error),
            Phase::Running { .. } => match status.info {
                Some(Some(_)) if !self.plugin.shared.is_busy() => self.ask_health().await,
                _ => HealthStatus::healthy().with_message("subprocess running and responsive"),
            },
            Phase::Idle | Phase::Starting => {
                HealthStatus::new(PluginStatus::Offline).with_message("subprocess not started")
            }
        };
        let took = time::now().saturating_duration_since(start);
        let health = self
            .properties(&status)
            .into_iter()
            .fold(health, |health, (key, value)| health.with_metadata(key, value));
        health.checked_at(SystemTime::now(), took)
    }

    async fn ask_health(&self) -> HealthStatus {
        let call = Call::new(()).with_timeout(ASK_TIMEOUT);
        let id = call.id().into_owned();
        let line = write::<()>(HEALTH, &id, &call, None, ASK_TIMEOUT);
        let asked = async {
            let limit = ASK_TIMEOUT;
            let exchange =
                Exchange::begin(self.plugin.clone(), id, call.deadline(), line?, limit, None)?;
            let mut exchange = pin!(exchange);
            answer::health(&poll_fn(|cx| exchange.as_mut().poll_exchange(cx)).await?)
        };
        asked.await.unwrap_or_else(|error: Error| {
            HealthStatus::unhealthy(format!("Health check failed: {error}"))
        })
    }

    /// Returns the description of the plugin, which is asked for it whenever its process starts.
    ///
    /// Of a plugin that does not describe itself within 5 s it has the key of the endpoint alone. The
    /// metadata tell the `transport`, the `pid`, the `status` of the process, and since when it runs
    /// (`started_at`), where the plugin does not.
    ///
    /// # Errors
    /// That for which the process cannot be started.
    ///
    /// # Cancel safety
    /// The future may drop at any point.
    pub async fn info(&self) -> Result<PluginInfo, Error> {
        let key = &self.plugin.shared.key;
        let status = self.plugin.status(true).await.map_err(|error| error.at_endpoint(key))?;
        if let Phase::Down(error) = &status.phase {
            return Err(error.clone().at_endpoint(key));
        }
        let told = status.info.clone().flatten();
        let mut info = told.map_or_else(|| PluginInfo::new(&**key, ""), |info| (*info).clone());
        for (key, value) in self.properties(&status) {
            info.metadata.entry(key.to_owned()).or_insert(value);
        }
        Ok(info)
    }

    /// What is known of the process, as Go tells it.
    fn properties(&self, status: &Status) -> Vec<(&'static str, String)> {
        let mut properties =
            vec![("transport", "exec".to_owned()), ("status", status.phase.as_str().to_owned())];
        if let Phase::Running { pid, since } = status.phase {
            properties.push(("pid", pid.to_string()));
            properties.push(("started_at", rfc3339(Some(since))));
        }
        if status.restarts > 0 {
            properties.push(("restarts", status.restarts.to_string()));
        }
        if self.plugin.shared.is_replaced() {
            properties.push(("replaced", "true".to_owned()));
        }
        properties
    }
}

impl<Req, Res> Service<Call<Req>> for ProcessService<Req, Res>
where
    Req: Serialize,
    Res: DeserializeOwned,
{
    type Response = Reply<Res>;
    type Error = Error;
    type Future = ProcessFuture<Res>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let plugin = &self.plugin;
        self.permit.poll(cx, || plugin.terms().permits.clone()).map(Ok)
    }

    fn call(&mut self, call: Call<Req>) -> ProcessFuture<Res> {
        let permit = self.permit.take();
        let limit = self.plugin.shared.terms.load().config.request_timeout;
        let timeout = call.timeout_within(limit);
        let id = call.id().into_owned();
        let line = write(EXECUTE, &id, &call, Some(call.body()), timeout);
        let call = call.map(drop);
        let begun = line.and_then(|line| {
            Exchange::begin(self.plugin.clone(), id, call.deadline(), line, limit, permit)
        });
        let answering = Answering::new(call, begun);
        let (plugin, counts) = (self.plugin.clone(), self.counts.clone());
        ProcessFuture { answering, plugin, counts, types: PhantomData }
    }
}

/// Calls [`ProcessService::health`].
impl<Req, Res> PluginHealth for ProcessService<Req, Res> {
    async fn health(&self) -> HealthStatus {
        Self::health(self).await
    }
}

impl<Req, Res> Clone for ProcessService<Req, Res> {
    /// A clone is not ready yet.
    fn clone(&self) -> Self {
        Self::new(self.plugin.clone(), self.counts.clone())
    }
}

impl<Req, Res> fmt::Debug for ProcessService<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessService")
            .field("endpoint", &self.plugin.shared.key)
            .field("status", &*self.plugin.shared.status.borrow())
            .field("config", &self.plugin.terms().config)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// Future of a reply of a [`ProcessService`].
    ///
    /// # Cancel safety
    /// Dropping it gives the call up, and leaves the process and the other calls alone.
    #[must_use = "futures do nothing unless polled"]
    pub struct ProcessFuture<Res> {
        #[pin]
        answering: Answering<Exchange>,
        plugin: Arc<Plugin>,
        counts: Arc<Counts>,
        types: PhantomData<fn() -> Res>,
    }
}

impl<Res: DeserializeOwned> Future for ProcessFuture<Res> {
    type Output = Result<Reply<Res>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let key = &this.plugin.shared.key;
        this.answering.poll_reply(cx, key, this.counts, |mut exchange, _, cx| {
            let line = ready!(exchange.as_mut().poll_exchange(cx));
            let reply = line.and_then(|line| answer::reply(&line));
            Poll::Ready(reply.map(|reply| reply.with_request_id(exchange.id())))
        })
    }
}

impl<Res> fmt::Debug for ProcessFuture<Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessFuture")
            .field("endpoint", &self.plugin.shared.key)
            .field("call", self.answering.call())
            .finish_non_exhaustive()
    }
}
