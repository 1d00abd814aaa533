//! The HTTP/1.1 client of what this crate asks itself, such as a registry: bounded in time and bytes.

mod client;
mod connector;

pub(crate) use self::client::{AGENT, HttpClient, Limits};
