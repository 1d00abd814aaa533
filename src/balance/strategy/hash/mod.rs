//! Choosing by a key of the request.

mod bound;
mod consistent_hash;
mod key_bytes;
mod lookup;
mod scheme;
#[cfg(test)]
mod tests;
mod waves;

pub use self::{
    consistent_hash::{ConsistentHash, ConsistentHashTable},
    scheme::HashScheme,
};
