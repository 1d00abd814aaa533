use std::{
    fmt,
    future::poll_fn,
    marker::PhantomData,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use pin_project_lite::pin_project;
use prost::Message;
use tonic::Code;
use tower_service::Service;

use super::{answer, peer::Peer, request::Target};
use crate::{
    auth::Credentials,
    error::{Error, Kind},
    grpc::{
        Decode, Encode, Flavour, Json,
        frame::framed,
        messages::{HealthCheckRequest, HealthCheckResponse},
    },
    member::Member,
    plugin::{
        Call, HealthStatus, PluginHealth, PluginInfo, PluginStatus, Reply, wire::undecodable,
    },
    time,
    transport::{
        counts::Counts,
        http::{Exchange, HttpConfig},
        limit::Terms,
    },
};

/// Longest time of a question for the health or the description. As in Go.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Plugin that is reached over gRPC: the service of a [`GrpcTransport`](super::GrpcTransport).
///
/// Without a balancer, [`Connect::connect`](crate::connect::Connect::connect) makes one. It is always ready.
/// Clones share the connection.
///
/// # Errors
/// Those of [`GrpcTransport`](super::GrpcTransport#what-comes-back).
///
/// # Cancel safety
/// Dropping a response future resets the stream of a call that has begun. The plugin may have done the work.
///
/// # Example
/// ```no_run
/// use tower::ServiceExt;
/// use tower_upstream::{
///     Call, Endpoint, connect::Connect, member::Member, transport::GrpcTransport,
/// };
///
/// # async fn example() -> Result<(), tower_upstream::Error> {
/// let member = Member::new("grpc://10.0.0.1:50051".parse::<Endpoint>()?);
/// let plugin = GrpcTransport::<u64, u64>::new().connect(&member);
/// println!("{}", plugin.health().await.status);
/// let reply = plugin.oneshot(Call::new(1_200)).await?;
/// # let _ = reply;
/// # Ok(())
/// # }
/// ```
pub struct GrpcService<Req, Res, F = Json> {
    peer: Arc<Peer>,
    target: Arc<Target<F>>,
    types: PhantomData<fn(Req) -> Res>,
}

impl<Req, Res, F: Flavour> GrpcService<Req, Res, F> {
    pub(super) fn new(
        member: &Member,
        peer: Arc<Peer>,
        counts: Arc<Counts>,
        credentials: Credentials,
    ) -> Self {
        let target = Arc::new(Target::new(member, counts, credentials));
        Self { peer, target, types: PhantomData }
    }

    /// Asks the plugin for its health: by `grpc.health.v1.Health/Check` and, if it does not have that, by
    /// its own method `Health`. Takes at most 5 s.
    ///
    /// | answer | status |
    /// |---|---|
    /// | `SERVING` | healthy |
    /// | another status of `grpc.health.v1` | unhealthy |
    /// | the health of the own method | that |
    /// | no connection, or `UNAVAILABLE` | offline |
    /// | another error, such as no such service | unhealthy |
    ///
    /// # Cancel safety
    /// The future may drop at any point.
    pub async fn health(&self) -> HealthStatus {
        let start = time::now();
        let health = match self.check().await {
            Ok(health) => health,
            Err(error) => {
                let is_offline = error.kind() == Kind::Connection
                    || error.status().is_some_and(|of| of.code() == Code::Unavailable);
                let status =
                    if is_offline { PluginStatus::Offline } else { PluginStatus::Unhealthy };
                HealthStatus::new(status).with_message(format!("Health check failed: {error}"))
            }
        };
        let took = time::now().saturating_duration_since(start);
        health
            .checked_at(SystemTime::now(), took)
            .with_metadata("endpoint", self.target.address.to_string())
            .with_metadata("transport", "grpc")
    }

    async fn check(&self) -> Result<HealthStatus, Error> {
        let service = self.peer.config().health_service.clone();
        let asked = HealthCheckRequest { service };
        let ask = |service, name, message| ask(&self.peer, &self.target, service, name, message);
        match ask("grpc.health.v1.Health", "Check", asked.encode_to_vec()).await {
            Ok(message) => match HealthCheckResponse::decode(message) {
                Ok(told) => Ok(match told.problem() {
                    None => HealthStatus::healthy(),
                    Some(problem) => HealthStatus::unhealthy(problem),
                }),
                Err(error) => Err(undecodable(error)),
            },
            Err(error) if error.status().is_some_and(|of| of.code() == Code::Unimplemented) => {
                let message = ask(F::SERVICE, "Health", Vec::new()).await?;
                // A plugin that says nothing is well.
                Ok(F::read_health(&message).unwrap_or_else(HealthStatus::healthy))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the description of the plugin, which is asked for it once. Takes at most 5 s.
    ///
    /// Clones share the answer, and callers at the same time share the question. A question without an
    /// answer is asked again by the next caller.
    ///
    /// # Errors
    /// Those of a call. A plugin without a description answers `UNIMPLEMENTED`, which is
    /// [`Kind::Plugin`](crate::error::Kind::Plugin).
    ///
    /// # Cancel safety
    /// The future may drop at any point. Other callers that wait go on.
    pub async fn info(&self) -> Result<PluginInfo, Error> {
        let (peer, target) = (self.peer.clone(), self.target.clone());
        let asking = || async move {
            let message = ask(&peer, &target, F::SERVICE, "Info", Vec::new()).await?;
            F::read_info(&message).map_err(|error| undecodable(error).at_endpoint(&target.key))
        };
        self.target.info.get_or_ask(asking).await
    }
}

/// Asks for something that is no call.
async fn ask<F: Flavour>(
    peer: &Peer,
    target: &Target<F>,
    service: &str,
    name: &str,
    message: Vec<u8>,
) -> Result<Bytes, Error> {
    let asked = async {
        let head = || target.ask(service, name, ASK_TIMEOUT);
        let body = framed(&message);
        let request = head()?.map(|()| body);
        let deadline = Some(time::later(time::now(), ASK_TIMEOUT));
        let terms = Terms { deadline, idempotent: true };
        let pool = peer.pool.clone();
        let config = pool.config();
        let exchange = Exchange::begin(pool, config, request, terms)?;
        let mut exchange = pin!(exchange.kept_private(target.is_private()));
        let received = poll_fn(|cx| exchange.as_mut().poll_exchange(cx, |_| head())).await?;
        answer::message(&received.parts, received.trailers.as_deref(), received.body)
    };
    asked.await.map_err(|error| answer::coded(error).at_endpoint(&target.key))
}

impl<Req, Res, F> Service<Call<Req>> for GrpcService<Req, Res, F>
where
    F: Encode<Req> + Decode<Res>,
{
    type Response = Reply<Res>;
    type Error = Error;
    type Future = GrpcFuture<Res, F>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<Req>) -> GrpcFuture<Res, F> {
        let request = self.target.execute(&call, &self.peer.config());
        let call = call.map(drop);
        let private = self.target.credentials_of(&call).is_private_over_grpc();
        let terms = Terms::of(&call);
        let pool = self.peer.pool.clone();
        let begun = request.and_then(|request| {
            let config = pool.config();
            Ok(Exchange::begin(pool, config, request, terms)?.kept_private(private))
        });
        let state = match begun {
            Ok(exchange) => State::Exchanging { exchange },
            Err(error) => State::Unsent { error: Some(error) },
        };
        GrpcFuture { state, call, target: self.target.clone(), types: PhantomData }
    }
}

/// Calls [`GrpcService::health`].
impl<Req, Res, F: Flavour> PluginHealth for GrpcService<Req, Res, F> {
    async fn health(&self) -> HealthStatus {
        Self::health(self).await
    }
}

impl<Req, Res, F> Clone for GrpcService<Req, Res, F> {
    fn clone(&self) -> Self {
        Self { peer: self.peer.clone(), target: self.target.clone(), types: PhantomData }
    }
}

impl<Req, Res, F> fmt::Debug for GrpcService<Req, Res, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcService")
            .field("endpoint", &self.target.key)
            .field("address", &self.target.address)
            .field("config", &self.peer.config())
            .finish()
    }
}

pin_project! {
    /// Future of a reply of a [`GrpcService`].
    ///
    /// # Cancel safety
    /// Dropping it resets the stream of the call.
    #[must_use = "futures do nothing unless polled"]
    pub struct GrpcFuture<Res, F = Json> {
        #[pin]
        state: State,
        call: Call<()>,
        target: Arc<Target<F>>,
        types: PhantomData<fn() -> Res>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State {
        // Waits for the response.
        Exchanging { #[pin] exchange: Exchange },
        // The call could not be sent.
        Unsent { error: Option<Error> },
    }
}

impl<Res, F: Decode<Res>> Future for GrpcFuture<Res, F> {
    type Output = Result<Reply<Res>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (call, target) = (&*this.call, &**this.target);
        let result = match this.state.project() {
            StateProj::Exchanging { mut exchange } => {
                let head = |config: &HttpConfig| target.execute_head(call, config.request_timeout);
                let received = ready!(exchange.as_mut().poll_exchange(cx, head));
                received
                    .and_then(answer::reply::<F, Res>)
                    .map_err(|error| answer::blamed(error, || exchange.is_over_by_caller()))
            }
            StateProj::Unsent { error } => match error.take() {
                Some(error) => Err(error),
                None => return Poll::Pending,
            },
        };
        Poll::Ready(
            result
                .map(|reply| reply.answering(call, target.key.clone()))
                .map_err(answer::coded)
                .inspect_err(|error| target.counts.note(error))
                .map_err(|error| error.at_endpoint(&target.key)),
        )
    }
}

impl<Res, F> fmt::Debug for GrpcFuture<Res, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcFuture")
            .field("endpoint", &self.target.key)
            .field("call", &self.call)
            .finish_non_exhaustive()
    }
}
