//! Many tasks on two threads, on clones of one stack.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{runtime, task, time::timeout_at};
use tower::Service;

use super::{
    Contender, Options, Role, Row, Workload,
    alone::{RECORDS, call, in_ten_seconds, open},
    clock::{self, Usage, Used},
    row::{Figures, TASKS, Together, WORKERS},
};
use crate::traffic::Traffic;

/// Calls between two looks at whether the time is over; and between two yields.
const LOOK: u64 = 100;
const YIELD: u64 = 1_000;

/// How long to wait for a task that has a hundred calls to make at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// Each task begins elsewhere in the traffic.
const STRIDE: u64 = 1_500;

/// A stack that many tasks call.
pub(super) trait Sampler {
    /// Calls for so long. Panics if a call comes to something else than it must.
    fn sample(&mut self, time: Duration) -> Sample;

    /// Makes so many calls.
    fn fill(&mut self, calls: u64);
}

pub(super) struct Sample {
    calls: u64,
    time: Duration,
    /// Tasks that nobody woke any more.
    hung: u64,
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
    fn sample(&mut self, time: Duration) -> Sample {
        let over = Arc::new(AtomicBool::new(false));
        let traffic = self.traffic;
        let spawn = |task: u64| {
            let (over, service) = (over.clone(), self.service.clone());
            let done = Arc::new(AtomicU64::new(0));
            let counter = done.clone();
            let task = self.runtime.spawn(task::unconstrained(async move {
                // Again, so that the clone is made where it is used.
                let mut service = service.clone();
                let mut calls = 0;
                while !over.load(Ordering::Relaxed) {
                    let first = task * STRIDE + calls;
                    let successes = call(&mut service, traffic, first, LOOK).await;
                    assert_eq!(successes, traffic.successes(LOOK));
                    calls += LOOK;
                    counter.store(calls, Ordering::Relaxed);
                    if calls % YIELD == 0 {
                        task::yield_now().await;
                    }
                }
            }));
            (task, done)
        };
        let start = Instant::now();
        let tasks: Vec<_> = (0..TASKS).map(spawn).collect();
        thread::sleep(time);
        over.store(true, Ordering::Relaxed);
        let mut sample = Sample { calls: 0, time, hung: 0 };
        self.runtime.block_on(async {
            let patience = tokio::time::Instant::now() + PATIENCE;
            for (mut task, done) in tasks {
                match timeout_at(patience, &mut task).await {
                    Ok(ended) => ended.expect("every call comes to what it must"),
                    Err(_) => {
                        task.abort();
                        sample.hung += 1;
                    }
                }
                sample.calls += done.load(Ordering::Relaxed);
            }
        });
        if sample.hung == 0 {
            sample.time = start.elapsed();
        }
        sample
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
    hung: u64,
}

impl<'a> Entrant<'a> {
    fn new(contender: &'a Contender, time: Duration) -> Option<Self> {
        let mut sampler = contender.together.as_ref()?();
        if contender.keeps_records {
            sampler.fill(RECORDS);
        }
        let (runs, kept, disturbed) = (VecDeque::new(), Vec::new(), Vec::new());
        let mut entrant = Self { contender, sampler, runs, kept, disturbed, records: 0, hung: 0 };
        // To warm up.
        entrant.run(time);
        Some(entrant)
    }

    fn run(&mut self, time: Duration) -> (f64, Used) {
        let usage = Usage::begin();
        let Sample { calls, time, hung } = self.sampler.sample(time);
        let used = usage.end();
        self.runs.push_back((Instant::now(), calls));
        self.hung += hung;
        (calls as f64 / time.as_secs_f64() / 1e6, used)
    }

    /// Keeps the sample unless others took the processors away; then waits for them to be done,
    /// and tries again a few times.
    fn run_undisturbed(&mut self, time: Duration, patience: &mut Duration) {
        const TRIES: usize = 4;
        for _ in 0..TRIES {
            let (mops, used) = self.run(time);
            if used.by_us > 1.8 || used.is_quiet() {
                return self.kept.push((mops, used));
            }
            self.disturbed.push((mops, used));
            clock::wait_for_quiet(patience);
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
    let mut patience = effort.patience;
    for round in 0..effort.rounds {
        for turn in 0..count {
            let entrant = &mut entrants[(round + turn) % count];
            entrant.run_undisturbed(effort.sample, &mut patience);
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
                hung: entrant.hung,
                records: contender.keeps_records.then_some(entrant.records),
            },
        )
    })
    .collect()
}
