//! Upstreams that are written down: the file of a program, as data.
//!
//! Guide: [every key of the file](../_guide/config/index.html).
//!
//! # When to use
//! If the upstreams of a program belong into a file rather than into its code. A [`Config`] is what the
//! file says; [`Plugins`](crate::plugins::Plugins) makes the stacks of it.
//!
//! # Example
//! ```
//! use tower_upstream::config::Config;
//!
//! let config: Config = serde_json::from_str(
//!     r#"{"plugins": [{"name": "tax", "transport": "https", "endpoint": "https://tax.example"}]}"#,
//! )?;
//! assert_eq!(config.plugins[0].name, "tax");
//! # Ok::<(), serde_json::Error>(())
//! ```

mod absent;
pub mod env;
mod error;
mod file;
mod load;
mod merge;
mod model;
mod names;
pub(crate) mod nearest;
pub(crate) mod read;
pub(crate) mod rules;
mod shape;
mod value;
mod write;

pub use self::{
    error::{ConfigError, Mistake},
    load::{ReadOptions, Unknown},
    model::{
        BalanceSection, BreakerScope, BreakerSection, ConcurrencySection, Config, DiscoverConfig,
        DiscoveryConfig, EndpointCheckConfig, EndpointConfig, FailoverSection, FallbackConfig,
        HashSection, KeySource, LocalityConfig, PluginConfig, Preset, RetrySection, SchemeName,
        Sections, SecurityConfig, StickySection, StrategyName,
    },
    shape::schema,
    value::Format,
    write::Secrets,
};
