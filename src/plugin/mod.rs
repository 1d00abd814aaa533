//! Calls to plugins, their answers, and what plugins report about themselves.
//!
//! Guide: [what a plugin speaks](../_guide/wire/index.html).
//!
//! # When to use
//! A [`Call`] is the request, and a [`Reply`] the response, of a stack that has plugins as upstreams:
//! services that take one typed request and return one typed answer. They carry a request id, a deadline,
//! headers and metadata, and the failover knows from a `Call` whether it may be sent again. Other layers
//! of the crate take any request, so a stack of `http::Request`s needs nothing from here.
//!
//! | | |
//! |---|---|
//! | [`Call`], [`Reply`] | a request and its answer |
//! | [`HealthStatus`], [`PluginStatus`] | the health of a plugin or an endpoint |
//! | [`PluginHealth`] | a service that reports its health; see [`PluginCheck`](crate::health::PluginCheck) |
#![cfg_attr(
    feature = "http",
    doc = "| [`Encoded`] | a body that is encoded already, for stacks that plugins of different types share |",
    doc = "| [`PluginInfo`] | what a plugin answers when it is asked for its name and version |",
    doc = "",
    doc = "The connectors of [`transport`](crate::transport) send calls, and",
    doc = "[`serve`](crate::serve) answers them."
)]
//!
//! # What travels
//! Each transport carries the same of a call and a reply, in the form that the Go plugin manager gives it. What that
//! has no place for is one more member of a message, which Go ignores, and which is not sent when it is empty.
//!
//! | of | over HTTP | over a socket | to a child process |
//! |---|---|---|---|
//! | id of a call | `request_id`, and the header `X-Request-Id` | `request_id`; an answer with another one is an error | `context.request_id`, and `id`, which an answer has too |
//! | timeout, or the limit of the transport if that is shorter | `timeout`, such as `1m30s` | `timeout_ms` | `context.timeout` in nanoseconds |
//! | headers | `headers`, and HTTP headers | `headers` | `context.headers` |
//! | metadata of a call | `metadata` | `metadata`, unknown to Go | `context.metadata` |
//! | metadata of a reply | `metadata`, which Go sends and does not read | `metadata`, unknown to Go | `metadata`, unknown to Go |
//! | refusal of a plugin's own limit, and when to come back | 429 or 503, and `Retry-After` | `status` and `retry_after_ms`, unknown to Go | `status` and `retry_after_ms`, unknown to Go |
//!
//! # Example
//! ```
//! use tower::{ServiceExt, service_fn};
//! use tower_upstream::{Call, Reply};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let tax = service_fn(async |call: Call<u64>| {
//!     Ok::<_, std::convert::Infallible>(Reply::new(call.body() * 122 / 100))
//! });
//! let reply = tax.oneshot(Call::new(1_200)).await.unwrap();
//! assert_eq!(reply.into_body(), 1_464);
//! # }
//! ```

#[cfg(feature = "http")]
mod authenticate;
mod call;
mod call_number;
#[cfg(feature = "http")]
mod encoded;
#[cfg(feature = "config")]
mod handed_on;
#[cfg(all(feature = "process", unix))]
mod handshake;
#[cfg(feature = "http")]
mod info;
mod reply;
mod status;
#[cfg(feature = "http")]
pub(crate) mod wire;

#[cfg(all(feature = "process", unix))]
pub use self::handshake::{Handshake, MULTIPLEX};
pub use self::{
    call::Call,
    reply::Reply,
    status::{HealthStatus, PluginHealth, PluginStatus},
};
#[cfg(feature = "http")]
pub use self::{
    encoded::{Encoded, Format},
    info::PluginInfo,
};
