//! A circuit for each key of a request.

mod handle;
mod keys;
mod layer;
mod service;

pub use self::{
    handle::KeyedCircuitBreakerHandle, layer::KeyedCircuitBreakerLayer,
    service::KeyedCircuitBreaker,
};
