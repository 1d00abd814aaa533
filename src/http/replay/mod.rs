//! Requests that are sent more than once, though their body streams.

mod body;
mod kept;
mod layer;
mod request;

pub use self::{
    body::ReplayBody,
    layer::{ReplayBodies, ReplayBodyLayer},
    request::{Attempt, Deadline, Idempotent},
};
