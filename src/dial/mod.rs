//! Makes TCP connections: for transports, for health checks, and for HTTP clients of yours.
//!
//! # When to use
//! [`HttpTransport`](crate::transport::HttpTransport) and the health checks use a [`TcpConnector`]
//! themselves. Pass one to a client of hyper-util below an [`OriginLayer`](crate::http::OriginLayer):
//! then the layers can tell a connection that had died while it was idle from an endpoint that fails, and
//! count an upgraded connection until it closes.
//!
//! # Differences from hyper-util's
//! `HttpConnector` of hyper-util has no time limit for a name and all its addresses together, cannot name
//! a runtime, and its connections have no [`ConnectionSlot`](crate::http::ConnectionSlot), which tells
//! their age and when they close.
//!
//! # Example
//! ```
//! use bytes::Bytes;
//! use http_body_util::Full;
//! use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//! use tower_upstream::dial::TcpConnector;
//!
//! let client: Client<_, Full<Bytes>> =
//!     Client::builder(TokioExecutor::new()).build(TcpConnector::new());
//! # let _ = client;
//! ```

mod client;
mod connection;
mod connector;
mod dialer;
mod error;
mod reads_on;
mod resolver;
mod runtime;
mod socket;
#[cfg(unix)]
pub(crate) mod socket_path;
#[cfg(feature = "tls")]
mod tls;
#[cfg(unix)]
mod users;
mod way;

#[cfg(feature = "kubernetes")]
pub(crate) use self::tls::GivenTls;
#[cfg(feature = "tls")]
pub(crate) use self::tls::{ServerTls, Tls};
#[cfg(feature = "tls")]
pub use self::tls::{ServerTlsConfig, TlsConfig};
#[cfg(unix)]
pub(crate) use self::users::Users;
pub(crate) use self::{
    client::{AGENT, HttpClient, Limits},
    dialer::Dialer,
    reads_on::ReadsOn,
    runtime::is_running,
    socket::Socket,
    way::Way,
};
pub use self::{
    connection::Connection,
    connector::{Connecting, TcpConnector},
    error::ConnectError,
};

/// Nothing to keep without the feature `tls`.
#[cfg(not(feature = "tls"))]
#[derive(Debug, Default)]
pub(crate) struct Tls;
