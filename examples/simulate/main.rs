//! What a policy of choosing is worth when something goes wrong.
//!
//! Five simulations of a fleet of servers, each with every policy: ours, and those of tower's balancer.
//!
//! | | what happens |
//! |---|---|
//! | 1 | one of 11 servers takes twelve times as long, from 15 s to 45 s |
//! | 3 | one of 10 servers answers an error after 1 ms, from 10 s to 40 s |
//! | 4 | a 21st server joins at a fifth of the speed of the others, and is warm ten seconds later |
//! | 6 | requests have keys, one in seven the same, and one of 20 servers leaves at 30 s |
//! | 7 | servers remember keys, a hundred of which are asked for at once; 5 join 20, 5 more 10 s later, and 3 leave |
//!
//! ```text
//! cargo run --release --all-features --example simulate -- --sim 1
//! cargo run --release --all-features --example simulate -- --sim 1 --seed 1 --json
//! cargo run --release --all-features --example simulate -- --sim 1 --svg out/
//! ```
//!
//! With `--json` it prints one object: the figures of each policy; the limits of our default and its
//! figures; and `pass`, which is `true` if it meets all of them. A share of 1 is what a server would get
//! if all got the same. The limits are those of the full scale; see each simulation for what `--scale`
//! makes smaller.
//!
//! # How it works
//! The requests go through the real layers: a balancer for each client, over servers that are plain tower
//! services. Nothing waits: the time is tokio's paused clock, which moves from one moment at which
//! something happens to the next. So 75 seconds of 1,000 requests each take a tenth of a second.
//!
//! # One seed, one result
//! All is in one thread. The requests (when each comes, from which client, and how long it takes) come
//! from one generator that nothing else draws from, so that each policy meets the same ones, and one more
//! policy changes none of the others. The balancers draw from generators of their own, with a seed for
//! each client. So what is printed is the same, byte for byte, for a seed: on one machine, since `ln` and
//! `cos` may differ in the last bit from one to another.

mod cache;
mod cli;
mod draw;
mod drive;
mod policy;
mod random;
mod report;
mod scenario;
mod sims;
mod trace;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(&[])
}
