//! Everything between a request and one of many upstreams, as `tower` layers.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

// The way of a request, in its order.
mod budget;
mod choose;
mod connect;
pub mod discover;
mod endpoint;
mod member;
pub mod replay;

// How a call leaves the house, and how it enters a plugin's.
mod call;
#[cfg(feature = "http")]
mod plugin;
#[cfg(feature = "http")]
pub mod serve;
#[cfg(feature = "http")]
pub mod track;
#[cfg(feature = "http")]
pub mod transport;

// Shared words; these know nothing of the house.
mod error;
mod outcome;
mod sync;
mod time;
#[cfg(feature = "http")]
mod wire;

#[cfg(feature = "tower")]
pub use self::choose::EitherChoosing;

#[cfg(feature = "http")]
pub use self::{
    outcome::HttpClassify,
    plugin::{HealthStatus, PluginInfo, PluginStatus},
};

pub use self::{
    budget::Budget,
    call::{Call, Reply},
    choose::{Choose, Chooses, Chosen, Tried},
    connect::{Connect, ConnectFn, Each, EachLayer, connect_fn},
    endpoint::{Address, Endpoint, Locality, Status},
    error::{BoxError, Error, Kind},
    member::{InFlight, Member, Reason, Veto},
    outcome::{Classify, ErrIsFailure, Outcome},
    replay::Replay,
};
