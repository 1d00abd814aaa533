//! Lists of endpoints as JSON, whatever they come by.

mod instance;
mod list;

#[cfg(feature = "etcd")]
pub(super) use self::instance::instance;
