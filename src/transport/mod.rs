//! Reaches an upstream in one way: the connectors that stand at the end of a stack.
//!
//! | connector | requests | for |
//! |---|---|---|
//! | [`HttpTransport`] | [`Call`](crate::Call) | plugins that speak JSON over HTTP |
//! | [`OriginLayer`](crate::http::OriginLayer) over any HTTP client | `http::Request` | services, replicas, proxies |
//! | [`connect_fn`](crate::connect_fn) | anything | a client that knows its own target |
//!
//! Connections are made by a [`TcpConnector`](crate::dial::TcpConnector), of `HttpTransport` by itself, of
//! an HTTP client if you give it one.

mod http;

pub use self::http::{HttpConfig, HttpFuture, HttpService, HttpTransport};
