//! What the command line asks for, and how the program begins and ends.

use std::{process::ExitCode, time::Duration};

use tower_upstream::BoxError;

use crate::{day, plugin};

#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Calls a second.
    pub(crate) rate: u32,
    pub(crate) seconds: u32,
    pub(crate) json: bool,
}

pub(crate) const USAGE: &str = "[--rate CALLS_PER_SECOND] [--seconds SECONDS] [--json]
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

    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

/// Lives the day, or is one of its plugins. `first` reads what is the program's own out of the arguments, and
/// says what is wrong with it.
pub(crate) fn main(
    name: &str,
    usage: &str,
    first: impl FnOnce(&mut Vec<String>) -> Result<(), String>,
) -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let result = if args.first().is_some_and(|arg| arg == "plugin") {
        run(plugin::serve(args.into_iter().skip(1)))
    } else {
        match first(&mut args).and_then(|()| Options::parse(args.into_iter())) {
            Ok(options) => run(day::live(options)),
            Err(problem) => {
                eprintln!("{problem}\nusage: {name} {usage}{USAGE}");
                return ExitCode::from(2);
            }
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("{name}: {error}");
        ExitCode::FAILURE
    })
}

fn run(main: impl Future<Output = Result<ExitCode, BoxError>>) -> Result<ExitCode, BoxError> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(main)
}
