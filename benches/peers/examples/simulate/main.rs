//! The simulations of tower-upstream's example `simulate`, with one more peer.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml --example simulate -- --sim 1
//! ```
//! The command line, the fleet, the figures and the policies, tower's among them, are those of the
//! example. Of the peers there are only those that look at load: tower-resilience's router and pingora
//! choose as `RoundRobin` and `Random` do, whatever happens to a server.

#[path = "../../../../examples/simulate/cache.rs"]
mod cache;
#[path = "../../../../examples/simulate/cli.rs"]
mod cli;
#[path = "../../../../examples/simulate/draw.rs"]
mod draw;
#[path = "../../../../examples/simulate/drive.rs"]
mod drive;
mod loadpace;
#[path = "../../../../examples/simulate/policy.rs"]
mod policy;
#[path = "../../../../examples/simulate/random.rs"]
mod random;
#[path = "../../../../examples/simulate/report.rs"]
mod report;
#[path = "../../../../examples/simulate/scenario.rs"]
mod scenario;
#[path = "../../../../examples/simulate/sims/mod.rs"]
mod sims;
#[path = "../../../../examples/simulate/trace.rs"]
mod trace;
#[path = "../../../../examples/simulate/world.rs"]
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(loadpace::POLICIES)
}
