//! Calls that wait for something of which there is not enough: in order, for a bounded time, and in
//! bounded number.
//!
//! One rule for tokens and for places. Those in line wait to be called, and the limit calls the first
//! whenever it can set aside what that one waits for: a place that came free, or the right to take
//! the next tokens. One that is dropped leaves the line, and one that is not polled has to leave when
//! its time is over; what was set aside for it goes to the next.

mod future;
mod line;
mod waiter;

#[cfg(all(test, upstream_loom))]
mod loom_models;

pub use self::future::WaitFuture;
pub(super) use self::{
    future::in_time,
    line::{Line, Turn},
    waiter::{Queue, Supply, Taken, Waiter},
};
