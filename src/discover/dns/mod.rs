//! Endpoints in DNS.

mod ask;
mod config;
mod dns;
mod name;
mod records;
mod search;
mod source;
mod system;

pub use self::{
    config::{DnsConfig, IpFamily},
    dns::{Dns, dns},
    source::DnsService,
};
