//! What the guards have in common.
//!
//! A guard is a layer that may say no: a health gate, a circuit breaker, a limit. All of them answer
//! with the same [`ResponseFuture`]: that of the call, or a refusal.

mod by_member;
#[allow(dead_code, reason = "taken up room by room")]
mod family;
mod future;
#[cfg(feature = "http")]
mod held_body;
#[allow(dead_code, reason = "taken up room by room")]
mod pass;
#[cfg(feature = "http")]
mod slot;
#[cfg(feature = "http")]
mod upgrade;

pub use self::future::{Hold, ResponseFuture};
#[cfg(feature = "http")]
pub use self::{held_body::HeldBody, slot::ConnectionSlot};
#[allow(unused_imports, reason = "taken up room by room")]
pub(crate) use self::{
    by_member::ByMember,
    family::{Configured, Family, Newest},
    pass::{Avoiding, Later, Pass, Plain},
};
#[cfg(feature = "http")]
pub(crate) use self::{
    held_body::hold,
    slot::Moment,
    upgrade::{hold_with_connection, is_upgrade},
};
