//! One task, on a runtime of its own, that calls one stack.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use tokio::{runtime, task};
use tower::{Service, ServiceExt};
use tower_upstream::{BoxError, Error, error::Kind};

/// A stack to measure, and what its calls must come to.
pub(crate) struct Case {
    name: &'static str,
    target: Option<f64>,
    /// Calls before each sample, which are not timed.
    warming: u64,
    prepare: Box<dyn Fn() -> Box<dyn Subject>>,
}

/// A stack that is up, and can be called any number of times.
pub(crate) trait Subject {
    /// Panics if a call comes to something else than it must.
    fn run(&mut self, calls: u64);
}

struct Stack<S> {
    runtime: runtime::Runtime,
    service: S,
    succeeds: bool,
}

impl Case {
    /// Every call succeeds.
    pub(crate) fn ok<S>(name: &'static str, build: impl Fn() -> S + 'static) -> Self
    where
        S: Service<u64, Response = u64, Error: Into<BoxError> + 'static> + 'static,
    {
        Self::new(name, None, build)
    }

    /// Every call is refused with `kind`, once the first few have made it so.
    pub(crate) fn refused<S>(
        name: &'static str,
        kind: Kind,
        build: impl Fn() -> S + 'static,
    ) -> Self
    where
        S: Service<u64, Response = u64, Error: Into<BoxError> + 'static> + 'static,
    {
        Self::new(name, Some(kind), build)
    }

    fn new<S>(name: &'static str, refusal: Option<Kind>, build: impl Fn() -> S + 'static) -> Self
    where
        S: Service<u64, Response = u64, Error: Into<BoxError> + 'static> + 'static,
    {
        let prepare = move || {
            let mut stack = Stack {
                runtime: runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .expect("a runtime"),
                service: build(),
                succeeds: refusal.is_none(),
            };
            stack.warm_up(refusal);
            Box::new(stack) as Box<dyn Subject>
        };
        Self { name, target: None, warming: 0, prepare: Box::new(prepare) }
    }

    /// How many nanoseconds over the bare loop it may take.
    pub(crate) fn at_most(mut self, target: f64) -> Self {
        self.target = Some(target);
        self
    }

    /// Makes so many calls before each sample, so that what a large table needs is in the caches again, as far as
    /// they hold it: other cases have had them in between.
    #[cfg(feature = "hash")]
    pub(crate) fn warmed_by(mut self, calls: u64) -> Self {
        self.warming = calls;
        self
    }

    pub(crate) fn warming(&self) -> u64 {
        self.warming
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn target(&self) -> Option<f64> {
        self.target
    }

    pub(crate) fn prepare(&self) -> Box<dyn Subject> {
        (self.prepare)()
    }
}

impl<S> Stack<S>
where
    S: Service<u64, Error: Into<BoxError> + 'static>,
{
    /// Calls until it is as it must be.
    fn warm_up(&mut self, refusal: Option<Kind>) {
        let service = &mut self.service;
        self.runtime.block_on(async {
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(10) {
                let outcome = match service.ready().await {
                    Ok(service) => service.call(0).await,
                    Err(error) => Err(error),
                };
                if outcome.err().map(|error| Error::from_service(error).kind()) == refusal {
                    return;
                }
                task::yield_now().await;
            }
            panic!("never comes to {refusal:?}");
        });
    }
}

impl<S> Subject for Stack<S>
where
    S: Service<u64, Error: Into<BoxError> + 'static>,
{
    fn run(&mut self, calls: u64) {
        let Self { runtime, service, succeeds } = self;
        let successes = runtime.block_on(task::unconstrained(call(service, calls)));
        assert_eq!(successes, if *succeeds { calls } else { 0 });
    }
}

/// The loop: how many of the calls succeed.
pub(crate) async fn call<S: Service<u64>>(service: &mut S, calls: u64) -> u64 {
    let mut successes = 0;
    for number in 0..calls {
        let Ok(service) = service.ready().await else {
            break;
        };
        let outcome = black_box(service.call(black_box(number)).await);
        successes += u64::from(outcome.is_ok());
    }
    successes
}

/// Medians of interleaved rounds, each of which begins with another one, so that what else the
/// machine does falls on all alike. `warming` are the calls before each sample of a subject.
pub(crate) fn nanos_per_call(subjects: &mut [Box<dyn Subject>], warming: &[u64]) -> Vec<f64> {
    const ROUNDS: usize = 41;
    const SAMPLE: Duration = Duration::from_millis(2);
    let calls: Vec<u64> =
        subjects.iter_mut().map(|subject| calls_in(SAMPLE, subject.as_mut())).collect();
    let mut samples = vec![Vec::with_capacity(ROUNDS); subjects.len()];
    for round in 0..ROUNDS {
        for turn in 0..subjects.len() {
            let index = (round + turn) % subjects.len();
            subjects[index].run(warming[index]);
            let start = Instant::now();
            subjects[index].run(calls[index]);
            samples[index].push(start.elapsed().as_nanos() as f64 / calls[index] as f64);
        }
    }
    samples.into_iter().map(median).collect()
}

fn calls_in(time: Duration, subject: &mut dyn Subject) -> u64 {
    let mut calls = 1_000;
    loop {
        let start = Instant::now();
        subject.run(calls);
        if start.elapsed() >= time {
            return calls;
        }
        calls *= 2;
    }
}

pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}
