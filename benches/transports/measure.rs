//! Rounds of contenders in turn.

use std::{
    fs,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{runtime, task::LocalSet};

use crate::{
    allocations,
    client::{Caller, echoed},
};

const ROUNDS: usize = 31;
const ROUND: Duration = Duration::from_millis(100);

pub(crate) struct Row {
    pub(crate) transport: &'static str,
    pub(crate) callers: usize,
    pub(crate) costs: [Costs; 3],
}

/// Of one call, in microseconds where it is a time.
pub(crate) struct Costs {
    pub(crate) client: &'static str,
    pub(crate) calls_per_second: f64,
    pub(crate) cpu: f64,
    /// What it costs over bare, in percent.
    pub(crate) over: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) allocations: f64,
}

struct Round {
    calls_per_second: f64,
    cpu: f64,
    p50: f64,
    p99: f64,
    allocations: f64,
}

/// `contenders` are bare, ours, and bare again.
pub(crate) fn rows<const N: usize>(
    transport: &'static str,
    callers: [usize; N],
    contenders: impl Fn() -> [Caller; 3],
) -> [Row; N] {
    callers.map(|callers| {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let contenders = contenders().map(Rc::new);
        let mut rounds = [const { Vec::new() }; 3];
        for number in 0..=ROUNDS {
            for turn in 0..3 {
                let of = (number + turn) % 3;
                rounds[of].push(round(&runtime, callers, &contenders[of]));
            }
        }
        // The first is the one that connects.
        for rounds in &mut rounds {
            rounds.remove(0);
        }
        let costs = |client, of: usize| costs(client, &rounds[of], &rounds[0]);
        Row {
            transport,
            callers,
            costs: [costs("bare", 0), costs("ours", 1), costs("bare again", 2)],
        }
    })
}

fn costs(client: &'static str, rounds: &[Round], bare: &[Round]) -> Costs {
    let of = |get: fn(&Round) -> f64| median(rounds.iter().map(get).collect());
    let beside = rounds.iter().zip(bare).map(|(round, bare)| (round.cpu / bare.cpu - 1.0) * 100.0);
    Costs {
        client,
        calls_per_second: of(|round| round.calls_per_second),
        cpu: of(|round| round.cpu),
        over: median(beside.collect()),
        p50: of(|round| round.p50),
        p99: of(|round| round.p99),
        allocations: of(|round| round.allocations),
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// `callers` tasks call in turn, for the time of a round.
fn round(runtime: &runtime::Runtime, callers: usize, call: &Rc<Caller>) -> Round {
    LocalSet::new().block_on(runtime, async {
        let (begun, before, allocated) = (Instant::now(), cpu_nanos(), allocations::count());
        let ends = begun + ROUND;
        let tasks = (0..callers).map(|_| async {
            let mut latencies = Vec::with_capacity(1 << 14);
            loop {
                let start = Instant::now();
                if start >= ends {
                    return latencies;
                }
                assert_eq!(call().await, echoed().len());
                latencies.push(start.elapsed().as_nanos() as f64 / 1e3);
            }
        });
        let mut latencies = futures::future::join_all(tasks).await.concat();
        let (cpu, took) = (cpu_nanos() - before, begun.elapsed());
        let allocated = allocations::count() - allocated;
        latencies.sort_by(f64::total_cmp);
        let calls = latencies.len();
        Round {
            calls_per_second: calls as f64 / took.as_secs_f64(),
            cpu: cpu as f64 / 1e3 / calls as f64,
            p50: latencies[calls / 2],
            p99: latencies[calls * 99 / 100],
            // Of the loop itself: the text that is compared, and the box of the call.
            allocations: allocated as f64 / calls as f64 - 2.0,
        }
    })
}

/// The CPU time of this thread.
fn cpu_nanos() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("a number")
}
