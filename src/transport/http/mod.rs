//! Calls plugins by JSON over HTTP, byte for byte as the Go plugin manager does.

#[cfg(feature = "tls")]
mod alert;
mod answer;
mod bounds;
mod config;
#[cfg(test)]
mod config_tests;
mod connection;
mod connector;
mod exchange;
mod failure;
mod handle;
mod outgoing;
mod pool;
mod request;
mod service;
mod silence;
mod speaks;
mod timer;

#[cfg(feature = "grpc")]
pub(super) use self::speaks::Speaks;
pub use self::{
    config::HttpConfig,
    connector::HttpTransport,
    handle::HttpTransportHandle,
    service::{HttpFuture, HttpService},
};
#[cfg(feature = "grpc")]
pub(super) use self::{
    exchange::{Exchange, Received},
    pool::Pool,
    request::usable_path,
};
