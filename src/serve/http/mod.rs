//! Answers the calls that an [`HttpTransport`](crate::transport::HttpTransport) sends.

mod answer;
mod bind;
mod body;
mod channel;
mod config;
mod entry;
mod future;
mod pace;
mod paced;
mod parted;
mod place;
mod places;
mod question;
mod server;
mod service;

pub use self::{
    bind::{HttpBind, http_service},
    body::RequestBody,
    config::HttpServerConfig,
    future::ServeFuture,
    server::HttpServer,
    service::{HttpServe, http},
};
