// Some examples of the README need `http`: without it they are shown, but not compiled.
#![cfg_attr(any(feature = "http", not(doctest)), doc = include_str!("../README.md"))]
#![cfg_attr(not(feature = "process"), forbid(unsafe_code))]
// What a child process does before it becomes the plugin is said in one file of `transport/process`.
#![cfg_attr(feature = "process", deny(unsafe_code))]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[macro_use]
mod macros;

// Guides, in the documentation alone. They link to everything.
#[cfg(all(any(doc, doctest), feature = "grpc", feature = "http", feature = "tower"))]
pub mod _guide;

// All the layers: as methods of tower's builder, and by one rule.
#[cfg(feature = "tower")]
pub mod builder;
pub mod stack;

// On top: named upstreams, and what is written down of them.
#[cfg(feature = "config")]
pub mod config;
#[cfg(feature = "config")]
pub mod plugins;

// The way of a request, in its order.
pub mod balance;
pub mod discover;
pub mod failover;
pub mod fallback;
pub mod retry;

// What guards one endpoint, or a whole upstream.
pub mod breaker;
pub mod guard;
pub mod health;
pub mod limit;

// How a call leaves the house, and how it enters a plugin's.
#[cfg(all(feature = "process", unix))]
pub mod allow;
#[cfg(feature = "http")]
pub mod auth;
#[cfg(feature = "http")]
pub mod codec;
#[cfg(feature = "http")]
pub mod dial;
pub mod plugin;
#[cfg(feature = "http")]
pub mod serve;
#[cfg(feature = "http")]
pub mod transport;

// A room for each protocol's own words.
#[cfg(feature = "grpc")]
pub mod grpc;
#[cfg(feature = "http")]
pub mod http;

// Shared words; these know nothing of the house.
pub mod backoff;
pub mod boxed;
pub mod budget;
#[cfg(all(any(feature = "kubernetes", feature = "process"), unix))]
mod child;
pub mod choose;
pub mod connect;
mod course;
pub mod deadline;
mod decision;
#[cfg(feature = "serde")]
mod duration;
pub mod endpoint;
pub mod error;
pub mod key;
pub mod member;
pub mod outcome;
#[cfg(feature = "http")]
mod pool;
pub mod replay;
pub mod rules;
pub mod session;
mod sync;
pub mod telemetry;
mod time;
#[cfg(feature = "http")]
mod wire;
#[cfg(feature = "serde")]
mod written;

// The paved ones. Everything else has one path, through its module.
#[cfg(feature = "http")]
#[doc(no_inline)]
pub use self::health::HttpCheck;
#[doc(no_inline)]
pub use self::{
    balance::{BalanceLayer, LeastRequest, PeakEwma},
    breaker::{CircuitBreakerConfig, CircuitBreakerLayer},
    connect::connect_fn,
    endpoint::Endpoint,
    error::{BoxError, Error},
    failover::{Attempts, FailoverLayer},
    health::HealthGateLayer,
    limit::{ConcurrencyLimitLayer, Quota, RateLimitLayer},
    outcome::{Classify, Outcome},
    plugin::{Call, Reply},
};
