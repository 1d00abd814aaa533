//! gRPC around the layers: statuses for callers, verdicts on statuses, deadlines.
//!
//! Guide: [gRPC with tonic](../_guide/tonic/index.html).
//!
//! # When to use
//! The layers of this crate take generated clients and servers of tonic as they are. What they need
//! beside that is here and in [`http`](crate::http), since gRPC is HTTP/2:
//!
//! | to | use | where |
//! |---|---|---|
//! | answer refusals with `UNAVAILABLE` or `RESOURCE_EXHAUSTED`, and say when to come back | [`StatusLayer`] | outermost, in a client and in a server |
//! | count statuses as failures | [`GrpcClassify`] | `with_classify` of a balancer, breaker, failover or retry |
//! | judge a call when its trailers come | [`AtBodyEnd`](crate::http::AtBodyEnd), by [`until_body_end`](crate::CircuitBreakerLayer::until_body_end) | a breaker |
//! | send a call again, with its message | [`ReplayBodyLayer`](crate::http::ReplayBodyLayer) | above failover or retry |
//! | say that a call may be sent again | [`Idempotent`](crate::http::Idempotent), an extension of the `tonic::Request` | in the caller |
//! | stop at the `grpc-timeout` of a call, and tell each endpoint what is left of it | [`DeadlineLayer`] | above failover, and above a channel |
//! | hand requests with any body to a `Channel` | [`BodyLayer`] | above a channel |
//! | check servers by `grpc.health.v1` | [`GrpcCheck`](crate::health::GrpcCheck) | a health gate below a balancer |
//! | call plugins | [`GrpcTransport`](crate::transport::GrpcTransport) | the end of a stack |
//!
//! tonic finds a status in each error of this crate that has no cause of another crate, also without a
//! [`StatusLayer`], so that a refusal is never `UNKNOWN`. That layer knows the others as well, and adds when
//! to come back.
//!
//! # Example
//! A generated client over several servers. `HealthClient` stands for one of yours:
//! ```no_run
//! use tonic::transport::Channel;
//! use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
//! use tower::ServiceBuilder;
//! use tower_upstream::{
//!     Attempts, BalanceLayer, CircuitBreakerLayer, Endpoint, FailoverLayer, LeastRequest,
//!     connect_fn, discover,
//!     grpc::{BodyLayer, DeadlineLayer, GrpcClassify, StatusLayer},
//!     http::{Idempotent, ReplayBodyLayer},
//! };
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let servers = discover::fixed(["http://10.0.0.1:50051", "http://10.0.0.2:50051"])?;
//! let stack = ServiceBuilder::new()
//!     .layer(StatusLayer::new())
//!     .layer(DeadlineLayer::new())
//!     .layer(ReplayBodyLayer::new())
//!     .layer(FailoverLayer::new(Attempts::up_to(3)).with_classify(GrpcClassify))
//!     .layer(BalanceLayer::new(servers, LeastRequest::default()).with_classify(GrpcClassify))
//!     .layer(CircuitBreakerLayer::default().until_body_end(GrpcClassify))
//!     .layer(DeadlineLayer::new())
//!     .layer(BodyLayer::new())
//!     .service(connect_fn(|server: &Endpoint| {
//!         // The address was checked when the endpoint was made.
//!         let address = server.address().as_str().to_owned();
//!         Channel::from_shared(address).expect("a URL").connect_lazy()
//!     }));
//! let mut client = HealthClient::new(stack);
//!
//! let mut request = tonic::Request::new(HealthCheckRequest::default());
//! request.set_timeout(std::time::Duration::from_secs(2));
//! request.extensions_mut().insert(Idempotent);
//! let answer = client.check(request).await?;
//! # let _ = answer;
//! # Ok(())
//! # }
//! ```
//! `examples/tonic_client.rs` kills servers under the load of such a client, and no call fails.
//!
//! A server behind limits. Its callers get `RESOURCE_EXHAUSTED`, and when to come back:
//! ```no_run
//! use tonic::transport::Server;
//! use tower_upstream::{ConcurrencyLimitLayer, Quota, RateLimitLayer, grpc::StatusLayer};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (_, service) = tonic_health::server::health_reporter();
//! Server::builder()
//!     .layer(StatusLayer::new())
//!     .layer(RateLimitLayer::new(Quota::per_second(1_000)))
//!     .layer(ConcurrencyLimitLayer::new(64))
//!     .add_service(service)
//!     .serve("127.0.0.1:50051".parse()?)
//!     .await?;
//! # Ok(())
//! # }
//! ```

mod body;
mod classify;
pub(crate) mod context;
mod deadline;
mod flavour;
pub(crate) mod frame;
mod layer;
pub(crate) mod messages;
pub(crate) mod scheme;
mod status;
pub(crate) mod timeout;

pub use self::{
    body::{BodyLayer, GrpcBodies},
    classify::GrpcClassify,
    deadline::{DeadlineLayer, GrpcDeadlines},
    flavour::{Decode, Encode, Flavour, Json, Native},
    layer::{StatusFuture, StatusLayer, Statuses},
};
