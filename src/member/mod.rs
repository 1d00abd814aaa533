//! An endpoint in a running set: what discovery says of it, and what is known of it.
//!
//! Guides: [extending](../_guide/extending/index.html), [glossary](../_guide/glossary/index.html).
//!
//! A [`Member`] survives every rebuild of its set, so counts, verdicts and estimates are never lost to
//! an update. A connector gets the member that it connects for, a strategy reads its load, a guard bars
//! it with a [`Veto`] for a [`Reason`], and an admin page shows all of that.
//!
//! # When to use
//! Members come from a [`BalanceHandle`](crate::balance::BalanceHandle), or as the argument of
//! [`Connect::connect`](crate::connect::Connect::connect). Make one yourself, with [`Member::new`], in a
//! test or for a balancer of your own.
//!
//! # Example
//! ```
//! use tower_upstream::{Endpoint, member::{Member, Reason}};
//!
//! let member = Member::new("http://10.0.0.1:8080".parse::<Endpoint>()?);
//! let veto = member.veto(Reason::Disabled);
//! veto.raise();
//! assert_eq!(member.reasons().collect::<Vec<_>>(), [Reason::Disabled]);
//! drop(veto);
//! assert!(member.is_eligible());
//! # Ok::<(), tower_upstream::Error>(())
//! ```

mod busy;
mod ending;
mod ends;
mod failing;
mod flight;
mod judged;
mod latency;
mod load;
mod measure;
mod median;
mod member;
mod oldest;
mod operator;
mod peers;
mod reason;
mod score;
mod signal;
mod spent;
mod stats;
mod typical;
mod veto;
mod weight;
#[cfg(feature = "hash")]
mod work;

pub(crate) use self::{
    ending::{Ending, attempt_timed_out},
    flight::{Flight, OfMember},
    measure::Measure,
    peers::median_estimate,
    signal::Signal,
};
pub use self::{flight::InFlight, member::Member, reason::Reason, stats::MemberStats, veto::Veto};
