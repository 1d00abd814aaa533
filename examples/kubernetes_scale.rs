//! What discovery costs with 10,000 endpoints in 100 EndpointSlices of Kubernetes. Prints the time to the first set,
//! processor time and memory while nothing changes, with 100 changes a second, and with those while all is listed
//! anew every second since the version is over; and how many endpoints came and went, of which none should.
//!
//! ```text
//! cargo run --release --features kubernetes --example kubernetes_scale
//! ```
//! The API server is played by a child process, so that only the side that reads is measured. Linux only.
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "an example may")]

#[path = "../tests/discover_kubernetes/double.rs"]
mod double;
#[path = "../tests/discover_kubernetes/objects.rs"]
mod objects;

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::StreamExt;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower_upstream::discover::{Difference, Discover, Kubernetes, KubernetesConfig, diff};

use self::{
    double::Double,
    objects::{Pod, pod, slice},
};

const SLICES: usize = 100;
const OF_EACH: usize = 100;
const SPAN: Duration = Duration::from_secs(10);
const CHANGES: u32 = 100;

/// A slice, one of whose endpoints is on another node after each change.
fn made(number: usize, change: usize) -> Value {
    let pods = (0..OF_EACH).map(|at| {
        let address = format!("10.{}.{}.{}", number / 256, number % 256, at);
        let mut pod = pod(&format!("uid-{number}-{at}"), &address, Pod::Ready);
        if change > 0 && at == change % OF_EACH {
            pod["nodeName"] = json!(format!("node-{change}"));
        }
        pod
    });
    slice("web", &format!("web-{number:03}"), 8080, pods.collect())
}

/// `utime` and `stime` of this process, and its resident memory in MiB.
fn usage() -> (Duration, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().map(|at| fields[*at].parse::<u64>().unwrap()).sum();
    let pages: f64 = fields[21].parse().unwrap();
    (Duration::from_millis(ticks * 10), pages * 4_096.0 / f64::from(1 << 20))
}

/// An API server in a child process, which reads what to do line by line.
struct InChild(Child, ChildStdin);

impl InChild {
    fn start() -> (Self, String) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let input = child.stdin.take().unwrap();
        (Self(child, input), url.trim().to_owned())
    }

    fn say(&mut self, line: &str) {
        writeln!(self.1, "{line}").unwrap();
        self.1.flush().unwrap();
    }
}

impl Drop for InChild {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn serve() {
    let double = Arc::new(Double::start().await);
    for number in 0..SLICES {
        double.objects(|objects| objects.put(made(number, 0)));
    }
    println!("{}", double.url());
    let (lines, mut come) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
        std::process::exit(0);
    });
    while let Some(line) = come.recv().await {
        let double = double.clone();
        match &*line {
            "change" => drop(tokio::spawn(async move {
                let mut every = tokio::time::interval(Duration::from_secs(1) / CHANGES);
                for change in 1.. {
                    every.tick().await;
                    double.objects(|objects| objects.put(made(change * 7_919 % SLICES, change)));
                }
            })),
            _ => double.expires_watches(),
        }
    }
}

/// What a span costs: processor in percent, sets a second.
async fn span(sets: &AtomicU64, mut each_second: impl FnMut()) -> (f64, f64) {
    let (before, from) = (usage().0, sets.load(Relaxed));
    for _ in 0..SPAN.as_secs() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        each_second();
    }
    let spent = (usage().0 - before).as_secs_f64() / SPAN.as_secs_f64() * 100.0;
    (spent, (sets.load(Relaxed) - from) as f64 / SPAN.as_secs_f64())
}

async fn read() {
    let (mut child, url) = InChild::start();
    let kubernetes = Kubernetes::new(KubernetesConfig::default().with_address(url)).unwrap();
    let before = usage();
    let start = Instant::now();
    let mut stream = kubernetes.service("web").unwrap().discover();
    let mut last = stream.next().await.unwrap();
    let (took, after) = (start.elapsed(), usage());
    assert_eq!(last.len(), SLICES * OF_EACH);
    println!("endpoints: {}", last.len());
    println!("first set: {took:.0?}, processor for it {:.0?}", after.0 - before.0);
    println!("memory: {:.1} MiB", after.1 - before.1);
    let (sets, flaps) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (counted, flapped) = (sets.clone(), flaps.clone());
    tokio::spawn(async move {
        while let Some(set) = stream.next().await {
            let came_or_went =
                diff(&last, &set).filter(|change| !matches!(change, Difference::Update(_))).count();
            counted.fetch_add(1, Relaxed);
            flapped.fetch_add(came_or_went as u64, Relaxed);
            last = set;
        }
    });
    let report = |name: &str, (spent, per_second): (f64, f64)| {
        let (memory, flaps) = (usage().1 - before.1, flaps.load(Relaxed));
        println!(
            "{name}: processor {spent:.1} %, {per_second:.1} sets/s, {memory:.1} MiB, came or went: {flaps}"
        );
    };
    report("idle", span(&sets, || ()).await);
    child.say("change");
    report("100 changes/s", span(&sets, || ()).await);
    report("100 changes/s, listed anew each second", span(&sets, || child.say("expire")).await);
    assert_eq!(flaps.load(Relaxed), 0, "endpoints came or went");
}

fn main() {
    let is_server = std::env::args().nth(1).as_deref() == Some("serve");
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { if is_server { serve().await } else { read().await } });
}
