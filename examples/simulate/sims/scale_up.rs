//! Servers remember keys, and what they do not know takes ten times as long: then a fleet is scaled up, and down.

use std::time::Duration;

use super::{Chart, Figures, Limit, Run, Simulation};
use crate::{
    cache::Cache,
    policy::{AT_ONCE, BY_CACHED_KEY, WARM},
    scenario::{Change, Condition, Scenario, Work, Zipf},
    trace::{Trace, quantile},
};

/// Before, nothing that a server learns takes time: all would begin with nothing.
const FILLED_AT: f64 = 12.0;
const STEADY_FROM: f64 = 20.0;
const JOIN_AT: f64 = 40.0;
const JOIN_AGAIN_AT: f64 = 50.0;
const LEAVE_AT: f64 = 90.0;
const LENGTH: f64 = 105.0;
/// Over which the slowest batches are taken together.
const WINDOW: f64 = 5.0;

/// Batches a second of so many keys: 20,000 keys, which take 400 of the 700 workers of the first 20 servers if all are
/// known.
const RATE: f64 = 200.0;
const BATCH: usize = 100;
const HIT: Duration = Duration::from_millis(20);
const MISS: Duration = Duration::from_millis(200);
const WORKERS: f64 = 35.0;
/// The hottest key is in half of the batches, and the coldest is asked for every three seconds.
const KEYS: f64 = 24_000.0;
const EXPONENT: f64 = 0.6;
/// Keys that a server remembers, the last that it was asked for: a twentieth of all, and 3 % more. So those with more than
/// that have some to learn while nothing happens, about six in ten thousand, and at least one in the slowest batches: see
/// `misses_in_p99`.
const REMEMBERED: f64 = 1_236.0;

/// The scale is that of the workers of each server, and with them of the rate, the keys and the caches.
pub(super) fn simulation(scale: f64) -> Simulation {
    let scaled = |count: f64| (count * scale).round().max(2.0);
    let keys = scaled(KEYS).max(4.0 * BATCH as f64) as usize;
    let scenario = Scenario {
        servers: 30,
        changes: vec![
            Change::joins(JOIN_AT, 20..25),
            Change::joins(JOIN_AGAIN_AT, 25..30),
            Change::leaves(LEAVE_AT, 0..3),
        ],
        slow_start: Duration::ZERO,
        workers: Some(scaled(WORKERS) as usize),
        clients: 1,
        rate: RATE * scale,
        batch: BATCH,
        length: Duration::from_secs_f64(LENGTH),
        work: Work::Normal { mean: HIT, deviation: Duration::ZERO },
        keys: Some(Zipf { keys, exponent: EXPONENT }),
        cache: Some(Cache {
            keys: scaled(REMEMBERED) as usize,
            miss: MISS,
            filled_at: Duration::from_secs_f64(FILLED_AT),
        }),
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
