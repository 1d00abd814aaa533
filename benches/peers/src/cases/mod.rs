//! What is compared.

mod balance;
mod breaker;
mod hashing;
mod limit;
mod retry;
mod stack;

use std::{num::NonZeroU32, time::Duration};

use crate::harness::Workload;

pub(crate) fn all() -> Vec<Workload> {
    let choosing = [balance::all(), hashing::all()];
    let groups = [breaker::all(), limit::all(), retry::all(), stack::all()];
    choosing.into_iter().chain(groups).flatten().collect()
}

const DAY: Duration = Duration::from_secs(86_400);

/// Of calls a second: more than any loop makes.
const PLENTY: u32 = 1_000_000_000;

/// A quota of governor, with all of it at once.
fn governor_plenty() -> governor::Quota {
    governor::Quota::per_second(NonZeroU32::new(PLENTY).expect("not zero"))
}

/// The first call, and then no more.
fn governor_once() -> governor::Quota {
    governor::Quota::with_period(DAY).expect("a quota")
}
