//! The command line: which simulation, and what to print of it.

use std::{path::PathBuf, process::ExitCode};

use tower_upstream::BoxError;

use crate::{
    draw, drive,
    policy::Policy,
    report::Report,
    sims::{self, Simulation},
};

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
    "usage: simulate --sim 1|3|4|6|7 [--seed SEED] [--scale SCALE] [--json] [--svg FOLDER]
  --sim    1: a server goes slow; 3: a server fails fast; 4: a cold server joins;
           6: hot keys, and a server leaves; 7: servers with caches join and leave
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

/// Runs what is asked for, with each of the policies of the simulation, and with `others`.
pub(crate) fn main(others: &'static [Policy]) -> ExitCode {
    let options = Options::parse(std::env::args().skip(1));
    let asked = options.and_then(|options| {
        let simulation = sims::simulation(options.sim, options.scale);
        Ok((simulation.ok_or("--sim takes 1, 3, 4, 6 or 7")?, options))
    });
    let (simulation, options) = match asked {
        Ok(asked) => asked,
        Err(mistake) => {
            eprintln!("{mistake}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&simulation, others, &options) {
        Ok(report) if options.json => println!("{}", report.json()),
        Ok(report) => println!("{report}"),
        Err(error) => {
            eprintln!("simulate: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run(
    simulation: &Simulation,
    others: &'static [Policy],
    options: &Options,
) -> Result<Report, BoxError> {
    let mut report = Report::new(simulation, options.seed, options.scale);
    for (number, run) in simulation.runs.iter().enumerate() {
        let mut traces = Vec::new();
        for policy in simulation.policies.iter().chain(others) {
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
