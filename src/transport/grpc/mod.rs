//! Calls plugins over gRPC: by JSON as the Go plugin manager would, or by messages of the user.
//!
//! A gRPC call is a request over HTTP/2, so its connections and its exchange are those of the HTTP
//! transport; here is what gRPC says over them.

mod answer;
mod config;
mod connector;
mod handle;
mod peer;
mod request;
mod service;

pub use self::{
    config::GrpcConfig,
    connector::GrpcTransport,
    handle::GrpcTransportHandle,
    service::{GrpcFuture, GrpcService},
};
