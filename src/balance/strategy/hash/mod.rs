//! Choosing by a key of the request.

mod bound;
#[cfg(all(test, feature = "test-util"))]
mod bound_tests;
mod bounded_by;
#[cfg(all(test, feature = "test-util"))]
mod change_tests;
#[cfg(all(test, feature = "test-util"))]
mod cold_tests;
mod consistent_hash;
#[cfg(all(test, feature = "test-util"))]
mod fade_tests;
mod key_bytes;
mod lookup;
mod names;
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
