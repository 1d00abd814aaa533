//! Requests counted by the address of their client.

mod fields;
mod key;

pub use self::key::ClientIp;
