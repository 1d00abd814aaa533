//! TLS over a connection, by rustls with ring.

mod client;
mod config;
mod files;
mod reload;
mod server;

pub use self::config::{ServerTlsConfig, TlsConfig};
pub(crate) use self::{client::Tls, server::ServerTls};
