//! Which policy is the best when something goes wrong: three simulations, through the real layers.

mod drive;
mod policy;
mod random;
mod report;
mod scenario;
mod sims;
mod trace;
mod world;

use tower_upstream::BoxError;

fn main() -> Result<(), BoxError> {
    let n: u8 = std::env::args().nth(1).unwrap().parse()?;
    let scale: f64 = std::env::args().nth(2).unwrap().parse()?;
    let simulation = sims::simulation(n, scale).unwrap();
    let mut report = report::Report::new(&simulation, 1, scale);
    for run in &simulation.runs {
        for policy in policy::POLICIES {
            let at = std::time::SystemTime::now();
            let trace = drive::run(&run.scenario, policy, 1)?;
            eprintln!("{} {:?}", policy.name, at.elapsed()?);
            report.add(&(simulation.figures)(&trace), run, policy, &trace);
        }
    }
    println!("{}", report.text());
    Ok(())
}
