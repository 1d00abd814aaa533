//! One error for everything that this crate refuses or fails at.
//!
//! Guide: [observing](../_guide/observing/index.html).
//!
//! Every layer of this crate answers with [`Error`], and takes one from the layer below as it is. So a
//! stack has one error type, in whatever order its layers stand. Ask an error for its [`Kind`] in a
//! `match`, and for its [`Code`] in dashboards and alerts.
//!
//! # Kinds
//! | kind | code | HTTP | the call was | what to do |
//! |---|---|---|---|---|
//! | [`NoEndpoints`](Kind::NoEndpoints) | `LOADBALANCER_1701` | 503 | refused | look at discovery: it reports none |
//! | [`AllEndpointsDown`](Kind::AllEndpointsDown) | `LOADBALANCER_1702` | 503 | refused | look at the endpoints; the source may say what the last one failed with |
//! | [`CircuitOpen`](Kind::CircuitOpen) | `CIRCUIT_1401` | 503 | refused | come back after [`retry_after`](Error::retry_after) |
//! | [`RateLimited`](Kind::RateLimited) | `RATELIMIT_1501` | 429 | refused; or sent, and the endpoint answered 429 | slow down, come back after `retry_after` |
//! | [`Overloaded`](Kind::Overloaded) | `RATELIMIT_1502` | 503 | refused | shed load, or raise the limit |
//! | [`Unhealthy`](Kind::Unhealthy) | `HEALTH_1601` | 503 | refused | look at the health check |
//! | [`Timeout`](Kind::Timeout) | `PLUGIN_1204` | 504 | sent, unless [`is_unsent`](Error::is_unsent) | look for what is slow, or raise the timeout |
//! | [`Connection`](Kind::Connection) | `PLUGIN_1205` | 502 | sent, unless `is_unsent` | repeat it if that is safe |
//! | [`Transport`](Kind::Transport) | `TRANSPORT_1301` | 502 | sent | look at the endpoint: it breaks the protocol, or answers 5xx |
//! | [`Plugin`](Kind::Plugin) | `PLUGIN_1206` | 502 | sent | do not repeat it: this is the plugin's answer |
//! | [`Service`](Kind::Service) | `PLUGIN_1207` | 502 | sent | look at the source, or take it out: [`downcast`](Error::downcast) |
//! | [`RetryExhausted`](Kind::RetryExhausted) | `PLUGIN_1203` | that of the last attempt | as its attempts were | look at [`history`](Error::history) |
//! | [`InvalidConfig`](Kind::InvalidConfig) | `CONFIG_1703` | 500 | not sent | correct the config; the text names the key |
//! | [`Unavailable`](Kind::Unavailable) | `REGISTRY_1901` | 503 | refused, or not sent | make the first call inside a tokio runtime; of `Plugins`, read the text |
//! | [`InvalidRequest`](Kind::InvalidRequest) | `PLUGIN_1208` | 400 | not evidence against the endpoint | correct the request |
//!
//! A refused call was never sent, so it may be repeated whatever it does, and it counts against no
//! endpoint. The HTTP status is that of `Error::into_response` (feature `http`).
//!
//! # Rarer codes
//! A plugin may answer with any [`Code`]. Of this crate, these errors have a code that is not that of their kind:
//!
//! | code | error |
//! |---|---|
//! | `HEALTH_1602` | a gate above a balancer, or alone, whose last failed check ran into its time limit |
//! | `TRANSPORT_1303` | an answer over a Unix socket that breaks the protocol |
//! | `RPC_2002` | a plugin does not accept the token; one that is a process refuses the handshake, or says nothing to it in time |
//! | `RPC_2003` | an answer over TCP that breaks the protocol; the answer to another question |
//! | `RPC_2004` | the hash of a program is not the one on the allow-list; both are in its source, a `HashMismatch` |
//! | `RPC_2005` | a body that cannot be written as JSON, or that has another type than the caller expects |
//! | `SECURITY_1801` | the process behind a socket belongs to another user |
//! | `SECURITY_1801`, `SECURITY_1803`, `SECURITY_1805` | an allow-list refuses a program; it cannot be hashed; it, or the list, cannot be read |
//! | `SECURITY_1802`, `SECURITY_1806` | an allow-list with mistakes; an audit file that cannot be opened |
//! | `SECURITY_1804` | the path of a socket leads out of its directory, or through a link |
//! | `PLUGIN_1004`, `PLUGIN_1006` | a URL, or the path of a socket, that cannot be used |
//! | `PLUGIN_1201`, `PLUGIN_1202` | a name that no plugin has, over HTTP 404; a plugin that is not enabled |
//! | `PLUGIN_1008` | no transport for the scheme of an address |
//!
//! # Example
//! ```
//! use tower_upstream::error::{Error, Kind};
//!
//! /// What a caller of this program is told.
//! fn advice(error: &Error) -> String {
//!     match (error.kind(), error.retry_after()) {
//!         (Kind::InvalidRequest | Kind::Plugin, _) => format!("no: {error}"),
//!         (_, Some(wait)) => format!("come back in {} s", wait.as_secs() + 1),
//!         _ => "come back later".to_owned(),
//!     }
//! }
//! let error = Error::caller("the upload was aborted");
//! assert_eq!(
//!     advice(&error),
//!     "no: [PLUGIN_1208] the request cannot be sent as it is: the upload was aborted"
//! );
//! ```

mod adopt;
mod causes;
mod code;
mod display;
mod downcast;
mod error;
mod fault;
mod foreign;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "http")]
mod http;
mod kind;
mod notes;
#[cfg(feature = "http")]
mod sending;
mod text;
mod word;

#[cfg(feature = "http")]
pub(crate) use self::causes::{causes, root};
#[cfg(feature = "grpc")]
pub(crate) use self::grpc::pushback;
#[cfg(feature = "http")]
pub(crate) use self::sending::BrokeWhileSending;
pub use self::{
    code::Code,
    error::{BoxError, Error},
    kind::Kind,
};
pub(crate) use self::{
    fault::Fault,
    text::{Quoted, cut},
};
