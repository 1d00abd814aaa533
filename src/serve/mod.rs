//! Serves plugins: the other end of [`transport`](crate::transport).
//!
//! Guide: [what a plugin speaks](../_guide/wire/index.html).
//!
//! # When to use
//! In a program that is a plugin: any `Service<Call<T>>` becomes a server that answers calls, and reports
//! its health and its description. Put guards of this crate around the service first, such as a
//! [`ConcurrencyLimitLayer`](crate::ConcurrencyLimitLayer): their refusals become 429 and 503.
//!
//! | function | protocol | called by |
//! |---|---|---|
//! | [`http()`], [`http_service()`] | JSON over HTTP and HTTPS, and over a Unix socket | [`HttpTransport`](crate::transport::HttpTransport), and Go programs |
//! | `grpc()` (feature `grpc`) | gRPC, with messages of JSON or Protocol Buffers | `GrpcTransport`, and clients of gRPC |
//! | [`unix()`] | messages of JSON over a Unix socket | [`SocketTransport`](crate::transport::SocketTransport), and Go programs |
//! | [`tcp()`], [`bridge()`] | the same over TCP | [`SocketTransport`](crate::transport::SocketTransport) |
#![cfg_attr(
    all(feature = "process", unix),
    doc = "| [`stdio()`] | lines of JSON over stdin and stdout | [`ProcessTransport`](crate::transport::ProcessTransport), and Go programs |"
)]
//!
//! # Example
//! ```no_run
//! use tower::{ServiceBuilder, service_fn};
//! use tower_upstream::{Call, ConcurrencyLimitLayer, Reply, serve};
//!
//! # async fn example() -> Result<(), tower_upstream::Error> {
//! let plugin = ServiceBuilder::new()
//!     .layer(ConcurrencyLimitLayer::new(64))
//!     .service(service_fn(async |call: Call<u64>| {
//!         Ok::<_, std::io::Error>(Reply::new(call.body() * 2))
//!     }));
//! serve::http(plugin).bind("127.0.0.1:8080").await
//! # }
//! ```

mod accept;
mod endless;
mod execute;
mod failure;
#[cfg(feature = "grpc")]
mod grpc;
mod http;
mod listener;
mod socket;
#[cfg(all(feature = "process", unix))]
mod stdio;
mod stop;

#[cfg(feature = "grpc")]
pub use self::grpc::{Both, GrpcBody, GrpcServe, GrpcServeFuture, Serves, grpc};
#[cfg(unix)]
pub use self::socket::unix;
#[cfg(all(feature = "process", unix))]
pub use self::stdio::{StdioConfig, StdioServe, stdio};
pub use self::{
    http::{
        HttpBind, HttpServe, HttpServer, HttpServerConfig, RequestBody, ServeFuture, http,
        http_service,
    },
    socket::{BridgeConfig, SocketServe, SocketServer, bridge, tcp},
    stop::terminated,
};
