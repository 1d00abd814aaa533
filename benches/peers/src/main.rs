//! What the peers and we cost for the same work: time and allocations per call, and calls per
//! second where 64 tasks on two threads share one.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml                 all of it
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- limit        some workloads
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --quick      less exact
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --json       JSON
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- --instructions
//!                                       also counts instructions, if valgrind is there
//! ```
//! With `--features pingora` before the `--`, pingora is compared as well.
//!
//! With `--json`, each line is an object of one of four kinds:
//!
//! - One task: `workload`, `contender`, `role` (`bare`, `floor`, `peer` or `ours`), `ns` (processor
//!   time per call, median), `ns_min`, `ns_over_bare` (without the loop and the inner service),
//!   `spread` (between the quartiles, over the median), `allocs` and `instructions` (per call),
//!   and `records` (calls that it remembers in the round in the middle, for those who get slower
//!   by remembering).
//! - Many tasks: `workload`, `contender`, `role`, `tasks`, `workers`, `mops` (million calls a
//!   second, median), `spread`, `cpus` (that we used), `quiet` (whether others let us have them),
//!   `hung` (tasks that were never woken again, in all rounds) and `records`.
//! - In the end, for each workload and number of `tasks`: `summary` (the workload), `ours`,
//!   `best_peer`, `ratio` (above 1 where ours is faster) and `verdict` (`ahead`, `parity` within
//!   5 %, `behind`, or `missing` where ours cannot do it).
//! - Last, `others_cpus`: how many processors others used in the meantime.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that is set up wrongly shall stop"
)]
#![allow(clippy::disallowed_types, reason = "what is measured is real time")]

mod adapters;
mod cases;
#[path = "../../layers/floors.rs"]
#[allow(dead_code, reason = "not all floors are of use here")]
mod floors;
mod harness;
mod inner;
mod ketama;
#[cfg(feature = "pingora")]
mod pingora;
mod traffic;

fn main() {
    harness::run(cases::all());
}
