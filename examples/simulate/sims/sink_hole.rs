//! One server fails fast: it looks like the best of all to whatever looks at latency or load alone.

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
        servers: 10,
        changes: Vec::new(),
        slow_start: Duration::ZERO,
        workers: None,
        clients,
        rate: 500.0 * scale,
        batch: 1,
        length: Duration::from_secs(90),
        work: Work::LogNormal { median: Duration::from_millis(50), sigma: 0.3 },
        keys: None,
        cache: None,
        condition: |_, server, at| {
            if server == 0 && (10.0..40.0).contains(&at.as_secs_f64()) {
                return Condition::FailsAfter(Duration::from_millis(1));
            }
            Condition::Speed(1.0)
        },
    };
    let one = Run {
        scenario: scenario(1),
        limits: vec![
            Limit::at_most("failed_per_client", 12.0),
            Limit::below("part_11_40s", 0.0005),
            Limit::at_least("share_45_50s", 0.8),
        ],
    };
    let many = Run {
        scenario: scenario((20.0 * scale).round().max(2.0) as usize),
        limits: vec![
            Limit::at_most("failed_per_client", 12.0),
            Limit::at_least("share_55_60s", 0.65),
        ],
    };
    Simulation {
        number: 3,
        title: "one server fails fast and comes back",
        judged: DEFAULT,
        policies: POLICIES,
        server: 0,
        runs: vec![one, many],
        figures,
        chart: Chart::Failed,
    }
}

fn figures(trace: &Trace) -> Figures {
    let failed = trace.failed(0.0..90.0) as f64;
    vec![
        ("failed", failed),
        ("failed_per_client", failed / trace.scenario.clients as f64),
        ("part_11_40s", trace.part_of(0, 11.0..40.0)),
        ("share_45_50s", trace.share_of(0, 45.0..50.0)),
        ("share_55_60s", trace.share_of(0, 55.0..60.0)),
        ("p999_ms", millis(&trace.latencies(0.0..90.0), 0.999)),
    ]
}
