//! Consistent hashing: which endpoint a key goes to, so that it stays there while others come and go.
//!
//! # When to use
//! To compute where keys go without calls, to compare with another system, or to move from one without losing
//! its caches. To balance calls by a key, use [`ConsistentHash`](crate::balance::ConsistentHash).
//!
//! | rule | what it is | of a change of one in n, beside the keys of that | cost of a lookup |
//! |---|---|---|---|
//! | [`Maglev`] | a table of endpoints, filled in turns | moves below 1 % of the others | one read |
//! | [`Ring`] | points on a circle, as Envoy, gRPC, libketama, libmemcached, nginx, pingora, lua-resty-chash or Skipper place them | moves none; a few with Envoy and gRPC, where the number of an endpoint's points depends on that of the others | an index and a step |
//! | [`Rendezvous`] | the highest of a number for each endpoint | moves none | O(n) |
//! | [`BoundedLoad`] | goes on to another endpoint where one has more than its share | | |
//! | [`FadeIn`] | gives a newcomer its keys little by little | | |
//!
//! [`xxh64`], [`murmur2`], [`fnv1a_32`], [`crc32`] and [`ketama`] are the functions that place keys.

mod bounded;
mod dialects;
mod fade_in;
mod filling;
mod functions;
mod maglev;
mod memcached;
mod mt19937;
mod rendezvous;
mod ring;

pub use self::{
    bounded::{BoundedLoad, ProbeOrder},
    dialects::{HashFunction, RingSize},
    fade_in::FadeIn,
    filling::MaglevTurns,
    functions::{crc32, fnv1a_32, ketama, murmur2, xxh64},
    maglev::Maglev,
    rendezvous::Rendezvous,
    ring::Ring,
};
