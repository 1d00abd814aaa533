use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use http::Uri;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use pin_project_lite::pin_project;
use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use super::{
    answer,
    config::HttpConfig,
    dial::Dial,
    exchange::{Exchange, Received},
    outgoing::Outgoing,
    request::Target,
};
use crate::{
    call::{Call, Reply},
    error::Error,
    member::Member,
    plugin::{HealthStatus, PluginHealth, PluginInfo},
    time,
};

/// A plugin that is reached over HTTP. Made by [`HttpTransport`](super::HttpTransport), and by
/// [`Connect::connect`](crate::Connect::connect) where there is no balancer.
///
/// Always ready. Clones share the connections. Dropping a response future closes the connection of
/// an exchange that has begun; the plugin may have done the work.
///
/// # Example
/// ```no_run
/// use tower::ServiceExt;
/// use tower_upstream::{Call, Connect, Endpoint, Member, transport::HttpTransport};
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
    client: Client<Dial, Outgoing>,
    target: Arc<Target>,
    types: PhantomData<fn(Req) -> Res>,
}

impl<Req, Res> HttpService<Req, Res> {
    pub(super) fn new(member: &Arc<Member>, config: Arc<HttpConfig>) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(config.idle_timeout)
            .pool_max_idle_per_host(config.max_idle_connections)
            .http1_max_buf_size(config.max_header_bytes)
            // Go writes `X-Request-Id`, and some servers compare bytes.
            .http1_title_case_headers(true)
            .build(Dial::new(config.connect_timeout));
        Self { client, target: Arc::new(Target::new(member, config)), types: PhantomData }
    }

    /// Asks the plugin how it does: a `GET` of [`HttpConfig::health_path`].
    ///
    /// A status of 2xx is healthy, unless the body is a JSON object whose `status` says otherwise;
    /// everything else is unhealthy, and the message says why. Takes at most
    /// [`HttpConfig::request_timeout`]. May be dropped at any point.
    pub async fn health(&self) -> HealthStatus {
        let start = time::now();
        let health = match self.target.health_uri() {
            Err(error) => {
                HealthStatus::unhealthy(format!("Failed to create health check request: {error}"))
            }
            Ok(uri) => match self.get(uri).await {
                Err(error) => {
                    HealthStatus::unhealthy(format!("Health check request failed: {error}"))
                }
                Ok(received) => answer::health(&received, self.target.config.max_response_bytes),
            },
        };
        health.checked_at(SystemTime::now(), time::now().saturating_duration_since(start))
    }

    /// Asks the plugin who it is: a `GET` of `info` below the endpoint.
    ///
    /// # Errors
    /// Those of a call. A plugin that does not tell answers 404, which is [`Kind::Plugin`](crate::Kind::Plugin).
    pub async fn info(&self) -> Result<PluginInfo, Error> {
        let info = async {
            let received = self.get(self.target.info_uri()?).await?;
            answer::info(received, self.target.config.max_response_bytes)
        };
        info.await.map_err(|error| error.at_endpoint(&self.target.key))
    }

    async fn get(&self, uri: Uri) -> Result<Received, Error> {
        let request = self.target.get(uri);
        let exchange = Exchange::begin(&self.client, request, None, &self.target.config);
        let received = match exchange {
            Ok(exchange) => exchange.await,
            Err(error) => Err(error),
        };
        received.map_err(|error| error.at_endpoint(&self.target.key))
    }
}

impl<Req, Res> Service<Call<Req>> for HttpService<Req, Res>
where
    Req: Serialize,
    Res: DeserializeOwned,
{
    type Response = Reply<Res>;
    type Error = Error;
    type Future = HttpFuture<Res>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<Req>) -> HttpFuture<Res> {
        let begun = self.target.post(&call).and_then(|request| {
            Exchange::begin(&self.client, request, call.deadline(), &self.target.config)
        });
        let state = match begun {
            Ok(exchange) => State::Exchanging { exchange },
            Err(error) => State::Unsent { error: Some(error) },
        };
        HttpFuture { state, call: call.map(drop), target: self.target.clone(), types: PhantomData }
    }
}

/// As [`HttpService::health`].
impl<Req, Res> PluginHealth for HttpService<Req, Res> {
    async fn health(&self) -> HealthStatus {
        Self::health(self).await
    }
}

impl<Req, Res> Clone for HttpService<Req, Res> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), target: self.target.clone(), types: PhantomData }
    }
}

impl<Req, Res> fmt::Debug for HttpService<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService")
            .field("endpoint", &self.target.key)
            .field("address", &self.target.address)
            .field("config", &self.target.config)
            .finish()
    }
}

pin_project! {
    /// The response of an [`HttpService`]. Dropping it ends the exchange.
    pub struct HttpFuture<Res> {
        #[pin]
        state: State,
        call: Call<()>,
        target: Arc<Target>,
        types: PhantomData<fn() -> Res>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State {
        // For the answer.
        Exchanging { #[pin] exchange: Exchange },
        // For nothing: the call could not be sent.
        Unsent { error: Option<Error> },
    }
}

impl<Res: DeserializeOwned> Future for HttpFuture<Res> {
    type Output = Result<Reply<Res>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = match this.state.project() {
            StateProj::Exchanging { exchange } => ready!(exchange.poll(cx)),
            StateProj::Unsent { error } => match error.take() {
                Some(error) => Err(error),
                None => return Poll::Pending,
            },
        };
        let target = &**this.target;
        Poll::Ready(
            result
                .and_then(|received| answer::read(received, target.config.max_response_bytes))
                .map(|reply| reply.answering(this.call, target.key.clone()))
                .map_err(|error| error.at_endpoint(&target.key)),
        )
    }
}

impl<Res> fmt::Debug for HttpFuture<Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFuture")
            .field("endpoint", &self.target.key)
            .field("call", &self.call)
            .finish_non_exhaustive()
    }
}
