//! Ten thousand endpoints on one prober: does each get its check on time, and what does that cost?
//!
//! The endpoints are in memory and answer at once, so the figures are those of the prober; but one
//! in a hundred never answers, and is to delay only itself. The figures are of the others. A check
//! is late by how much it comes after its time: whole intervals apart, as early as the most punctual
//! one of its endpoint says. One late check does not make the next one late.
//!
//! ```text
//! cargo run --release --example ten_thousand_checks [TARGETS [INTERVAL_MS [SECONDS [HANGING]]]]
//! ```

use std::{
    env,
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use tower::Layer;
use tower_upstream::{
    Endpoint, HealthGateLayer,
    connect::Connect,
    connect_fn,
    health::{HealthConfig, Verdict, check_fn},
    member::Member,
};

/// When each endpoint was checked.
type Moments = Arc<Vec<Mutex<Vec<Instant>>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1).map(|arg| arg.parse::<u32>());
    let mut next = |default: u32| args.next().unwrap_or(Ok(default));
    let (targets, interval, seconds) = (next(10_000)?, next(1_000)?, next(10)?);
    let hanging = next(targets / 100)? as usize;
    let interval = Duration::from_millis(interval.into());

    let moments: Moments = Arc::new((0..targets).map(|_| Mutex::default()).collect());
    let noted = moments.clone();
    let check = check_fn(move |endpoint: Arc<Endpoint>| {
        let number = endpoint.key().parse::<usize>();
        let moments = number.as_ref().ok().and_then(|&number| noted.get(number));
        if let Some(mut moments) = moments.and_then(|moments| moments.lock().ok()) {
            moments.push(Instant::now());
        }
        async move {
            if number.is_ok_and(|number| number < hanging) {
                std::future::pending::<()>().await;
            }
            Verdict::Healthy
        }
    });
    let config = HealthConfig::default().with_interval(interval).with_jitter(0.0);
    let layer = HealthGateLayer::with_config(check, config);

    // What a balancer does with each endpoint that it finds.
    let connector = layer.layer(connect_fn(|_: &Endpoint| ()));
    let mut gates = Vec::new();
    for number in 0..targets {
        let endpoint = Endpoint::new("http://10.0.0.1:8080")?.with_key(number.to_string());
        gates.push(connector.connect(&Member::new(endpoint)));
    }

    let monitor = layer.monitor();
    let spread = Instant::now();
    // Those that hang are done with after the timeout of two seconds.
    let complete = monitor.wait_first_round(interval * 2 + Duration::from_secs(3)).await;
    println!("first round: {complete}, after {:.2?}", spread.elapsed());
    let (cpu, begin) = (cpu_time(), Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    let (cpu, end) = (cpu_time().zip(cpu), Instant::now());
    // The last ones may be late too.
    tokio::time::sleep(Duration::from_millis(50)).await;
    monitor.stop().await;

    let (begin, end) = ((begin - spread).as_secs_f64(), (end - spread).as_secs_f64());
    let (mut due, mut late) = (0, Vec::new());
    for of_one in moments.iter().skip(hanging) {
        let of_one = of_one.lock().map_err(|_| "a check panicked")?;
        let at = of_one.iter().map(|moment| (*moment - spread).as_secs_f64());
        let punctual = Punctual::new(at.clone(), interval.as_secs_f64());
        due += punctual.due_between(begin, end);
        late.extend(at.filter_map(|at| punctual.late_between(at, begin, end)));
    }
    late.sort_unstable_by(f64::total_cmp);
    let done = late.len();
    let at = |share: f64| late.get((share * (done as f64 - 1.0)) as usize).map_or(0.0, |s| s * 1e3);
    println!("checks: {done} of {due} due, {targets} targets every {interval:?}, {hanging} hang");
    println!("late: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", at(0.5), at(0.99), at(1.0));
    if let Some((after, before)) = cpu {
        let used = after - before;
        let each = used / done.max(1) as u32;
        println!("cpu: {used:?} in {seconds} s, {each:?} for each check");
    }
    drop(gates);
    Ok(())
}

/// When an endpoint is due: at `phase`, and every `interval` from there, in seconds.
struct Punctual {
    phase: f64,
    interval: f64,
}

impl Punctual {
    fn new(at: impl Iterator<Item = f64> + Clone, interval: f64) -> Self {
        let first = at.clone().next().unwrap_or(0.0);
        let drift = |at: f64| (at - first) - ((at - first) / interval).round() * interval;
        Self { phase: first + at.map(drift).fold(0.0, f64::min), interval }
    }

    /// How many are due from `begin` to `end`.
    fn due_between(&self, begin: f64, end: f64) -> u64 {
        let until = |time: f64| ((time - self.phase) / self.interval).ceil();
        (until(end) - until(begin)) as u64
    }

    /// How late that is which was done at `at`, if it was due from `begin` to `end`.
    fn late_between(&self, at: f64, begin: f64, end: f64) -> Option<f64> {
        // The most punctual one may come out a hair early.
        let whole = ((at - self.phase) / self.interval + 1e-9).floor();
        let due = self.phase + whole * self.interval;
        (begin..end).contains(&due).then_some(at - due)
    }
}

/// The processor time of this process, where the system tells it, in steps of 10 ms.
fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).flat_map(str::parse::<u64>).sum();
    Some(Duration::from_millis(ticks * 10))
}
