//! The day of the quickstart, with a stack that is written down.
//!
//! Three plugin servers, child processes of this very program, answer over HTTP. A steady load goes through the
//! plugin `tax` of a file while one of them slows down, one is killed and comes back, one fails fast, one is
//! drained and removed, and a new one joins. No call fails.
//!
//! ```text
//! cargo run --release --features yaml --example plugins
//! cargo run --release --features yaml --example plugins -- --config plugins.yaml --rate 500 --seconds 10
//! ```

#[path = "../quickstart/day.rs"]
mod day;
#[path = "../quickstart/load.rs"]
mod load;
#[path = "../quickstart/options.rs"]
mod options;
#[path = "../quickstart/plugin.rs"]
mod plugin;
#[path = "../quickstart/report.rs"]
mod report;
mod stack;
#[path = "../quickstart/tax.rs"]
mod tax;

use std::path::PathBuf;

/// Where the stack is written down, if no other file is given: a plugin `tax`.
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/plugins/plugins.yaml");

fn main() -> std::process::ExitCode {
    options::main("plugins", "[--config FILE] ", |args| {
        let path = match args.iter().position(|arg| arg == "--config") {
            None => PathBuf::from(CONFIG),
            Some(at) if at + 1 < args.len() => {
                PathBuf::from(args.drain(at..at + 2).nth(1).unwrap_or_default())
            }
            Some(_) => return Err("--config takes a file".to_owned()),
        };
        stack::read(&path)
    })
}
