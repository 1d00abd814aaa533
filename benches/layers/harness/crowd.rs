//! One task, then many, on two threads, on clones of one stack.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{runtime, task};
use tower::Service;

use super::{
    case::{call, median},
    report::CrowdRow,
};

const THREADS: usize = 2;
const TASKS: usize = 64;
const ROUNDS: usize = 7;
const SAMPLE: Duration = Duration::from_millis(60);

/// A stack to measure.
pub(crate) struct Crowd {
    name: &'static str,
    prepare: Box<dyn Fn() -> Sampler>,
}

/// Calls for a while, by so many tasks; answers how many million calls there were in a second.
type Sampler = Box<dyn FnMut(usize) -> f64>;

impl Crowd {
    pub(crate) fn new<S>(name: &'static str, build: impl Fn() -> S + 'static) -> Self
    where
        S: Service<u64, Future: Send> + Clone + Send + 'static,
    {
        let prepare = move || {
            let runtime = runtime::Builder::new_multi_thread()
                .worker_threads(THREADS)
                .enable_time()
                .build()
                .expect("a runtime");
            let service = build();
            let sample = move |tasks| sample(&runtime, &service, tasks);
            sample(TASKS);
            Box::new(sample) as Sampler
        };
        Self { name, prepare: Box::new(prepare) }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}

fn sample<S>(runtime: &runtime::Runtime, service: &S, tasks: usize) -> f64
where
    S: Service<u64, Future: Send> + Clone + Send + 'static,
{
    let over = Arc::new(AtomicBool::new(false));
    let spawn = |_| {
        let (over, service) = (over.clone(), service.clone());
        runtime.spawn(task::unconstrained(async move {
            // Again, so that the clone is made where it is used.
            let mut service = service.clone();
            let mut calls = 0;
            while !over.load(Ordering::Relaxed) {
                calls += call(&mut service, 1_000).await;
                task::yield_now().await;
            }
            calls
        }))
    };
    let start = Instant::now();
    let tasks: Vec<_> = (0..tasks).map(spawn).collect();
    std::thread::sleep(SAMPLE);
    over.store(true, Ordering::Relaxed);
    let time = start.elapsed();
    let calls: u64 = runtime.block_on(async {
        let mut calls = 0;
        for task in tasks {
            calls += task.await.expect("no call panics");
        }
        calls
    });
    calls as f64 / time.as_secs_f64() / 1e6
}

/// Medians of interleaved rounds.
pub(crate) fn throughput(crowds: &[&Crowd]) -> Vec<CrowdRow> {
    let mut samplers: Vec<Sampler> = crowds.iter().map(|crowd| (crowd.prepare)()).collect();
    let mut alone = vec![Vec::new(); crowds.len()];
    let mut together = vec![Vec::new(); crowds.len()];
    let mut processors = vec![0.0; crowds.len()];
    for round in 0..ROUNDS {
        for turn in 0..crowds.len() {
            let index = (round + turn) % crowds.len();
            alone[index].push(samplers[index](1));
            let (used, start) = (processor_time(), Instant::now());
            together[index].push(samplers[index](TASKS));
            let used = processor_time().zip(used).map(|(now, then)| now - then);
            processors[index] +=
                used.map_or(f64::NAN, |used| used / start.elapsed().as_secs_f64() / ROUNDS as f64);
        }
    }
    let rows = crowds.iter().zip(alone).zip(together).zip(processors);
    rows.map(|(((crowd, alone), together), processors)| CrowdRow {
        name: crowd.name,
        alone: median(alone),
        together: median(together),
        processors,
    })
    .collect()
}

/// Seconds that this process has used of all processors; `None` where there is no `/proc`.
fn processor_time() -> Option<f64> {
    /// The unit of the figures, a hundredth of a second on every Linux.
    const TICK: f64 = 0.01;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) * TICK)
}
