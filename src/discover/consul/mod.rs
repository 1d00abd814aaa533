//! Endpoints in Consul.

mod agent;
mod answer;
mod client;
mod config;
mod consul;
mod encode;
mod endpoints;
mod entry;
mod index;
mod query;
mod source;

pub use self::{
    config::ConsulConfig,
    consul::{Consul, consul},
    query::{ConsulConsistency, ConsulQuery},
    source::ConsulService,
};
