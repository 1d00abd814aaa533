//! A day in the life of an upstream, on real processes.
//!
//! Three plugin servers, child processes of this very program, answer over HTTP. A steady load
//! goes through the stack while one of them slows down, one is killed and comes back, one fails
//! fast, one is drained and removed, and a new one joins. No call fails.
//!
//! ```text
//! cargo run --release --features http --example quickstart
//! cargo run --release --features http --example quickstart -- --rate 500 --seconds 10 --json
//! ```

mod day;
mod load;
mod options;
mod plugin;
mod report;
mod stack;
mod tax;

fn main() -> std::process::ExitCode {
    options::main("quickstart", "", |_| Ok(()))
}
