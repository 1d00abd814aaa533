//! One server goes slow and comes back, as in Buoyant's "Beyond Round Robin" (2016), and then the half that
//! is missing there: whether it gets its share again.

use std::time::Duration;

use super::{Chart, Figures, Limit, Run, Simulation, millis};
use crate::{
    policy::{DEFAULT, POLICIES},
    scenario::{Condition, Scenario, Work},
    trace::Trace,
};

/// The scale is that of the rate, and of the clients where there are many.
pub(super) fn simulation(scale: f64) -> Simulation {
    let scenario = |clients| Scenario {
        servers: 11,
        changes: Vec::new(),
        slow_start: Duration::ZERO,
        workers: None,
        clients,
        rate: 1_000.0 * scale,
        batch: 1,
        length: Duration::from_secs(75),
        work: Work::Normal {
            mean: Duration::from_millis(167),
            deviation: Duration::from_millis(5),
        },
        keys: None,
        cache: None,
        condition: |_, server, at| {
            let is_slow = server == 0 && (15.0..45.0).contains(&at.as_secs_f64());
            Condition::Speed(if is_slow { 1.0 / 12.0 } else { 1.0 })
        },
    };
    let one = Run {
        scenario: scenario(1),
        limits: vec![
            Limit::at_least("done_within_1s", 0.9992),
            Limit::at_most("p999_ms", 190.0),
            Limit::below("share_20_45s", 0.05),
            Limit::at_least("share_50_55s", 0.9),
        ],
    };
    let many = Run {
        scenario: scenario((20.0 * scale).round().max(2.0) as usize),
        limits: vec![
            Limit::at_least("done_within_1s", 0.9988),
            Limit::at_least("share_50_55s", 0.4),
            Limit::at_least("share_70_75s", 0.9),
        ],
    };
    Simulation {
        number: 1,
        title: "one server goes slow and comes back",
        judged: DEFAULT,
        policies: POLICIES,
        server: 0,
        runs: vec![one, many],
        figures,
        chart: Chart::Latency,
    }
}

/// Latencies over the first minute, as the original has it.
fn figures(trace: &Trace) -> Figures {
    let latencies = trace.latencies(0.0..60.0);
    vec![
        ("done_within_1s", trace.done_within(Duration::from_secs(1), 0.0..60.0)),
        ("p50_ms", millis(&latencies, 0.5)),
        ("p99_ms", millis(&latencies, 0.99)),
        ("p999_ms", millis(&latencies, 0.999)),
        ("max_ms", millis(&latencies, 1.0)),
        ("share_20_45s", trace.share_of(0, 20.0..45.0)),
        ("share_50_55s", trace.share_of(0, 50.0..55.0)),
        ("share_60_65s", trace.share_of(0, 60.0..65.0)),
        ("share_70_75s", trace.share_of(0, 70.0..75.0)),
    ]
}
