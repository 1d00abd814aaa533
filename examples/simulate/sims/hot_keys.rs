//! Requests have keys, a few of which are hot, and then a server leaves.

use std::time::Duration;

use tower_upstream::rules::hash::{BoundedLoad, Maglev, ProbeOrder, xxh64};

use super::{Chart, Figures, Limit, Run, Simulation, millis};
use crate::{
    policy::{BY_KEY, HASH_DEFAULT, TWO_CHOICES, endpoint},
    scenario::{Change, Condition, Scenario, Work, Zipf},
    trace::Trace,
};

const SERVERS: usize = 20;
const LEAVES_AT: f64 = 30.0;
const KEYS: usize = 10_000;

/// The scale is that of the fleet: of the workers of each server, and with them the rate.
pub(super) fn simulation(scale: f64) -> Simulation {
    let workers = (10.0 * scale).round().max(2.0);
    let scenario = Scenario {
        servers: SERVERS,
        changes: vec![Change::leaves(LEAVES_AT, SERVERS - 1..SERVERS)],
        slow_start: Duration::ZERO,
        workers: Some(workers as usize),
        clients: 1,
        rate: 200.0 * workers,
        batch: 1,
        length: Duration::from_secs(40),
        work: Work::Exponential { mean: Duration::from_millis(50) },
        // The hottest key is 15 % of the requests, three times what a server gets.
        keys: Some(Zipf { keys: KEYS, exponent: 1.1 }),
        cache: None,
        condition: |_, _, _| Condition::Speed(1.0),
    };
    let limits = vec![
        Limit::at_least("affinity", 0.7),
        Limit::at_most("worst_to_mean", 1.9),
        Limit::at_most_of("p99_ms", 1.05, TWO_CHOICES),
        Limit::at_most("moved_others", 0.006),
        Limit::at_least("same_spill", 0.99),
    ];
    Simulation {
        number: 6,
        title: "hot keys, and a server leaves",
        judged: HASH_DEFAULT,
        policies: BY_KEY,
        server: SERVERS - 1,
        runs: vec![Run { scenario, limits }],
        figures,
        chart: Chart::Latency,
    }
}

/// Of the requests that went on while the server that their key goes on to first had room, the part that went there;
/// room by the bound of our default. `homes` are the servers of all keys.
fn same_spill(trace: &Trace, homes: &[Option<usize>]) -> f64 {
    let bound = BoundedLoad::default();
    let second = |(key, home): (u64, &Option<usize>)| {
        ProbeOrder::new(hash(key), SERVERS).find(|server| Some(*server) != *home)
    };
    let seconds: Vec<_> = (0..).zip(homes).map(second).collect();
    let (mut same, mut all) = (0_u32, 0_u32);
    trace.with_loads(|done, server, loads| {
        let (home, second) = (homes[done.key as usize], seconds[done.key as usize]);
        if done.sent.as_secs_f64() >= LEAVES_AT || home == Some(server) {
            return;
        }
        let active = loads.iter().map(|load| u64::from(*load)).sum();
        let has_room = |of: usize| loads[of] <= bound.slots(active, 1.0 / SERVERS as f64);
        if second.is_some_and(has_room) {
            all += 1;
            same += u32::from(second == Some(server));
        }
    });
    f64::from(same) / f64::from(all.max(1))
}

fn hash(key: u64) -> u64 {
    xxh64(&key.to_ne_bytes(), 0)
}

/// Where each key is at home, with so many servers.
fn homes(servers: usize) -> Vec<Option<usize>> {
    let hosts: Vec<_> = (0..servers)
        .filter_map(|server| Some((endpoint(server).ok()?.address().authority().to_owned(), 1)))
        .collect();
    let table = Maglev::new(&hosts);
    (0..KEYS as u64).map(|key| table.get(hash(key))).collect()
}

fn figures(trace: &Trace) -> Figures {
    let (before, after) = (homes(SERVERS), homes(SERVERS - 1));
    let at_home = |homes: &[Option<usize>], window| {
        trace.part(window, |done| done.server.is_some() && done.server == homes[done.key as usize])
    };
    let stay = before.iter().filter(|home| **home != Some(SERVERS - 1)).count();
    let stays = |(before, after): (&Option<usize>, &Option<usize>)| before == after;
    let kept = before.iter().zip(&after).filter(|homes| stays(*homes)).count();
    vec![
        ("affinity", at_home(&before, 0.0..LEAVES_AT)),
        ("affinity_after", at_home(&after, LEAVES_AT..40.0)),
        ("worst_to_mean", trace.worst_to_mean(0.0..LEAVES_AT)),
        ("p99_ms", millis(&trace.latencies(0.0..LEAVES_AT), 0.99)),
        ("p99_after_ms", millis(&trace.latencies(LEAVES_AT..40.0), 0.99)),
        ("same_spill", same_spill(trace, &before)),
        ("moved_others", (stay - kept) as f64 / KEYS as f64),
    ]
}
