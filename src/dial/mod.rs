//! Makes connections: for transports, for health checks, and for HTTP clients of yours.
//!
//! # When to use
//! [`HttpTransport`](crate::transport::HttpTransport) and the health checks use [`TcpConnector`] by
//! themselves. Give it to a client of hyper-util that stands below
//! [`OriginLayer`](crate::http::OriginLayer), and the layers can tell a connection that had died
//! while it was idle from an endpoint that fails, and count an upgraded connection until it closes.

mod connection;
mod connector;
mod error;
mod resolver;
mod runtime;

pub(crate) use self::runtime::is_running;
pub use self::{
    connection::Connection,
    connector::{Connecting, TcpConnector},
    error::ConnectError,
};
