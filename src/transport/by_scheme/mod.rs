//! Reaches each endpoint in the way that the scheme of its address names.

mod connector;
mod routes;
mod service;

pub use self::{
    connector::ByScheme,
    routes::{On, Or, Routes},
    service::{BySchemeService, Judge, OneOf, OneOfFuture},
};
