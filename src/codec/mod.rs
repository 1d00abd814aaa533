//! Encodes the bodies of calls before a stack, and decodes those of replies after it.
//!
//! Guide: [what a plugin speaks](../_guide/wire/index.html).
//!
//! # When to use
//! Where plugins of several types share a stack: its endpoints, connections, breakers and failover. The stack
//! takes `Call<Encoded>`, and each type puts a [`CodecLayer`] of its own around a clone of it. What is sent
//! and received is the same as by a stack of that type. If all calls have one type, let the transport encode
//! them.
//!
//! # Example
//! ```
//! use tower::{Layer, ServiceBuilder};
//! use tower_upstream::{
//!     Attempts, BalanceLayer, CircuitBreakerLayer, FailoverLayer, LeastRequest, codec::CodecLayer,
//!     discover, plugin::Encoded, transport::HttpTransport,
//! };
//!
//! let shared = ServiceBuilder::new()
//!     .layer(FailoverLayer::new(Attempts::up_to(3)))
//!     .layer(BalanceLayer::new(discover::fixed(["http://10.0.0.1:8080"])?, LeastRequest::new()))
//!     .layer(CircuitBreakerLayer::default())
//!     .service(HttpTransport::<Encoded, Encoded>::new());
//!
//! let tax = CodecLayer::<u64, u64>::new().layer(shared.clone());
//! let names = CodecLayer::<String, Vec<String>>::new().layer(shared);
//! # let _ = (tax, names);
//! # Ok::<(), tower_upstream::Error>(())
//! ```

mod format;
mod layer;
mod service;

#[cfg(feature = "grpc")]
pub use self::format::Protobuf;
pub use self::{
    format::{Json, Reads, Writes},
    layer::CodecLayer,
    service::{Codec, Decode},
};
