//! Limits the rate of the calls of each key.
//!
//! # When to use
//! If one caller must not take what is meant for others: a quota for each tenant, API key or client
//! address (`ClientIp`, feature `http`). Use it above a balancer, or in a server. It works below a
//! balancer, too, but with one table for all endpoints, so a key that is refused at one is refused at
//! the next.
//!
//! # How it works
//! A table of fixed size holds a hash of each key and its tokens, never the key. A key that owes no
//! token has the same tokens as one that was never seen, so its place is free: nothing has to be cleaned
//! up, and no number of keys makes the table grow.
//!
//! # Differences from tower's
//! tower's `RateLimit` has no keys. A map of them, one for each key, grows with the keys.
//!
//! # Example
//! ```
//! use tower_upstream::{Call, Quota, RateLimitLayer};
//!
//! let layer = RateLimitLayer::new(Quota::per_second(10))
//!     .by_key(|call: &Call<u64>| call.headers().get("x-tenant").cloned())
//!     .named("tenant quota");
//! let quotas = layer.handle();
//! assert_eq!(quotas.remaining(&Some("ann")), 10);
//! ```

mod handle;
mod keys;
mod layer;
mod service;
mod table;

pub use self::{handle::KeyedRateLimitHandle, layer::KeyedRateLimitLayer, service::KeyedRateLimit};
