//! Endpoints in etcd.

mod book;
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
mod server;
mod session;
mod source;

pub use self::{config::EtcdConfig, etcd::Etcd, source::EtcdService};
