//! Connectors that reach an upstream: the end of a stack.
//!
//! Guides: [what a plugin speaks](../_guide/wire/index.html), [other clients](../_guide/clients/index.html),
//! [extending](../_guide/extending/index.html).
//!
//! # When to use
//! A balancer needs a connector, which makes the service of each member. Choose it by the requests of the
//! stack:
//!
//! | connector | requests | for |
//! |---|---|---|
//! | [`HttpTransport`] | [`Call`](crate::Call) | plugins that speak JSON over HTTP or HTTPS |
//! | [`SocketTransport`] | [`Call`](crate::Call) | plugins that speak JSON over a Unix or TCP socket |
//! | `GrpcTransport` (feature `grpc`) | [`Call`](crate::Call) | plugins that speak gRPC, by JSON or by messages of Protocol Buffers |
#![cfg_attr(
    all(feature = "process", unix),
    doc = "| [`ProcessTransport`] | [`Call`](crate::Call) | plugins that are child processes |"
)]
//! | [`ByScheme`] | those of its connectors | endpoints that are reached in different ways |
//! | [`OriginLayer`](crate::http::OriginLayer) over any HTTP client | `http::Request` | services, replicas, proxies |
//! | [`connect_fn`](crate::connect_fn) | any | a client that knows its own target, such as a tonic `Channel` |
//!
//! Connections are made by a [`TcpConnector`](crate::dial::TcpConnector): `HttpTransport` uses it itself;
//! pass it to an HTTP client of yours.
//!
//! # Example
//! ```
//! use tower::ServiceBuilder;
//! use tower_upstream::{BalanceLayer, LeastRequest, discover, transport::HttpTransport};
//!
//! let plugins = ServiceBuilder::new()
//!     .layer(BalanceLayer::new(discover::fixed(["http://10.0.0.1:8080"])?, LeastRequest::new()))
//!     .service(HttpTransport::<u64, u64>::new());
//! # let _ = plugins;
//! # Ok::<(), tower_upstream::Error>(())
//! ```

mod answering;
mod by_scheme;
mod counts;
mod description;
#[cfg(feature = "grpc")]
mod grpc;
mod http;
mod limit;
#[cfg(all(feature = "process", unix))]
mod process;
mod socket;

#[cfg(feature = "grpc")]
pub use self::grpc::{GrpcConfig, GrpcFuture, GrpcService, GrpcTransport, GrpcTransportHandle};
#[cfg(all(feature = "process", unix))]
pub use self::process::{
    Multiplex, OutputConfig, ProcessConfig, ProcessFuture, ProcessService, ProcessTransport,
    ProcessTransportHandle,
};
pub use self::{
    by_scheme::{ByScheme, BySchemeService, Judge, On, OneOf, OneOfFuture, Or, Routes},
    http::{HttpConfig, HttpFuture, HttpService, HttpTransport, HttpTransportHandle},
    socket::{SocketConfig, SocketFuture, SocketService, SocketTransport, SocketTransportHandle},
};
