//! HTTP around the layers: verdicts, streaming bodies, addresses of endpoints, answers to clients.
//!
//! Guides: [a reverse proxy](../_guide/reverse_proxy/index.html),
//! [other clients](../_guide/clients/index.html).
//!
//! # When to use
//! The layers of this crate take any request and any response. What knows HTTP is here:
//!
//! | to | use | where |
//! |---|---|---|
//! | count 5xx (but 501 and 505) and gRPC statuses as failures | [`HttpClassify`] | `with_classify` of a balancer, breaker, failover or retry; all layers of a stack need it, see [`WithClassify`](crate::stack::WithClassify) |
//! | judge streams and gRPC calls when their body ends | [`AtBodyEnd`], by [`until_body_end`](crate::CircuitBreakerLayer::until_body_end) | a breaker |
//! | keep the place of a call until its body ends | [`AtBodyEnd`], by [`until_body_end`](crate::ConcurrencyLimitLayer::until_body_end) | a concurrency limit |
//! | count open streams as load of an endpoint | [`TrackLayer`] | below a balancer |
//! | send each request to the endpoint that was chosen | [`OriginLayer`] | below a balancer, above any HTTP client |
//! | send a request with a body that streams again | [`ReplayBodyLayer`] | above failover or retry |
//! | say that a `POST` may be sent again, or until when an answer is of use | [`Idempotent`], [`Deadline`] | extensions of a request |
//! | limit each client address | [`ClientIp`] | `by_key` of a limit or breaker |
//! | forward requests as a reverse proxy: hop-by-hop fields, `X-Forwarded-For`, upgrades | [`ReverseProxyLayer`] | above the failover |
//! | keep a client at one endpoint, by a cookie | `SessionCookieLayer` (feature `sticky`) | above the failover |
//! | answer refusals with 429 and 503 | [`AnswerLayer`] | outermost, in a server |
//!
//! # Differences from tower-http's
//! | here | tower-http | difference |
//! |---|---|---|
//! | [`HttpClassify`] | `ServerErrorsAsFailures`, `GrpcErrorsAsFailures` | One for both protocols. Knows overload and when to come back, and ignores what the caller caused. For circuits and failover rather than for traces. |
//! | [`AtBodyEnd`] | `ClassifyEos` | Settles a circuit or a place under a limit, also if the body drops. |
//! | [`TrackLayer`] | `InFlightRequestsLayer` | Counts for each endpoint, for the balancer to choose by. Includes connections that were upgraded. |
//! | [`OriginLayer`] | – | |
//! | [`ReplayBodyLayer`] | `follow_redirect`'s `Policy::clone_body` | Copies bodies that stream, in bounded memory. |
//! | [`ReverseProxyLayer`] | – | What Go's `httputil.ReverseProxy` does to requests and responses. |
//! | [`AnswerLayer`] | – | axum's `HandleErrorLayer` takes a closure; this one knows the errors of the crate, gRPC and `RateLimit` fields. |
//!
//! # Example
//! A client of hyper-util below a balancer. Open streams count as load, and a 500 as a failure:
//! ```no_run
//! use bytes::Bytes;
//! use http_body_util::Full;
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use tower::ServiceBuilder;
//! use tower_upstream::{
//!     BalanceLayer, CircuitBreakerLayer, Endpoint, LeastRequest, connect_fn, dial::TcpConnector,
//!     discover, http::{HttpClassify, OriginLayer, TrackLayer},
//! };
//!
//! let client: Client<_, Full<Bytes>> =
//!     Client::builder(TokioExecutor::new()).build(TcpConnector::new());
//! let endpoints = discover::fixed(["http://10.0.0.1:8080"])?;
//! let stack = ServiceBuilder::new()
//!     .layer(BalanceLayer::new(endpoints, LeastRequest::new()).with_classify(HttpClassify))
//!     .layer(TrackLayer::new())
//!     .layer(CircuitBreakerLayer::default().until_body_end(HttpClassify))
//!     .layer(OriginLayer::new())
//!     .service(connect_fn(move |_: &Endpoint| client.clone()));
//! # let _ = stack;
//! # Ok::<(), tower_upstream::Error>(())
//! ```

mod answer;
mod answered_by;
mod body_end;
mod classify;
mod client_ip;
mod connection;
mod held_body;
mod origin;
mod replay;
mod reverse_proxy;
#[cfg(feature = "sticky")]
mod session_cookie;
mod track;

#[cfg(feature = "grpc")]
pub(crate) use self::classify::{of_grpc, repeat_grpc};
#[cfg(feature = "sticky")]
pub use self::session_cookie::{SameSite, SessionCookie, SessionCookieFuture, SessionCookieLayer};
pub use self::{
    answer::{
        Answer, AnswerFuture, AnswerLayer, BodyFn, DefaultBody, EmptyBody, NoFields, Reports,
    },
    answered_by::AnsweredBy,
    body_end::{AtBodyEnd, JudgedBody},
    classify::HttpClassify,
    client_ip::ClientIp,
    connection::ConnectionSlot,
    held_body::HeldBody,
    origin::{Origin, OriginBody, OriginFuture, OriginLayer},
    replay::{Attempt, Deadline, Idempotent, ReplayBodies, ReplayBody, ReplayBodyLayer},
    reverse_proxy::{ReverseProxy, ReverseProxyFuture, ReverseProxyLayer},
    track::{Track, TrackFuture, TrackLayer, TrackedBody},
};
pub(crate) use self::{
    connection::{Moment, is_broken, lost_its_task},
    held_body::hold,
};
