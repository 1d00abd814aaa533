//! Serves plugins: the other end of [`transport`](crate::transport).
//!
//! # When to use
//! In a program that is a plugin: any `Service<Call<T>>` becomes a server that answers calls, and reports
//! its health and its description. Put guards of this crate around the service first, such as a
//! [`ConcurrencyLimitLayer`](crate::ConcurrencyLimitLayer): their refusals become 429 and 503.
//!
//! | function | protocol | called by |
//! |---|---|---|
//! | [`http()`] | JSON over HTTP | [`HttpTransport`](crate::transport::HttpTransport), and Go programs |
//! | `grpc()` (feature `grpc`) | gRPC, with messages of JSON or Protocol Buffers | `GrpcTransport`, and clients of gRPC |
//! | [`unix()`] | messages of JSON over a Unix socket | [`SocketTransport`](crate::transport::SocketTransport), and Go programs |
//! | [`tcp()`], [`bridge()`] | the same over TCP | [`SocketTransport`](crate::transport::SocketTransport) |
//!
//! # Example
//! ```
//! use tower::{ServiceBuilder, service_fn};
//! use tower_upstream::{Call, ConcurrencyLimitLayer, Reply, serve};
//!
//! let plugin = ServiceBuilder::new()
//!     .layer(ConcurrencyLimitLayer::new(64))
//!     .service(service_fn(async |call: Call<u64>| {
//!         Ok::<_, std::io::Error>(Reply::new(call.body() * 2))
//!     }));
//! let app = axum::Router::new().fallback_service(serve::http(plugin));
//! # let _: axum::Router = app;
//! ```

mod failure;
#[cfg(feature = "grpc")]
mod grpc;
mod http;
mod socket;

#[cfg(feature = "grpc")]
pub use self::grpc::{Both, GrpcBody, GrpcServe, GrpcServeFuture, Serves, grpc};
#[cfg(unix)]
pub use self::socket::unix;
pub use self::{
    http::{HttpServe, ServeFuture, http},
    socket::{BridgeConfig, SocketServe, SocketServer, bridge, tcp, terminated},
};
