//! Describes one instance of an upstream, as discovery reports it.
//!
//! # When to use
//! [`discover::fixed`](crate::discover::fixed) and the other sources make endpoints of addresses. Make an
//! [`Endpoint`] yourself to give it a key, a weight, a priority or tags, or in a source of your own.
//!
//! # Example
//! ```
//! use tower_upstream::{Endpoint, discover, endpoint::Status};
//!
//! let near = Endpoint::new("http://10.0.0.1:8080")?.with_weight(3);
//! let far = Endpoint::new("http://10.1.0.1:8080")?.with_priority(1).with_status(Status::Passing);
//! let endpoints = discover::fixed([near, far])?;
//! # let _ = endpoints;
//! # Ok::<(), tower_upstream::Error>(())
//! ```

mod address;
mod check;
mod endpoint;
mod locality;
mod parse;
mod status;
mod unix;

pub(crate) use self::endpoint::identities_of;
pub use self::{
    address::Address, check::EndpointCheck, endpoint::Endpoint, locality::Locality, status::Status,
};

#[cfg(feature = "http")]
pub(crate) use self::{
    address::without_user,
    unix::{HTTP_UNIX, socket_of, unix_url},
};
