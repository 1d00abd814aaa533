//! What each layer costs: time, allocations and instructions per call, and calls per second where
//! two threads share one.
//!
//! ```text
//! cargo bench                                   all of it, in about half a minute
//! cargo bench -- balance                        the cases whose name contains "balance"
//! cargo bench -- --instructions                 also counts instructions, if valgrind is there
//! cargo bench -- --json                         a JSON object per line
//! cargo bench --features config -- plugins      plugins by name
//! cargo bench --features hash -- hash           by a key
//! cargo bench --features hash -- rebuild        how long its tables and rings take to make
//! ```
//! A line that begins with "floor" is a lower bound, written by hand: what the layer below it cannot
//! do without. Compare with it rather than with the times of another machine, since atomics may
//! cost three times as much there; `!` marks what takes longer than it may on the one that the
//! bounds were set for (2 vCPUs of an AMD EPYC, 2.2 ns for an atomic addition).
//!
//! Never with the feature `test-util`: it makes the crate read a slower clock.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that is set up wrongly shall stop"
)]
#![allow(clippy::disallowed_types, reason = "what is measured is real time")]

mod cases;
mod crowds;
mod floors;
mod harness;
#[cfg(feature = "hash")]
mod hashing;
#[cfg(feature = "config")]
mod plugins;
mod services;

fn main() {
    #[allow(unused_mut, reason = "without `config` there is nothing to add")]
    let (mut cases, mut crowds) = (cases::all(), crowds::all());
    #[cfg(feature = "config")]
    {
        cases.extend(plugins::cases());
        crowds.extend(plugins::crowds());
    }
    harness::run(&cases, &crowds);
    #[cfg(feature = "hash")]
    hashing::rebuilds();
}
