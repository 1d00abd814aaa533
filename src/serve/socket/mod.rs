//! Answers the calls that a [`SocketTransport`](crate::transport::SocketTransport) sends.

mod answer;
mod channel;
mod config;
mod listener;
mod plugin;
mod serve;
mod server;
mod stop;

#[cfg(unix)]
pub(super) use self::listener::{BindAddress, Listener};
#[cfg(unix)]
pub use self::serve::unix;
pub use self::{
    config::BridgeConfig,
    serve::{SocketServe, bridge, tcp},
    server::SocketServer,
    stop::terminated,
};
