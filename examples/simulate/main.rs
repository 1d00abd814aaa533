//! What a policy of choosing is worth when something goes wrong.
//!
//! Three simulations of a fleet of servers, each with every policy: ours, and those of tower's balancer.
//!
//! | | what happens |
//! |---|---|
//! | 1 | one of 11 servers takes twelve times as long, from 15 s to 45 s |
//! | 3 | one of 10 servers answers an error after 1 ms, from 10 s to 40 s |
//! | 4 | a 21st server joins at a fifth of the speed of the others, and is warm ten seconds later |
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

mod draw;
mod drive;
mod policy;
mod random;
mod report;
mod scenario;
mod sims;
mod trace;
mod world;

use std::{path::PathBuf, process::ExitCode};

use tower_upstream::BoxError;

use crate::{policy::POLICIES, report::Report, sims::Simulation};

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    sim: u8,
    seed: u64,
    scale: f64,
    json: bool,
    /// The folder of the figures.
    svg: Option<PathBuf>,
}

const USAGE: &str =
    "usage: simulate --sim 1|3|4 [--seed SEED] [--scale SCALE] [--json] [--svg FOLDER]
  --sim    1: a server goes slow; 3: a server fails fast; 4: a cold server joins
  --seed   default 1
  --scale  above 0, at most 1, for a small run; default 1
  --json   print one JSON object, and nothing else
  --svg    draw the figures there, as sim-1.svg";

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { sim: 0, seed: 1, scale: 1.0, json: false, svg: None };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} takes a value"));
            match &*arg {
                "--sim" => options.sim = number(&arg, &value()?)?,
                "--seed" => options.seed = number(&arg, &value()?)?,
                "--scale" => options.scale = number(&arg, &value()?)?,
                "--json" => options.json = true,
                "--svg" => options.svg = Some(value()?.into()),
                _ => return Err(format!("what is {arg}?")),
            }
        }
        if options.scale > 0.0 && options.scale <= 1.0 {
            return Ok(options);
        }
        Err("--scale takes a number above 0, at most 1".to_owned())
    }
}

fn number<T: std::str::FromStr>(arg: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{arg} {text}: not a number that it takes"))
}

fn main() -> ExitCode {
    let options = Options::parse(std::env::args().skip(1));
    let asked = options.and_then(|options| {
        let simulation = sims::simulation(options.sim, options.scale);
        Ok((simulation.ok_or("--sim takes 1, 3 or 4")?, options))
    });
    let (simulation, options) = match asked {
        Ok(asked) => asked,
        Err(mistake) => {
            eprintln!("{mistake}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&simulation, &options) {
        Ok(report) if options.json => println!("{}", report.json()),
        Ok(report) => println!("{report}"),
        Err(error) => {
            eprintln!("simulate: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run(simulation: &Simulation, options: &Options) -> Result<Report, BoxError> {
    let mut report = Report::new(simulation, options.seed, options.scale);
    for (number, run) in simulation.runs.iter().enumerate() {
        let mut traces = Vec::new();
        for policy in POLICIES {
            let trace = drive::run(&run.scenario, policy, options.seed)?;
            report.add(policy, &trace, (simulation.figures)(&trace), &run.limits);
            traces.push((policy.name, trace));
        }
        // The first run has the fewest clients, and so shows best what a policy does.
        if let Some(folder) = options.svg.as_ref().filter(|_| number == 0) {
            draw::draw(simulation, &traces, folder)?;
        }
    }
    Ok(report)
}
