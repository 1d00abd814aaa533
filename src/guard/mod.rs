//! What the guards have in common.
//!
//! Guides: [extending](../_guide/extending/index.html), [the order of layers](../_guide/order/index.html).
//!
//! A guard is a layer that may say no: a health gate, a circuit breaker, a limit. All of them
//! answer with the same [`ResponseFuture`], that of the call or a refusal, but for limits that wait.

mod by_member;
mod family;
mod future;
mod pass;

pub use self::future::{Hold, ResponseFuture};
#[allow(unused_imports, reason = "taken up room by room")]
pub(crate) use self::{
    by_member::ByMember,
    family::{Configured, Family, Newest},
    pass::{Avoiding, Hedging, Later, Pass, Plain},
};
