//! Calls plugins by messages of JSON over a Unix or TCP socket, byte for byte as the Go plugin manager
//! does over a Unix socket.

mod address;
mod answer;
mod config;
mod connection;
mod connector;
mod exchange;
mod handle;
mod pool;
mod service;

pub use self::{
    config::SocketConfig,
    connector::SocketTransport,
    handle::SocketTransportHandle,
    service::{SocketFuture, SocketService},
};
