//! A cookie that keeps a client at one endpoint.

mod future;
mod keys;
mod layer;
mod path;
mod same_site;
mod service;
mod slot;
mod terms;

pub use self::{
    future::SessionCookieFuture, layer::SessionCookieLayer, same_site::SameSite,
    service::SessionCookie,
};
