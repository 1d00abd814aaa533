//! Many tasks on two threads, on clones of one stack.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{runtime, task};
use tower::Service;

use super::{
    Contender, Options, Role, Row, Workload,
    alone::{RECORDS, call, in_ten_seconds, open},
    clock::{Usage, Used},
    report::{Figures, Together},
};
use crate::traffic::Traffic;

pub(super) const WORKERS: usize = 2;
pub(super) const TASKS: u64 = 64;

/// Calls between two looks at whether the time is over; and between two yields.
const LOOK: u64 = 100;
const YIELD: u64 = 1_000;

/// Each task begins elsewhere in the traffic.
const STRIDE: u64 = 1_500;

/// A stack that many tasks call.
pub(super) trait Sampler {
    /// Calls for so long; answers how many calls there were, and in what time. Panics if a call
    /// comes to something else than it must.
    fn sample(&mut self, time: Duration) -> (u64, Duration);

    /// Makes so many calls.
    fn fill(&mut self, calls: u64);
}

struct Shared<T, S> {
    runtime: runtime::Runtime,
    traffic: T,
    service: S,
}

pub(super) fn prepare<T, S>(traffic: T, build: &impl Fn() -> S) -> Box<dyn Sampler>
where
    T: Traffic,
    S: Service<T::Request, Response = T::Response, Future: Send> + Clone + Send + 'static,
{
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_time()
        .build()
        .expect("a runtime");
    let mut service = {
        let _context = runtime.enter();
        build()
    };
    runtime.block_on(open(&mut service, traffic));
    Box::new(Shared { runtime, traffic, service })
}

impl<T, S> Sampler for Shared<T, S>
where
    T: Traffic,
    S: Service<T::Request, Response = T::Response, Future: Send> + Clone + Send + 'static,
{
    fn sample(&mut self, time: Duration) -> (u64, Duration) {
        let over = Arc::new(AtomicBool::new(false));
        let traffic = self.traffic;
        let spawn = |task: u64| {
            let (over, service) = (over.clone(), self.service.clone());
            self.runtime.spawn(task::unconstrained(async move {
                // Again, so that the clone is made where it is used.
                let mut service = service.clone();
                let mut calls = 0;
                while !over.load(Ordering::Relaxed) {
                    let first = task * STRIDE + calls;
                    let successes = call(&mut service, traffic, first, LOOK).await;
                    assert_eq!(successes, traffic.successes(LOOK));
                    calls += LOOK;
                    if calls % YIELD == 0 {
                        task::yield_now().await;
                    }
                }
                calls
            }))
        };
        let start = Instant::now();
        let tasks: Vec<_> = (0..TASKS).map(spawn).collect();
        thread::sleep(time);
        over.store(true, Ordering::Relaxed);
        let calls = self.runtime.block_on(async {
            let mut calls = 0;
            for task in tasks {
                calls += task.await.expect("every call comes to what it must");
            }
            calls
        });
        (calls, start.elapsed())
    }

    fn fill(&mut self, calls: u64) {
        let Self { runtime, traffic, service } = self;
        runtime.block_on(task::unconstrained(call(service, *traffic, 0, calls)));
    }
}

/// One that is measured.
struct Entrant<'a> {
    contender: &'a Contender,
    sampler: Box<dyn Sampler>,
    runs: VecDeque<(Instant, u64)>,
    kept: Vec<(f64, Used)>,
    disturbed: Vec<(f64, Used)>,
    records: u64,
}

impl<'a> Entrant<'a> {
    fn new(contender: &'a Contender, time: Duration) -> Option<Self> {
        let mut sampler = contender.together.as_ref()?();
        if contender.keeps_records {
            sampler.fill(RECORDS);
        }
        let (runs, kept, disturbed) = (VecDeque::new(), Vec::new(), Vec::new());
        let mut entrant = Self { contender, sampler, runs, kept, disturbed, records: 0 };
        // To warm up.
        entrant.run(time);
        Some(entrant)
    }

    fn run(&mut self, time: Duration) -> (f64, Used) {
        let usage = Usage::begin();
        let (calls, time) = self.sampler.sample(time);
        let used = usage.end();
        self.runs.push_back((Instant::now(), calls));
        (calls as f64 / time.as_secs_f64() / 1e6, used)
    }

    /// Keeps the sample unless others took the processors away, and then tries again a few times.
    fn run_undisturbed(&mut self, time: Duration) {
        const TRIES: usize = 4;
        for _ in 0..TRIES {
            let (mops, used) = self.run(time);
            if used.by_us > 1.8 || used.by_others < 0.3 {
                return self.kept.push((mops, used));
            }
            self.disturbed.push((mops, used));
        }
    }
}

/// Medians of interleaved rounds.
pub(super) fn measure(workload: &Workload, options: &Options) -> Vec<Row> {
    let effort = options.crowd();
    let mut entrants: Vec<Entrant<'_>> = workload
        .contenders
        .iter()
        .filter_map(|contender| Entrant::new(contender, effort.sample))
        .collect();
    let count = entrants.len();
    for round in 0..effort.rounds {
        for turn in 0..count {
            let entrant = &mut entrants[(round + turn) % count];
            entrant.run_undisturbed(effort.sample);
            if round == effort.rounds / 2 {
                entrant.records = in_ten_seconds(&entrant.runs);
            }
        }
    }
    let figures: Vec<(Figures, f64, bool)> = entrants
        .iter()
        .map(|entrant| {
            let is_quiet = entrant.kept.len() >= effort.rounds.div_ceil(3);
            let samples = if is_quiet { &entrant.kept } else { &entrant.disturbed };
            let processors = samples.iter().map(|(_, used)| used.by_us).sum::<f64>();
            let mops = Figures::of(samples.iter().map(|(mops, _)| *mops).collect());
            (mops, processors / samples.len() as f64, is_quiet)
        })
        .collect();
    // Processor time for one call, over that of the bare loop with the same traffic.
    let nanos = |index: usize| WORKERS as f64 * 1e3 / figures[index].0.median;
    let bare = |traffic: &str| {
        let is_bare = |entrant: &Entrant<'_>| {
            entrant.contender.role == Role::Bare && entrant.contender.traffic == traffic
        };
        entrants.iter().position(is_bare).map_or(f64::NAN, nanos)
    };
    let rows = entrants.iter().zip(&figures).enumerate();
    rows.map(|(index, (entrant, &(mops, processors, is_quiet)))| {
        let contender = entrant.contender;
        let comparable = nanos(index) - bare(contender.traffic) + nanos(0);
        Row::together(
            contender,
            comparable,
            Together {
                mops,
                processors,
                is_quiet,
                records: contender.keeps_records.then_some(entrant.records),
            },
        )
    })
    .collect()
}
