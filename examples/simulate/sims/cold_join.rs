//! A server joins a busy fleet, and is slow until it is warm.

use std::time::Duration;

use super::{Chart, Figures, Limit, Run, Simulation, millis};
use crate::{
    policy::{DEFAULT, POLICIES},
    scenario::{Change, Condition, Scenario, Work},
    trace::Trace,
};

const JOINS_AT: f64 = 10.0;
const WARM_AT: f64 = 20.0;

/// The scale is that of the fleet: of the servers, the clients, and with them the rate.
pub(super) fn simulation(scale: f64) -> Simulation {
    let scaled = |count: f64| (count * scale).round().max(4.0);
    let servers = scaled(20.0);
    let scenario = Scenario {
        servers: servers as usize + 1,
        changes: vec![Change::joins(JOINS_AT, servers as usize..servers as usize + 1)],
        slow_start: Duration::from_secs_f64(WARM_AT - JOINS_AT),
        workers: Some(8),
        clients: scaled(100.0) as usize,
        rate: 4_000.0 * servers / 20.0,
        batch: 1,
        length: Duration::from_secs(30),
        work: Work::LogNormal { median: Duration::from_millis(20), sigma: 0.25 },
        keys: None,
        cache: None,
        condition: |scenario, server, at| {
            let warm = (at.as_secs_f64() - JOINS_AT) / (WARM_AT - JOINS_AT);
            let joined = server + 1 == scenario.servers;
            Condition::Speed(if joined { (0.2 + 0.8 * warm).clamp(0.2, 1.0) } else { 1.0 })
        },
    };
    let server = scenario.servers - 1;
    let limits = vec![
        Limit::at_most("p999_10_25s_ms", 60.0),
        // Of a warm server, clients that know nothing of each other make this 9 to 13 in any second, by chance.
        Limit::at_most("most_in_flight_while_cold", 8.0),
        Limit::at_most("share_first_second", 0.3),
        Limit::at_least("share_25_30s", 0.9),
    ];
    Simulation {
        number: 4,
        title: "a cold server joins",
        judged: DEFAULT,
        policies: POLICIES,
        server,
        runs: vec![Run { scenario, limits }],
        figures,
        chart: Chart::InFlight,
    }
}

fn figures(trace: &Trace) -> Figures {
    let joiner = trace.scenario.servers - 1;
    let most = |server, window| trace.most_in_flight(server, window) as f64;
    vec![
        ("p999_5_10s_ms", millis(&trace.latencies(5.0..JOINS_AT), 0.999)),
        ("p999_10_25s_ms", millis(&trace.latencies(JOINS_AT..25.0), 0.999)),
        ("most_in_flight_while_cold", most(joiner, JOINS_AT..WARM_AT)),
        ("most_in_flight_once_warm", most(joiner, WARM_AT..25.0)),
        ("most_in_flight_on_another", most(0, WARM_AT..25.0)),
        ("share_first_250ms", trace.share_of(joiner, JOINS_AT..JOINS_AT + 0.25)),
        ("share_first_second", trace.share_of(joiner, JOINS_AT..JOINS_AT + 1.0)),
        ("share_25_30s", trace.share_of(joiner, 25.0..30.0)),
    ]
}
