//! What a plugin tells of itself, and how it does.

#[cfg(feature = "http")]
mod info;
mod status;

#[cfg(feature = "http")]
pub use self::info::PluginInfo;
pub use self::status::{HealthStatus, PluginHealth, PluginStatus};
