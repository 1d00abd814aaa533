//! What discovery costs with many endpoints: 10,000 in one service, and 1,000 services of 10, in etcd and in
//! memory. Prints the time to the first set of each service, and processor time and memory while nothing changes
//! and with 100 changes a second.
//!
//! ```text
//! cargo run --release --features etcd --example discover_scale
//! ```
//! etcd is played by a child process, so that only the side that reads is measured. Linux only.
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "an example may")]

#[path = "../src/discover/etcd/codec.rs"]
mod codec;
#[path = "../tests/discover_etcd/double.rs"]
mod double;
#[path = "../src/discover/etcd/messages.rs"]
mod messages;
#[path = "../tests/discover_etcd/store.rs"]
mod store;

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
use tokio::{task::JoinSet, time::Instant};
use tower_upstream::{
    Endpoint,
    discover::{Discover, Etcd, EtcdConfig, Instance, MemoryRegistry},
};

/// Name, services, instances of each.
const SHAPES: [(&str, usize, usize); 2] = [("1 x 10,000", 1, 10_000), ("1,000 x 10", 1_000, 10)];
const SPAN: Duration = Duration::from_secs(10);
const CHANGES: u64 = 100;

fn instance(service: usize, id: usize, weight: u32) -> Instance {
    let address = format!("10.{}.{}.{}:8080", id / 65_536, id / 256 % 256, id % 256);
    let endpoint = Endpoint::new(address).unwrap().with_key(format!("s{service}-{id}"));
    let endpoint = endpoint.with_tag("v2").with_metadata("version", "2.3.0").with_weight(weight);
    Instance::new(format!("s{service}"), endpoint).unwrap()
}

/// Which instance the change of a number is about.
fn changed(number: u64, services: usize, instances: usize) -> Instance {
    let at = (number as usize).wrapping_mul(7_919) % (services * instances);
    instance(at / instances, at % instances, 2 + (number % 1_000) as u32)
}

/// `utime` and `stime` of this process, and its resident memory in MiB.
fn usage() -> (Duration, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().map(|at| fields[*at].parse::<u64>().unwrap()).sum();
    let pages: f64 = fields[21].parse().unwrap();
    (Duration::from_millis(ticks * 10), pages * 4_096.0 / f64::from(1 << 20))
}

trait Changes {
    fn begin(&mut self, services: usize, instances: usize);
    fn end(&mut self);
}

/// A cluster of etcd in a child process, which reads what to do line by line.
struct InChild(Child, ChildStdin);

impl InChild {
    fn start() -> (Self, String) {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new(program);
        command.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let input = child.stdin.take().unwrap();
        (Self(child, input), url.trim().to_owned())
    }

    fn say(&mut self, line: String) {
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

impl Changes for InChild {
    fn begin(&mut self, services: usize, instances: usize) {
        self.say(format!("change {services} {instances}"));
    }

    fn end(&mut self) {
        self.say("rest".to_owned());
    }
}

async fn change(put: impl Fn(Instance), services: usize, instances: usize) {
    let mut every = tokio::time::interval(Duration::from_secs(1) / CHANGES as u32);
    for number in 0.. {
        every.tick().await;
        put(changed(number, services, instances));
    }
}

async fn serve() {
    let cluster = double::Cluster::new();
    let member = cluster.member().await;
    println!("{}", member.url());
    let (lines, mut come) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
        std::process::exit(0);
    });
    let key = |of: &Instance| format!("/services/{}/{}", of.service(), of.id());
    let mut changing = None;
    while let Some(line) = come.recv().await {
        changing.take().inspect(tokio::task::JoinHandle::abort);
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<usize>().unwrap();
        match words[0] {
            "fill" => {
                for at in 0..number(1) * number(2) {
                    let of = instance(at / number(2), at % number(2), 1);
                    cluster.put(&key(&of), of.to_json());
                }
            }
            "change" => {
                let (cluster, services, instances) = (cluster.clone(), number(1), number(2));
                let put = move |of: Instance| cluster.put(&key(&of), of.to_json());
                changing = Some(tokio::spawn(change(put, services, instances)));
            }
            _ => {}
        }
    }
}

struct InMemory(MemoryRegistry, Option<tokio::task::JoinHandle<()>>);

impl Changes for InMemory {
    fn begin(&mut self, services: usize, instances: usize) {
        let registry = self.0.clone();
        let put = move |of: Instance| registry.put(&of);
        self.1 = Some(tokio::spawn(change(put, services, instances)));
    }

    fn end(&mut self) {
        self.1.take().inspect(tokio::task::JoinHandle::abort);
    }
}

/// Watches all services, and prints a row.
async fn measure<D: Discover>(
    (name, services, instances): (&str, usize, usize),
    watch: impl Fn(usize) -> D,
    changes: &mut impl Changes,
) where
    D::Stream: Send + 'static,
{
    let before = usage();
    let start = Instant::now();
    let (first, sets) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut users = JoinSet::new();
    for service in 0..services {
        let mut stream = Box::pin(watch(service).discover());
        let (first, sets) = (first.clone(), sets.clone());
        users.spawn(async move {
            while stream.next().await.unwrap().len() < instances {}
            first.fetch_add(1, Relaxed);
            while stream.next().await.is_some() {
                sets.fetch_add(1, Relaxed);
            }
        });
    }
    while first.load(Relaxed) < services as u64 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (took, after) = (start.elapsed(), usage());
    let reading = after.0 - before.0;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let span = async || {
        let before = usage().0;
        tokio::time::sleep(SPAN).await;
        (usage().0 - before).as_secs_f64() / SPAN.as_secs_f64() * 100.0
    };
    let idle = span().await;
    let memory = usage().1;
    sets.store(0, Relaxed);
    changes.begin(services, instances);
    let busy = span().await;
    let per_second = sets.load(Relaxed) as f64 / SPAN.as_secs_f64();
    changes.end();
    println!(
        "| {name} | {took:.0?} | {reading:.0?} | {:.1} MiB | {idle:.2} % | {busy:.1} % | {per_second:.0} | {:.1} MiB |",
        memory - before.1,
        usage().1 - before.1,
    );
}

async fn read() {
    println!(
        "| endpoints | first sets | processor for them | memory | idle | {CHANGES} changes/s | sets/s | memory then |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    for shape @ (name, services, instances) in SHAPES {
        let (mut child, url) = InChild::start();
        child.say(format!("fill {services} {instances}"));
        tokio::time::sleep(Duration::from_secs(5)).await;
        let etcd = Etcd::new(EtcdConfig::default().with_endpoints([url])).unwrap();
        let watch = |service| etcd.service(&format!("s{service}")).unwrap();
        measure((&format!("etcd, {name}"), services, instances), watch, &mut child).await;
        let registry = MemoryRegistry::new();
        for at in 0..services * instances {
            registry.put(&instance(at / instances, at % instances, 1));
        }
        let watch = |service| registry.service(&format!("s{service}"));
        let mut changes = InMemory(registry.clone(), None);
        measure((&format!("memory, {name}"), shape.1, shape.2), watch, &mut changes).await;
    }
}

fn main() {
    let is_server = std::env::args().nth(1).as_deref() == Some("serve");
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { if is_server { serve().await } else { read().await } });
}
