//! Guides: what to build of these layers, and how.
//!
//! Not a part of the API: these pages exist in the documentation alone. All of their code is compiled,
//! and run unless it needs a server.
//!
//! | to | read |
//! |---|---|
//! | put a proxy in front of replicas | [`reverse_proxy`] |
//! | balance gRPC calls, and limit a gRPC server | [`tonic`] |
//! | use reqwest, or any other client, for each endpoint | [`clients`] |
//! | write a plugin, in any language | [`wire`] |
//! | look up a key of a config file | [`config`] |
//! | know which layer goes where, and what it counts there | [`order`] |
//! | write a guard, a strategy, a transport or a layer above the balancer | [`extending`] |
//! | read logs, and act on events | [`observing`] |
//! | find what is called how in tower, other crates or Go | [`from`] |
//! | understand an error of the compiler | [`compiler`] |
//! | know which task does what, and which lock is held when | [`architecture`] |
//! | look up a word | [`glossary`] |

#[doc = include_str!("architecture.md")]
pub mod architecture {}
#[doc = include_str!("clients.md")]
pub mod clients {}
#[doc = include_str!("compiler.md")]
pub mod compiler {}
#[cfg(feature = "config")]
#[doc = include_str!("config.md")]
pub mod config {}
#[doc = include_str!("extending.md")]
pub mod extending {}
#[doc = include_str!("from.md")]
pub mod from {}
#[doc = include_str!("glossary.md")]
pub mod glossary {}
#[doc = include_str!("observing.md")]
pub mod observing {}
#[doc = include_str!("order.md")]
pub mod order {}
#[doc = include_str!("reverse_proxy.md")]
pub mod reverse_proxy {}
#[doc = include_str!("tonic.md")]
pub mod tonic {}
#[doc = include_str!("wire.md")]
pub mod wire {}
