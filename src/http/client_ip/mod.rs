//! Requests counted by the address of their client.

mod fields;
mod key;

pub use self::key::ClientIp;
pub(super) use self::{fields::value_in, key::X_FORWARDED_FOR};
