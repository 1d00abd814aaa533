//! The connections to one endpoint, whatever they speak: how many may be open, which are used again,
//! and whose turn it is.
//!
//! ```text
//!              take                      an idle connection, or a place in the line
//!   call ────────────► Pool ◄──────────  dialled: to the first in the line, or idle
//!     ▲                 │ ▲
//!     └── Lease ◄───────┘ └────────────  given back: to the first in the line, or idle
//! ```
//!
//! A connection is made for the line, not for the caller that began to make it: whichever is there
//! first, a new one or one that comes back, goes to the first that waits. So as many are being made as
//! callers wait, and no more than there are places; or one alone, where it may carry all their calls.
//!
//! What a caller got stays its own until it is polled or drops, as with a semaphore. One that was woken
//! and is not polled gets nothing while others wait that are.
//!
//! `ledger` has the rules, as arithmetic: it reads no clock and wakes no task. hyper-util's `client::pool`
//! and `client::legacy` count idle connections only, so neither can hold a bound on those that are open.

mod after;
mod deaths;
mod kept;
mod ledger;
#[cfg(test)]
mod ledger_tests;
mod limits;
#[cfg(test)]
mod model;
mod pool;
mod waiting;

pub(crate) use self::{
    kept::Pooled,
    limits::{Limits, unless_zero},
    pool::{Dialing, Lease, Place, Pool},
    waiting::Waiting,
};
