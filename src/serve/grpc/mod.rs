//! Answers the calls that a [`GrpcTransport`](crate::transport::GrpcTransport) sends.

mod about;
mod answer;
mod body;
mod future;
mod question;
mod serves;
mod service;
mod watch;

pub use self::{
    body::GrpcBody,
    future::GrpcServeFuture,
    serves::{Both, Serves},
    service::{GrpcServe, grpc},
};
