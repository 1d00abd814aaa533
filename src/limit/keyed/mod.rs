//! Limits the rate of the calls of each key.
//!
//! # When to use
//! Where one caller must not take what is meant for others: a quota for each tenant, API key or
//! client address (`ClientIp`, with the feature `http`). Above a balancer, or in a
//! server; below a balancer it works too, but there is one table for all endpoints, so a key that is
//! refused at one is refused at the next.
//!
//! # How it works
//! A table of fixed size holds a hash of each key and its tokens, never the key. A key that owes
//! nothing has the same tokens as one that never came, so its place is free: nothing has to be
//! cleaned up, and no number of keys makes the table grow.

mod handle;
mod keys;
mod layer;
mod service;
mod table;

pub use self::{handle::KeyedRateLimitHandle, layer::KeyedRateLimitLayer, service::KeyedRateLimit};
