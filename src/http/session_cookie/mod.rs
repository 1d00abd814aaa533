//! A cookie that keeps a client at one endpoint.

mod future;
mod keys;
mod layer;
mod service;
mod slot;
mod terms;

pub use self::{future::SessionCookieFuture, layer::SessionCookieLayer, service::SessionCookie};
