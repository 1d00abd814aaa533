//! Choosing by a key of the request.

mod bound;
mod bounded_by;
mod consistent_hash;
#[cfg(all(test, feature = "test-util"))]
mod fade_tests;
mod key_bytes;
mod lookup;
#[cfg(all(test, feature = "test-util"))]
mod occupancy_tests;
mod places;
mod portions;
mod scheme;
#[cfg(test)]
mod tests;
mod total;
mod waves;

pub use self::{
    bounded_by::BoundedBy,
    consistent_hash::{ConsistentHash, ConsistentHashTable},
    scheme::HashScheme,
};
