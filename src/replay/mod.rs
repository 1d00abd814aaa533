//! What failing over may ask of a request.
//!
//! Guide: [errors of the compiler](../_guide/compiler/index.html).
//!
//! With the feature `http`, requests whose body is held in memory are copied as they are. One that
//! streams is sent once, unless a `ReplayBodyLayer` keeps what passes.

mod options;
mod policy;
mod repeatable;
mod request;

pub(crate) use self::options::{MAX_ATTEMPTS, MIN_LIMIT};
pub use self::{
    options::CallOptions,
    policy::{ByReplay, ReplayFn, ReplayPolicy},
    repeatable::{ByCopy, Repeatable},
    request::Replay,
};
