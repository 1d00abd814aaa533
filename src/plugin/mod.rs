//! Calls to plugins, their answers, and what plugins report about themselves.
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
    doc = "| [`Secret`] | a token that is never shown |",
    doc = "",
    doc = "[`HttpTransport`](crate::transport::HttpTransport) and",
    doc = "[`SocketTransport`](crate::transport::SocketTransport) send calls, and",
    doc = "[`serve`](crate::serve) answers them."
)]
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

mod call;
#[cfg(feature = "http")]
mod encoded;
#[cfg(feature = "http")]
mod info;
mod reply;
#[cfg(feature = "http")]
mod secret;
mod status;
#[cfg(feature = "http")]
pub(crate) mod wire;

pub use self::{
    call::Call,
    reply::Reply,
    status::{HealthStatus, PluginHealth, PluginStatus},
};
#[cfg(feature = "http")]
pub use self::{
    encoded::{Encoded, Format},
    info::PluginInfo,
    secret::Secret,
};
