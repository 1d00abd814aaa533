//! Makes any HTTP client a transport: requests go to the address of the member.

mod body;
mod drain;
mod future;
mod layer;
mod path;
mod service;
mod target;
mod upstream;

pub use self::{body::OriginBody, future::OriginFuture, layer::OriginLayer, service::Origin};
