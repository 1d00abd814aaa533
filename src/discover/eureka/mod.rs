//! Endpoints in Eureka.

mod body;
mod book;
mod client;
mod config;
mod document;
mod eureka;
mod feed;
mod info;
mod lenient;
mod registrar;
mod server;
mod source;
mod status;
mod wanted;

pub use self::{
    config::{EurekaConfig, EurekaFetch},
    eureka::Eureka,
    registrar::EurekaRegistrar,
    source::EurekaService,
    status::EurekaStatus,
};
