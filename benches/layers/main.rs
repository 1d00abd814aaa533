//! What each layer costs: time, allocations and instructions per call, and calls per second where
//! two threads share one.
//!
//! ```text
//! cargo bench                                   all of it, about a minute
//! cargo bench -- balance                        the cases whose name contains "balance"
//! cargo bench -- --instructions                 also counts instructions, if valgrind is there
//! cargo bench -- --json                         a JSON object per line
//! ```
//! Never with the feature `test-util`: it makes the crate read a slower clock.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a benchmark that is set up wrongly shall stop"
)]

mod cases;
mod crowds;
mod floors;
mod harness;
mod services;

fn main() {
    harness::run(&cases::all(), &crowds::all());
}
