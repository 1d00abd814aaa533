//! The file as data: the config structs of the parts, composed.

mod affinity;
mod balance;
mod breaker;
mod check;
mod concurrency;
mod config;
mod discovery;
mod failover;
mod fallback;
mod folded;
mod from_failover;
mod listed;
mod masked;
mod place;
mod plugin;
mod retry;
mod section;
mod sections;
mod security;
mod status;

pub(super) use self::masked::{all as masked_values, shown_address};
#[cfg(all(feature = "process", unix))]
pub(super) use self::plugin::list_or_map;
pub use self::{
    affinity::{HashSection, KeySource, SchemeName, StickySection},
    balance::{BalanceSection, StrategyName},
    breaker::{BreakerScope, BreakerSection},
    check::{EndpointCheckConfig, LocalityConfig},
    concurrency::ConcurrencySection,
    config::{Config, Preset},
    discovery::DiscoveryConfig,
    failover::FailoverSection,
    fallback::FallbackConfig,
    place::{DiscoverConfig, EndpointConfig},
    plugin::PluginConfig,
    retry::RetrySection,
    sections::Sections,
    security::SecurityConfig,
};
