//! Sessions: calls that belong together, and go to the same endpoint.
//!
//! # When to use
//! If an endpoint keeps what it learned from one call for the next of the same session, and nothing else has it:
//! uploads in parts, games, carts in memory. Sessions make the load uneven, and end with their endpoint; where it
//! is only a cache that is lost, `balance::ConsistentHash` (feature `hash`) remembers nothing and does as well.
//!
//! | what tells sessions apart | where it is kept | survives a restart |
//! |---|---|---|
//! | a cookie, `http::SessionCookieLayer` (feature `sticky`) | at the client | yes |
//! | a key of the request: [`SessionTable`] | in a table of this process | no |
//!
//! Both are given to [`Sticky`](crate::balance::Sticky), which chooses as another strategy does where a call has no
//! session yet. Each group of endpoints needs a table of its own, or a cookie with a name or path of its own.
//!
//! # How it works
//! A session belongs to the endpoint that first answered a call of it. Calls go there while that endpoint may get
//! calls, whatever its priority and its load. If it is gone, unhealthy, ejected or switched off, if its circuit is
//! open or its weight 0, or if the call has tried it already, the strategy chooses anew, and the session moves to the endpoint that
//! answers, and stays there; the event is [`SessionMoved`](crate::telemetry::EventKind::SessionMoved). An endpoint
//! that drains keeps its sessions for [`drain_timeout`](crate::balance::Sticky::with_drain_timeout), whatever its
//! weight, also where no other is left, and gets no new ones.
//!
//! An answer that [counts](crate::outcome) as a failure is none here: no session begins with it, and none moves. Put a
//! [`FailoverLayer`](crate::FailoverLayer) above, by which a session moves with the first call that fails; without one,
//! it stays until its endpoint is ejected or its circuit opens. Of several calls at once, the first answer decides in
//! a [`SessionTable`], and the last one at a browser.
//!
//! While the endpoint of a session is not ready, a call waits for it alone for half of
//! [`fail_fast_after`](crate::balance::BalanceConfig::fail_fast_after), and then for others as well. A balancer that
//! keeps sessions hedges no calls.
//!
//! # Example
//! See [`Sticky`](crate::balance::Sticky).

mod lru;
mod sessions;
mod table;

pub use self::{
    sessions::{Binding, Home, Homes, Sessions},
    table::SessionTable,
};
