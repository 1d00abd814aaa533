//! TLS over a connection, by rustls with ring.

mod client;
mod config;
mod files;

pub(crate) use self::client::Tls;
pub use self::config::TlsConfig;
