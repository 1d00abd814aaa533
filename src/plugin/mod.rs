//! What a plugin is asked, what it answers, and what it tells of itself.

mod call;
#[cfg(feature = "http")]
mod info;
mod status;
#[cfg(feature = "http")]
pub(crate) mod wire;

#[cfg(feature = "http")]
pub use self::info::PluginInfo;
pub use self::{
    call::{Call, Reply},
    status::{HealthStatus, PluginHealth, PluginStatus},
};
