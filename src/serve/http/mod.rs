//! Answers the calls that an [`HttpTransport`](crate::transport::HttpTransport) sends.

mod answer;
mod future;
mod question;
mod service;

pub use self::{
    future::ServeFuture,
    service::{HttpServe, http},
};
