//! What a set of 10,000 endpoints costs while it changes 100 times a second, and what calls feel of it.
//!
//! ```text
//! cargo bench --bench churn               about half a minute
//! cargo bench --bench churn -- --json     one JSON object
//! ```
//! Three threads: one drives the task of the set and nothing else, so that its CPU time is that of the task; one
//! calls, for as long as a round lasts; one changes the endpoints. Linux only: `/proc` has the CPU time.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that is set up wrongly shall stop, and prints"
)]
#![allow(clippy::disallowed_types, reason = "what is measured is real time")]

use std::{
    convert::Infallible,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use tokio::runtime;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_upstream::{
    BalanceLayer, Endpoint, LeastRequest, balance::BalanceHandle, connect_fn, discover::Memory,
};

const ENDPOINTS: usize = 10_000;
const CHANGES_PER_SECOND: u32 = 100;
const ROUND: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;

fn main() {
    let json = std::env::args().any(|arg| arg == "--json");
    let before = resident();
    let endpoints = Memory::new((0..ENDPOINTS).map(endpoint)).expect("distinct");
    let with_endpoints = resident();
    let set = Set::over(endpoints.clone());
    let with_set = resident();

    let mut still = Vec::new();
    let mut changing = Vec::new();
    for _ in 0..ROUNDS {
        still.push(set.round(|_| thread::sleep(ROUND)));
        changing.push(set.round(|number| change(&endpoints, number)));
    }
    // As when a deployment replaces one endpoint: both words reach the set together.
    let one_by_one = set.task_time_of(50, |number| replace_one(&endpoints, number));

    let calls = |rounds: &[Round]| {
        let mut calls: Vec<_> = rounds.iter().map(|round| round.calls_per_second).collect();
        calls.sort_by(f64::total_cmp);
        calls[calls.len() / 2]
    };
    let cpu = changing.iter().map(|round| round.task_cpu).sum::<f64>() / changing.len() as f64;
    let idle = still.iter().map(|round| round.task_cpu).sum::<f64>() / still.len() as f64;
    let kept = calls(&changing) / calls(&still);
    let bytes = (with_set - with_endpoints) / ENDPOINTS as u64;
    let of_source = (with_endpoints - before) / ENDPOINTS as u64;
    let micros = one_by_one.as_secs_f64() * 1e6;
    if json {
        println!(
            "{{\"endpoints\":{ENDPOINTS},\"changes_per_second\":{CHANGES_PER_SECOND},\
             \"task_cpu\":{cpu:.3},\"task_cpu_still\":{idle:.3},\"throughput_kept\":{kept:.3},\
             \"add_and_remove_micros\":{micros:.0},\"bytes_per_member\":{bytes},\
             \"bytes_per_endpoint_of_the_source\":{of_source}}}"
        );
        return;
    }
    println!("{ENDPOINTS} endpoints, {CHANGES_PER_SECOND} changes a second");
    println!(
        "CPU of the task             {:6.1} %   ({:.1} % without changes)",
        cpu * 100.0,
        idle * 100.0
    );
    println!(
        "calls, of those without     {:6.1} %   ({:.1} M/s)",
        kept * 100.0,
        calls(&still) / 1e6
    );
    println!("one added and one removed   {micros:6.0} µs of the task");
    println!(
        "memory of a member          {bytes:6} bytes, and {of_source} of its endpoint in the source"
    );
}

fn endpoint(number: usize) -> Endpoint {
    Endpoint::new(format!("10.{}.{}.{}:80", number >> 16, number >> 8 & 255, number & 255))
        .expect("an address")
}

/// One of three kinds: a weight, one that joins, and that one leaving.
fn change(endpoints: &Memory, number: usize) {
    let last = endpoint(ENDPOINTS + number / 3 % 5);
    match number % 3 {
        0 => {
            let weight = 1 + number as u32 / 3 % 2;
            endpoints.insert(endpoint(number * 7 % ENDPOINTS).with_weight(weight)).expect("valid");
        }
        1 => endpoints.insert(last).expect("valid"),
        _ => assert!(endpoints.remove(last.key())),
    }
}

fn replace_one(endpoints: &Memory, number: usize) {
    let mut list: Vec<_> = endpoints.snapshot().iter().map(|of| (**of).clone()).collect();
    list.retain(|of| of.key() != endpoint(number).key());
    list.push(endpoint(ENDPOINTS + 100 + number));
    endpoints.replace(list).expect("distinct");
}

struct Set {
    handle: BalanceHandle,
    /// Nanoseconds that the task's thread has run, written when it is asked.
    ask: mpsc::Sender<mpsc::Sender<u64>>,
    calls: Arc<AtomicU64>,
    calling: Arc<AtomicBool>,
}

struct Round {
    calls_per_second: f64,
    /// Of one core.
    task_cpu: f64,
}

impl Set {
    fn over(endpoints: Memory) -> Self {
        let (ask, asked) = mpsc::channel::<mpsc::Sender<u64>>();
        let (made, ready) = mpsc::channel();
        thread::spawn(move || {
            let runtime =
                runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            made.send(runtime.handle().clone()).expect("awaited");
            let own = format!("/proc/self/task/{}/schedstat", thread_id());
            runtime.block_on(async move {
                loop {
                    while let Ok(answer) = asked.try_recv() {
                        answer.send(nanos_run(&own)).expect("awaited");
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        });
        let runtime = ready.recv().expect("a runtime");
        let connect =
            connect_fn(|_: &Endpoint| service_fn(|()| std::future::ready(Ok::<_, Infallible>(()))));
        let layer = BalanceLayer::new(endpoints, LeastRequest::new()).with_runtime(runtime);
        let handle = layer.handle();
        let balance = layer.layer(connect);
        futures::executor::block_on(balance.clone().oneshot(())).expect("an answer");
        let (calls, calling) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counts, goes) = (calls.clone(), calling.clone());
        thread::spawn(move || {
            let mut balance = balance;
            loop {
                if !goes.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(1));
                    continue;
                }
                for _ in 0..1_000 {
                    let call = async { balance.ready().await?.call(()).await };
                    futures::executor::block_on(call).expect("an answer");
                }
                counts.fetch_add(1_000, Ordering::Relaxed);
            }
        });
        Self { handle, ask, calls, calling }
    }

    fn task_nanos(&self) -> u64 {
        let (answer, is) = mpsc::channel();
        self.ask.send(answer).expect("runs");
        is.recv().expect("an answer")
    }

    fn round(&self, mut act: impl FnMut(usize)) -> Round {
        self.calling.store(true, Ordering::Relaxed);
        let (began, calls, nanos) =
            (Instant::now(), self.calls.load(Ordering::Relaxed), self.task_nanos());
        let mut number = 0;
        while began.elapsed() < ROUND {
            act(number);
            number += 1;
            let next = began + Duration::from_secs(1) / CHANGES_PER_SECOND * number as u32;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        let spent = self.task_nanos() - nanos;
        let elapsed = began.elapsed().as_secs_f64();
        let calls = self.calls.load(Ordering::Relaxed) - calls;
        self.calling.store(false, Ordering::Relaxed);
        Round { calls_per_second: calls as f64 / elapsed, task_cpu: spent as f64 / 1e9 / elapsed }
    }

    /// What one change costs the task.
    fn task_time_of(&self, changes: u32, mut change: impl FnMut(usize)) -> Duration {
        let nanos = self.task_nanos();
        for number in 0..changes as usize {
            change(number);
            let joined = endpoint(ENDPOINTS + 100 + number);
            while !self.handle.members().iter().any(|member| member.key() == joined.key()) {
                thread::sleep(Duration::from_millis(1));
            }
        }
        Duration::from_nanos(self.task_nanos() - nanos) / changes
    }
}

fn thread_id() -> u64 {
    let link = fs::read_link("/proc/thread-self").expect("Linux");
    let number = link.file_name().and_then(|name| name.to_str()?.parse().ok());
    number.expect("a number")
}

fn nanos_run(schedstat: &str) -> u64 {
    let text = fs::read_to_string(schedstat).expect("Linux");
    text.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = text.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
    pages * 4_096
}
