//! Endpoints in etcd: reading and announcing them.

mod book;
mod catalog;
mod client;
mod codec;
mod config;
mod etcd;
mod failure;
mod feed;
mod inbox;
mod keys;
mod link;
mod messages;
mod pages;
mod registrar;
mod server;
mod session;
mod source;

pub use self::{config::EtcdConfig, etcd::Etcd, registrar::EtcdRegistrar, source::EtcdService};
