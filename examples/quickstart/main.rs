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
mod plugin;
mod report;
mod stack;

use std::{process::ExitCode, time::Duration};

use tower_upstream::BoxError;

/// What the command line asks for.
#[derive(Debug, Clone)]
struct Options {
    /// Calls a second.
    rate: u32,
    seconds: u32,
    json: bool,
}

const USAGE: &str = "usage: quickstart [--rate CALLS_PER_SECOND] [--seconds SECONDS] [--json]
  --rate     1 to 9000; default 2000 (the quota of the stack is 10,000 a second)
  --seconds  5 to 3600; default 20
  --json     print one JSON object at the end, and nothing else";

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { rate: 2_000, seconds: 20, json: false };
        while let Some(arg) = args.next() {
            let mut number = |range: std::ops::RangeInclusive<u32>| {
                let text = args.next().ok_or_else(|| format!("{arg} takes a number"))?;
                let number = text.parse().map_err(|_| format!("{arg} {text}: not a number"))?;
                match range.contains(&number) {
                    true => Ok(number),
                    false => Err(format!("{arg} takes {} to {}", range.start(), range.end())),
                }
            };
            match &*arg {
                "--rate" => options.rate = number(1..=9_000)?,
                "--seconds" => options.seconds = number(5..=3_600)?,
                "--json" => options.json = true,
                _ => return Err(format!("what is {arg}?")),
            }
        }
        Ok(options)
    }

    fn length(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).peekable();
    let result = if args.next_if(|arg| arg == "plugin").is_some() {
        run(plugin::serve(args))
    } else {
        match Options::parse(args) {
            Ok(options) => run(day::live(options)),
            Err(problem) => {
                eprintln!("{problem}\n{USAGE}");
                return ExitCode::from(2);
            }
        }
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(main: impl Future<Output = Result<ExitCode, BoxError>>) -> Result<ExitCode, BoxError> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(main)
}
