//! Endpoints in Kubernetes: its EndpointSlices, listed and watched.

mod access;
mod acts_as;
mod book;
mod catalog;
mod cluster;
mod config;
mod credential;
mod event;
mod external;
mod found;
mod kept;
mod known;
mod kube_file;
mod kubeconfig;
mod kubernetes;
mod lines;
mod mistake;
mod null;
mod object;
#[cfg(unix)]
mod output;
mod pages;
mod program;
mod query;
mod run;
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
