//! Requests counted by the address of their client.

mod fields;
mod key;
mod network;

pub use self::key::ClientIp;
