//! What every reverse proxy does to a request and to its response.

mod forwarded;
mod future;
mod hop_by_hop;
mod layer;
mod service;
mod terms;
mod upgrade;
mod via;

pub use self::{future::ReverseProxyFuture, layer::ReverseProxyLayer, service::ReverseProxy};
