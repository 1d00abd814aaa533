//! One task, on a runtime of its own, that calls one stack.

use std::{
    collections::VecDeque,
    hint::black_box,
    time::{Duration, Instant},
};

use tokio::{runtime, task};
use tower::{Service, ServiceExt};

use super::{
    Contender, Options, Role, Row, Workload, allocations, callgrind, clock,
    row::{Alone, Figures},
};
use crate::traffic::Traffic;

/// A stack that is up, and can be called any number of times.
pub(crate) trait Subject {
    /// Panics if a call comes to something else than it must.
    fn run(&mut self, calls: u64);
}

struct Stack<T, S> {
    runtime: runtime::Runtime,
    traffic: T,
    service: S,
}

pub(super) fn prepare<T, S>(traffic: T, build: &impl Fn() -> S) -> Box<dyn Subject>
where
    T: Traffic,
    S: Service<T::Request, Response = T::Response> + 'static,
{
    let runtime = runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut service = {
        let _context = runtime.enter();
        build()
    };
    runtime.block_on(open(&mut service, traffic));
    Box::new(Stack { runtime, traffic, service })
}

impl<T, S> Subject for Stack<T, S>
where
    T: Traffic,
    S: Service<T::Request, Response = T::Response>,
{
    fn run(&mut self, calls: u64) {
        let Self { runtime, traffic, service } = self;
        let successes = runtime.block_on(task::unconstrained(call(service, *traffic, 0, calls)));
        assert_eq!(successes, traffic.successes(calls));
    }
}

/// Brings about the state that is measured. Some of these calls may fail, and shall.
pub(super) async fn open<T, S>(service: &mut S, traffic: T)
where
    T: Traffic,
    S: Service<T::Request>,
{
    for request in traffic.opening() {
        if let Ok(service) = service.ready().await {
            let _ = service.call(request).await;
        }
    }
}

/// The loop: how many of the calls succeed.
pub(super) async fn call<T, S>(service: &mut S, traffic: T, first: u64, calls: u64) -> u64
where
    T: Traffic,
    S: Service<T::Request, Response = T::Response>,
{
    let mut successes = 0;
    for number in first..first + calls {
        let Ok(service) = service.ready().await else {
            break;
        };
        let outcome = black_box(service.call(black_box(traffic.request(number))).await);
        successes += u64::from(outcome.as_ref().is_ok_and(T::is_success));
    }
    successes
}

/// Medians of interleaved rounds, each of which begins with another one, so that what else the
/// machine does falls on all alike. In processor time: nobody sleeps here.
pub(super) fn measure(workload: &Workload, options: &Options) -> Vec<Row> {
    let effort = options.alone();
    let (mut subjects, chosen): (Vec<_>, Vec<_>) = workload
        .contenders
        .iter()
        .filter_map(|contender| Some((Recorded::new(contender.alone.as_ref()?()), contender)))
        .unzip();
    let calls: Vec<u64> = subjects
        .iter_mut()
        .zip(&chosen)
        .map(|(subject, contender)| {
            if contender.keeps_records {
                subject.run(RECORDS);
                return FEW;
            }
            calls_in(effort.sample, subject)
        })
        .collect();
    let mut samples = vec![Vec::with_capacity(effort.rounds); subjects.len()];
    let mut records = vec![0; subjects.len()];
    for round in 0..effort.rounds {
        for turn in 0..subjects.len() {
            let index = (round + turn) % subjects.len();
            let start = clock::thread();
            subjects[index].run(calls[index]);
            samples[index].push((clock::thread() - start) * 1e9 / calls[index] as f64);
            if round == effort.rounds / 2 {
                records[index] = subjects[index].records();
            }
        }
    }
    let figures: Vec<Figures> = samples.into_iter().map(Figures::of).collect();
    let bare = |contender: &Contender| {
        let is_bare =
            |other: &&Contender| other.role == Role::Bare && other.traffic == contender.traffic;
        let position = chosen.iter().position(is_bare);
        position.map_or(f64::NAN, |position| figures[position].median)
    };
    let first_bare = figures.first().map_or(f64::NAN, |figures| figures.median);
    let rows = chosen.iter().zip(&mut subjects).zip(&figures).zip(records);
    rows.map(|(((contender, subject), figures), records)| {
        let over_bare = figures.median - bare(contender);
        Row::alone(
            contender,
            // With the plain loop, whatever the traffic is.
            first_bare + over_bare,
            Alone {
                nanos: *figures,
                over_bare,
                allocations: allocations::per_call(subject),
                instructions: (options.instructions && !contender.keeps_records)
                    .then(|| callgrind::instructions_per_call(&contender.case(workload.name)))
                    .flatten(),
                records: contender.keeps_records.then_some(records),
            },
        )
    })
    .collect()
}

/// On record at the start, and calls in a sample, of those who keep records.
pub(super) const RECORDS: u64 = 10_000;
const FEW: u64 = 200;

fn calls_in(time: Duration, subject: &mut dyn Subject) -> u64 {
    let mut calls = 1_000;
    loop {
        let start = clock::thread();
        subject.run(calls);
        if clock::thread() - start >= time.as_secs_f64() {
            return calls;
        }
        calls *= 2;
    }
}

/// Knows how many calls there were in the last ten seconds.
struct Recorded {
    subject: Box<dyn Subject>,
    runs: VecDeque<(Instant, u64)>,
}

impl Recorded {
    fn new(subject: Box<dyn Subject>) -> Self {
        Self { subject, runs: VecDeque::new() }
    }

    fn records(&self) -> u64 {
        in_ten_seconds(&self.runs)
    }
}

pub(super) fn in_ten_seconds(runs: &VecDeque<(Instant, u64)>) -> u64 {
    let recent = |(when, _): &&(Instant, u64)| when.elapsed() < Duration::from_secs(10);
    runs.iter().rev().take_while(recent).map(|(_, calls)| calls).sum()
}

impl Subject for Recorded {
    fn run(&mut self, calls: u64) {
        self.subject.run(calls);
        self.runs.push_back((Instant::now(), calls));
    }
}
