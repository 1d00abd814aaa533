//! Endpoints in Consul.

mod agent;
mod answer;
mod body;
mod check;
mod config;
mod consul;
mod endpoints;
mod entry;
mod env;
mod index;
mod query;
mod registrar;
mod source;

pub use self::{
    check::{ConsulCheck, ConsulCheckKind},
    config::ConsulConfig,
    consul::{Consul, consul},
    query::{ConsulConsistency, ConsulQuery},
    registrar::ConsulRegistrar,
    source::ConsulService,
};
