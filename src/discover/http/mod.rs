//! Endpoints that are asked what they are: polling of `/_farp/discovery` over HTTP.

mod catalog;
mod config;
mod document;
mod fetch;
mod manifest;
mod record;
mod seed;
mod source;

pub use self::{
    config::FarpConfig,
    source::{Farp, farp},
};
