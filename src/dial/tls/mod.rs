//! TLS over a connection, by rustls with ring.

mod client;
mod config;
mod files;
mod given;
mod reload;
mod server;
mod unverified;

pub use self::config::{ServerTlsConfig, TlsConfig};
pub(crate) use self::{client::Tls, given::GivenTls, server::ServerTls};
