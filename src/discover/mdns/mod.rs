//! Endpoints in the local network, by multicast DNS.

mod bare;
mod board;
mod browse;
mod check;
mod config;
mod daemon;
mod entry;
mod gather;
mod kind;
mod mdns;
mod orders;
mod places;
mod registrar;
mod search;
mod source;
mod trust;
mod txt;

pub use self::{config::MdnsConfig, mdns::Mdns, registrar::MdnsRegistrar, source::MdnsService};
