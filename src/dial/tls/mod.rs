//! TLS over a connection, by rustls with ring.

mod client;
mod config;
mod files;
mod given;
mod reload;
mod server;
mod unverified;

pub use self::config::{ServerTlsConfig, TlsConfig};
#[cfg(feature = "kubernetes")]
pub(crate) use self::given::GivenTls;
pub(crate) use self::{client::Tls, server::ServerTls};
