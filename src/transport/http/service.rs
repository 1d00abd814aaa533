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
    config::HttpConfig,
    exchange::{Exchange, Received},
    pool::Pool,
    request::{Page, Target},
};
use crate::{
    auth::Credentials,
    error::Error,
    member::Member,
    plugin::{Call, HealthStatus, PluginHealth, PluginInfo, Reply},
    sync::WaitKey,
    time,
    transport::{answering::Answering, counts::Counts, limit::Terms},
};

/// Plugin that is reached over HTTP: the service of an [`HttpTransport`](super::HttpTransport).
///
/// Without a balancer, [`Connect::connect`](crate::connect::Connect::connect) makes one. It is ready
/// unless all of [`HttpConfig::max_connections`](super::HttpConfig::max_connections) are in use. Clones
/// share the connections.
///
/// # Errors
/// Those of [`HttpTransport`](super::HttpTransport#what-comes-back).
///
/// # Cancel safety
/// Dropping a response future closes the connection of an exchange that has begun. The plugin may have
/// done the work.
///
/// # Example
/// ```no_run
/// use tower::ServiceExt;
/// use tower_upstream::{
///     Call, Endpoint, connect::Connect, member::Member, transport::HttpTransport,
/// };
///
/// # async fn example() -> Result<(), tower_upstream::Error> {
/// let member = Member::new("http://10.0.0.1:8080/rpc/tax".parse::<Endpoint>()?);
/// let plugin = HttpTransport::<u64, u64>::new().connect(&member);
/// println!("{}", plugin.health().await.status);
/// let reply = plugin.oneshot(Call::new(1_200)).await?;
/// # let _ = reply;
/// # Ok(())
/// # }
/// ```
pub struct HttpService<Req, Res> {
    pool: Arc<Pool>,
    target: Arc<Target>,
    /// While it waits for room.
    wait: WaitKey,
    types: PhantomData<fn(Req) -> Res>,
}

impl<Req, Res> HttpService<Req, Res> {
    pub(super) fn new(
        member: &Member,
        pool: Arc<Pool>,
        counts: Arc<Counts>,
        credentials: Credentials,
    ) -> Self {
        let target = Arc::new(Target::new(member, counts, credentials));
        Self { pool, target, wait: WaitKey::default(), types: PhantomData }
    }

    /// Asks the plugin for its health, with a `GET` of [`HttpConfig::health_path`](super::HttpConfig::health_path).
    ///
    /// A status of 2xx is healthy, unless the body is a JSON object with another `status`. Everything
    /// else is unhealthy, with a message that says why. Takes at most
    /// [`HttpConfig::request_timeout`](super::HttpConfig::request_timeout).
    ///
    /// # Cancel safety
    /// The future may drop at any point.
    pub async fn health(&self) -> HealthStatus {
        let (start, config) = (time::now(), self.pool.config());
        let health = match self.target.health(&config) {
            Err(error) => {
                HealthStatus::unhealthy(format!("Failed to create health check request: {error}"))
            }
            Ok(page) => match get(&self.pool, &self.target, &page, config).await {
                Err(error) => {
                    HealthStatus::unhealthy(format!("Health check request failed: {error}"))
                }
                Ok(received) => answer::health(&received, page.expects(received.parts.status)),
            },
        };
        health.checked_at(SystemTime::now(), time::now().saturating_duration_since(start))
    }

    /// Returns the description of the plugin, which is asked for it once, with a `GET` of `info` below the
    /// endpoint.
    ///
    /// Clones share the answer, and callers at the same time share the question. A question without an
    /// answer is asked again by the next caller.
    ///
    /// # Errors
    /// Those of a call. A plugin without a description answers 404, which is
    /// [`Kind::Plugin`](crate::error::Kind::Plugin).
    ///
    /// # Cancel safety
    /// The future may drop at any point. Other callers that wait go on.
    pub async fn info(&self) -> Result<PluginInfo, Error> {
        let (pool, target) = (self.pool.clone(), self.target.clone());
        let ask = || async move {
            let asked =
                async { answer::info(&get(&pool, &target, &target.info()?, pool.config()).await?) };
            asked.await.map_err(|error| error.at_endpoint(&target.key))
        };
        self.target.info.get_or_ask(ask).await
    }
}

async fn get(
    pool: &Arc<Pool>,
    target: &Target,
    page: &Page,
    config: Arc<HttpConfig>,
) -> Result<Received, Error> {
    let received = async {
        let head = |config: &_| target.get(page, config);
        let request = head(&config)?.map(|()| page.body());
        let terms = Terms { deadline: None, idempotent: true };
        let pool = pool.reaching(page);
        let mut exchange =
            pin!(Exchange::begin(pool, config, request, terms)?.kept_private(target.is_private()));
        poll_fn(|cx| exchange.as_mut().poll_exchange(cx, head)).await
    };
    received.await.map_err(|error| error.at_endpoint(&target.key))
}

impl<Req, Res> Service<Call<Req>> for HttpService<Req, Res>
where
    Req: Serialize,
    Res: DeserializeOwned,
{
    type Response = Reply<Res>;
    type Error = Error;
    type Future = HttpFuture<Res>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.pool.connections().poll_room(&mut self.wait, cx).map(Ok)
    }

    fn call(&mut self, call: Call<Req>) -> HttpFuture<Res> {
        let config = self.pool.config();
        let request = self.target.post(&call, &config);
        let call = call.map(drop);
        let private = self.target.credentials_of(&call).is_private();
        let terms = Terms::of(&call);
        let begin = |request| Exchange::begin(self.pool.clone(), config, request, terms);
        let begun = request.and_then(begin).map(|exchange| exchange.kept_private(private));
        let (answering, target) = (Answering::new(call, begun), self.target.clone());
        HttpFuture { answering, target, types: PhantomData }
    }
}

/// Calls [`HttpService::health`].
impl<Req, Res> PluginHealth for HttpService<Req, Res> {
    async fn health(&self) -> HealthStatus {
        Self::health(self).await
    }
}

impl<Req, Res> Clone for HttpService<Req, Res> {
    fn clone(&self) -> Self {
        let (pool, target) = (self.pool.clone(), self.target.clone());
        Self { pool, target, wait: WaitKey::default(), types: PhantomData }
    }
}

impl<Req, Res> Drop for HttpService<Req, Res> {
    fn drop(&mut self) {
        self.pool.connections().leave(&mut self.wait);
    }
}

impl<Req, Res> fmt::Debug for HttpService<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService")
            .field("endpoint", &self.target.key)
            .field("address", &self.target.address)
            .field("config", &self.pool.config())
            .finish()
    }
}

pin_project! {
    /// Future of a reply of an [`HttpService`].
    ///
    /// # Cancel safety
    /// Dropping it ends the exchange.
    #[must_use = "futures do nothing unless polled"]
    pub struct HttpFuture<Res> {
        #[pin]
        answering: Answering<Exchange>,
        target: Arc<Target>,
        types: PhantomData<fn() -> Res>,
    }
}

impl<Res: DeserializeOwned> Future for HttpFuture<Res> {
    type Output = Result<Reply<Res>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let target = &**this.target;
        this.answering.poll_reply(cx, &target.key, &target.counts, |exchange, call, cx| {
            let head = |config: &_| target.post_head(call, config);
            let received = ready!(exchange.poll_exchange(cx, head));
            Poll::Ready(received.and_then(|received| answer::read(&received)))
        })
    }
}

impl<Res> fmt::Debug for HttpFuture<Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFuture")
            .field("endpoint", &self.target.key)
            .field("call", self.answering.call())
            .finish_non_exhaustive()
    }
}
