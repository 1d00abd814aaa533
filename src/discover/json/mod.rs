//! Lists of endpoints as JSON, whatever they come by.

#[cfg(feature = "etcd")]
mod go;
mod instance;
mod list;

#[cfg(feature = "etcd")]
pub(super) use self::{go::go_json, instance::instance};
