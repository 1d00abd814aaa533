//! The `RateLimit` and `RateLimit-Policy` fields (draft-ietf-httpapi-ratelimit-headers), read and
//! written.

mod read;
mod write;

use http::HeaderName;

pub(crate) use self::{
    read::exhausted_for,
    write::{Policy, bare, write},
};

/// What is left, of each policy.
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The policies themselves.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
