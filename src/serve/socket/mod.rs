//! Answers the calls that a [`SocketTransport`](crate::transport::SocketTransport) sends.

mod answer;
mod bind;
mod channel;
mod config;
mod plugin;
mod serve;
mod server;

#[cfg(unix)]
pub use self::serve::unix;
pub use self::{
    config::BridgeConfig,
    serve::{SocketServe, bridge, tcp},
    server::SocketServer,
};
