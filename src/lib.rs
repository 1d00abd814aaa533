// The example of the README needs `http`.
#![cfg_attr(feature = "http", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "http"),
    doc = "Everything between a request and one of many upstreams, as `tower` layers."
)]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

// The way of a request, in its order.
pub mod balance;
pub mod budget;
mod choose;
mod connect;
pub mod discover;
mod endpoint;
pub mod failover;
mod member;
pub mod replay;
#[cfg(feature = "tower")]
pub mod retry;

// What guards one endpoint, or a whole upstream.
pub mod breaker;
pub mod guard;
pub mod health;
pub mod limit;

// How a call leaves the house, and how it enters a plugin's.
mod call;
#[cfg(feature = "http")]
pub mod dial;
mod plugin;
#[cfg(feature = "http")]
pub mod serve;
#[cfg(feature = "http")]
pub mod track;
#[cfg(feature = "http")]
pub mod transport;

// Shared words; these know nothing of the house.
#[cfg(feature = "serde")]
mod duration;
mod error;
mod outcome;
mod sync;
mod time;
#[cfg(feature = "http")]
mod wire;

#[cfg(feature = "tower")]
pub use self::choose::EitherChoosing;

#[cfg(feature = "http")]
pub use self::{connect::AnsweredBy, health::HttpCheck, outcome::HttpClassify, plugin::PluginInfo};

pub use self::{
    balance::{BalanceLayer, LeastRequest},
    breaker::{CircuitBreakerConfig, CircuitBreakerLayer},
    budget::Budget,
    call::{Call, Reply},
    choose::{Choose, Chooses, Chosen, Tried},
    connect::{
        AtEndpoint, Connect, ConnectFn, Each, EachLayer, NameEndpoint, NameEndpointFuture,
        NameEndpointLayer, UnsentIf, UnsentIfFuture, connect_fn,
    },
    endpoint::{Address, Endpoint, Locality, Status},
    error::{BoxError, Error, Kind},
    failover::{Attempts, FailoverLayer},
    health::HealthGateLayer,
    limit::{ConcurrencyLimitLayer, Quota, RateLimitLayer},
    member::{InFlight, Member, Reason, Veto},
    outcome::{Classify, ErrIsFailure, Outcome},
    plugin::{HealthStatus, PluginHealth, PluginStatus},
    replay::Replay,
};
