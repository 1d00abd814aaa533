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
#[path = "../quickstart/plugin.rs"]
mod plugin;
#[path = "../quickstart/report.rs"]
mod report;
mod stack;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use tower_upstream::BoxError;

/// What the command line asks for.
#[derive(Debug, Clone)]
struct Options {
    /// Calls a second.
    rate: u32,
    seconds: u32,
    json: bool,
}

const USAGE: &str =
    "usage: plugins [--config FILE] [--rate CALLS_PER_SECOND] [--seconds SECONDS] [--json]
  --config   a file with a plugin `tax`; default examples/plugins/plugins.yaml
  --rate     default 2000
  --seconds  default 20
  --json     print one JSON object at the end, and nothing else";

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<(Self, PathBuf), String> {
        let mut options = Self { rate: 2_000, seconds: 20, json: false };
        let mut config =
            PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/plugins/plugins.yaml"));
        while let Some(arg) = args.next() {
            if arg == "--json" {
                options.json = true;
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{arg} takes a value"))?;
            let number =
                || value.parse::<u32>().map_err(|_| format!("{arg} {value}: not a number"));
            match &*arg {
                "--config" => config = value.into(),
                "--rate" => options.rate = number()?.max(1),
                "--seconds" => options.seconds = number()?.max(5),
                _ => return Err(format!("what is {arg}?")),
            }
        }
        Ok((options, config))
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
        let read = Options::parse(args).map_err(|problem| format!("{problem}\n{USAGE}"));
        match read.and_then(|(options, path)| stack::read(&path).map(|()| options)) {
            Ok(options) => run(day::live(options)),
            Err(problem) => {
                eprintln!("{problem}");
                return ExitCode::from(2);
            }
        }
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("plugins: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(main: impl Future<Output = Result<ExitCode, BoxError>>) -> Result<ExitCode, BoxError> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(main)
}
