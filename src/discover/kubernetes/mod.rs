//! Endpoints in Kubernetes: its EndpointSlices, listed and watched.

mod access;
mod book;
mod catalog;
mod cluster;
mod config;
mod event;
mod external;
mod found;
mod known;
mod kubeconfig;
mod kubernetes;
mod lines;
mod object;
mod pages;
mod query;
mod server;
mod slice;
mod source;
mod stream;
mod token;

pub use self::{
    config::KubernetesConfig,
    kubernetes::Kubernetes,
    query::{KubernetesFamily, KubernetesQuery},
    source::KubernetesService,
};
