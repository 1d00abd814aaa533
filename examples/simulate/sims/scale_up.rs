//! Servers remember keys, and what they do not know takes ten times as long: then a fleet is scaled up, and down.

use std::time::Duration;

use super::{Chart, Figures, Limit, Run, Simulation};
use crate::{
    cache::Cache,
    policy::{AT_ONCE, BY_CACHED_KEY, WARM},
    scenario::{Change, Condition, Scenario, Work, Zipf},
    trace::{Trace, quantile},
};

const STEADY_FROM: f64 = 40.0;
const JOIN_AT: f64 = 70.0;
const JOIN_AGAIN_AT: f64 = 80.0;
const LEAVE_AT: f64 = 130.0;
const LENGTH: f64 = 160.0;
/// Over which the slowest batches are taken together.
const WINDOW: f64 = 5.0;

fn var(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

pub(super) fn simulation(scale: f64) -> Simulation {
    let scenario = Scenario {
        servers: 30,
        changes: vec![
            Change::joins(JOIN_AT, 20..25),
            Change::joins(JOIN_AGAIN_AT, 25..30),
            Change::leaves(LEAVE_AT, 0..3),
        ],
        slow_start: Duration::ZERO,
        workers: Some(var("W", 10.0) as usize),
        clients: 1,
        rate: var("R", 50.0) * scale,
        batch: 100,
        length: Duration::from_secs_f64(LENGTH),
        work: Work::Normal { mean: Duration::from_millis(20), deviation: Duration::ZERO },
        keys: Some(Zipf { keys: var("K", 100_000.0) as usize, exponent: var("Z", 0.9) }),
        cache: Some(Cache { keys: var("L", 4_000.0) as usize, miss: Duration::from_millis(200) }),
        condition: |_, _, _| Condition::Speed(1.0),
    };
    let limits = vec![
        Limit::at_most("worst_to_steady", 1.3),
        // At least one miss.
        Limit::at_least("misses_in_p99", 1.0),
        // Twice what it may be.
        Limit::of_at_least(AT_ONCE, "worst_to_steady", 2.6),
    ];
    Simulation {
        number: 7,
        title: "servers with caches join and leave",
        judged: WARM,
        policies: BY_CACHED_KEY,
        server: 20,
        runs: vec![Run { scenario, limits }],
        figures,
        chart: Chart::Batches,
    }
}

/// The 99th percentile of batches, in milliseconds.
fn p99(trace: &Trace, from: f64, to: f64) -> f64 {
    let took: Vec<_> = trace.batches(from..to).into_iter().map(|(took, _)| took).collect();
    quantile(&took, 0.99).as_secs_f64() * 1e3
}

/// The highest of the windows from one moment to another.
fn worst(trace: &Trace, from: f64, to: f64) -> f64 {
    let windows = (0..).map(|window| from + f64::from(window) * WINDOW);
    let windows = windows.take_while(|start| start + WINDOW <= to + 1e-9);
    windows.map(|start| p99(trace, start, start + WINDOW)).fold(0.0, f64::max)
}

fn figures(trace: &Trace) -> Figures {
    let steady = p99(trace, STEADY_FROM, JOIN_AT);
    let batches = trace.batches(STEADY_FROM..JOIN_AT);
    let in_p99 = batches.get((batches.len() as f64 * 0.99).ceil() as usize - 1);
    let missed = |from, to| trace.part(from..to, |done| done.missed);
    // Outside of one second after the servers have left.
    let (joined, left) = (worst(trace, JOIN_AT, LEAVE_AT), worst(trace, LEAVE_AT + 1.0, LENGTH));
    if std::env::var("VERBOSE").is_ok() {
        let mut at = STEADY_FROM;
        while at < LENGTH {
            eprint!("{:.0}:{:.0}/{:.3} ", at, p99(trace, at, at + 2.0), missed(at, at + 2.0));
            at += 2.0;
        }
        eprintln!();
    }
    vec![
        ("miss_rate", missed(STEADY_FROM, JOIN_AT)),
        ("misses_in_p99", in_p99.map_or(0, |&(_, missed)| missed) as f64),
        ("p99_ms", steady),
        ("p99_joined_ms", joined),
        ("p99_leaving_ms", p99(trace, LEAVE_AT, LEAVE_AT + 1.0)),
        ("p99_left_ms", left),
        ("worst_to_steady", joined.max(left) / steady),
    ]
}
