//! What a call of a transport costs beside the bare library that does the same.
//!
//! ```text
//! cargo bench --features http --bench transports               about a minute
//! cargo bench --features http --bench transports -- --json     one JSON object
//! ```
//! An echo of 100 bytes over loopback, by 1, 16 and 256 callers at once. The server is a thread of its own, which
//! writes the same bytes for each request; all callers and the tasks of their connections are one thread, of which
//! `/proc` has the CPU time (Linux only). Rounds of the contenders follow each other in turn, so that what else
//! the machine does meets all of them; the median round counts.
//!
//! Bare is hyper-util's client with `serde_json`: the same dialler, bytes, bounds and time limit.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that is set up wrongly shall stop, and prints"
)]
#![allow(clippy::disallowed_types, reason = "what is measured is real time")]

use std::{
    fs,
    future::Future,
    net::SocketAddr,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime,
    task::LocalSet,
};
use tower::Service;
use tower_upstream::{
    Call, Endpoint,
    connect::Connect,
    dial::TcpConnector,
    member::Member,
    transport::{HttpService, HttpTransport},
};

const CALLERS: [usize; 3] = [1, 16, 256];
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(250);

fn main() {
    let json = std::env::args().any(|arg| arg == "--json");
    let address = server();
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut rows = Vec::new();
    for callers in CALLERS {
        let ours = Ours::new(address);
        let bare = [Bare::new(address), Bare::new(address)];
        let mut rounds = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            rounds[0].push(round(&runtime, callers, || bare[0].call()));
            rounds[1].push(round(&runtime, callers, || ours.call()));
            rounds[2].push(round(&runtime, callers, || bare[1].call()));
        }
        let [bare, ours, again] = rounds.map(median);
        rows.push((callers, [("bare", bare), ("HttpTransport", ours), ("bare again", again)]));
    }
    if json {
        print_json(&rows);
    } else {
        print_table(&rows);
    }
}

type Row = (usize, [(&'static str, Round); 3]);

fn print_table(rows: &[Row]) {
    println!("an echo of 100 bytes over HTTP/1.1 on loopback; CPU of the callers' thread\n");
    println!("callers  client             calls/s   CPU/call   over bare      p50      p99");
    for (callers, of_callers) in rows {
        let bare = of_callers[0].1.cpu;
        for (name, round) in of_callers {
            println!(
                "{callers:>7}  {name:<16} {:>9.0}  {:>6.2} µs     {:>+5.1} %  {:>6.1} µs {:>6.1} µs",
                round.calls_per_second,
                round.cpu,
                (round.cpu / bare - 1.0) * 100.0,
                round.p50,
                round.p99,
            );
        }
    }
}

fn print_json(rows: &[Row]) {
    let rows = rows.iter().flat_map(|(callers, of_callers)| {
        of_callers.iter().map(move |(name, round)| {
            format!(
                r#"{{"callers":{callers},"client":"{name}","calls_per_second":{:.0},"cpu_us":{:.3},"p50_us":{:.1},"p99_us":{:.1}}}"#,
                round.calls_per_second, round.cpu, round.p50, round.p99
            )
        })
    });
    println!("{{\"http_echo\":[{}]}}", rows.collect::<Vec<_>>().join(","));
}

/// The question and its answer, of 100 bytes of data.
#[derive(Serialize)]
struct Question<'a> {
    data: &'a str,
    request_id: &'a str,
    timeout: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    data: String,
    #[allow(dead_code, reason = "it is parsed, as ours is")]
    request_id: String,
}

fn echoed() -> String {
    "x".repeat(100)
}

struct Ours(HttpService<String, String>);

impl Ours {
    fn new(address: SocketAddr) -> Self {
        let member = Member::new(Endpoint::new(format!("http://{address}/echo")).expect("one"));
        Self(HttpTransport::new().connect(&member))
    }

    fn call(&self) -> impl Future<Output = usize> + 'static {
        let mut service = self.0.clone();
        async move {
            let call = service.call(Call::new(echoed()).with_id("r-1"));
            call.await.expect("it answers").into_body().len()
        }
    }
}

struct Bare {
    client: Client<TcpConnector, Full<Bytes>>,
    url: http::Uri,
}

impl Bare {
    fn new(address: SocketAddr) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(90))
            .pool_max_idle_per_host(64)
            .http1_max_buf_size(64 << 10)
            .http1_title_case_headers(true)
            .build(TcpConnector::new());
        Self { client, url: format!("http://{address}/echo").parse().expect("a URL") }
    }

    fn call(&self) -> impl Future<Output = usize> + 'static {
        let (client, url) = (self.client.clone(), self.url.clone());
        async move {
            let data = echoed();
            let question = Question { data: &data, request_id: "r-1", timeout: "0s" };
            let body = serde_json::to_vec(&question).expect("it can be written");
            let request = http::Request::post(url)
                .header("content-type", "application/json")
                .header("user-agent", "go-plugins/1.0")
                .header("x-request-id", "r-1")
                .header("accept-encoding", "gzip")
                .body(Full::from(body))
                .expect("a request");
            let exchange = async {
                let response = client.request(request).await.expect("it answers");
                let body = Limited::new(response.into_body(), 16 << 20).collect().await;
                let body = body.expect("all of it").to_bytes();
                serde_json::from_slice::<Answer>(&body).expect("an answer").data.len()
            };
            tokio::time::timeout(Duration::from_secs(30), exchange).await.expect("in time")
        }
    }
}

struct Round {
    calls_per_second: f64,
    /// Of one call, in microseconds, like the rest.
    cpu: f64,
    p50: f64,
    p99: f64,
}

/// `callers` tasks call in turn, for the time of a round.
fn round<F>(runtime: &runtime::Runtime, callers: usize, call: impl Fn() -> F) -> Round
where
    F: Future<Output = usize> + 'static,
{
    let call = Rc::new(call);
    let mut latencies = Vec::new();
    let (mut cpu, mut took) = (0, Duration::ZERO);
    LocalSet::new().block_on(runtime, async {
        let (begun, cpu_before) = (Instant::now(), cpu_nanos());
        let ends = begun + ROUND;
        let tasks = (0..callers).map(|_| async {
            let mut latencies = Vec::new();
            loop {
                let start = Instant::now();
                if start >= ends {
                    return latencies;
                }
                assert_eq!(call().await, 100);
                latencies.push(start.elapsed().as_nanos() as f64 / 1e3);
            }
        });
        latencies = futures::future::join_all(tasks).await.concat();
        (cpu, took) = (cpu_nanos() - cpu_before, begun.elapsed());
    });
    latencies.sort_by(f64::total_cmp);
    let calls = latencies.len();
    Round {
        calls_per_second: calls as f64 / took.as_secs_f64(),
        cpu: cpu as f64 / 1e3 / calls as f64,
        p50: latencies[calls / 2],
        p99: latencies[calls * 99 / 100],
    }
}

/// Each number by itself.
fn median(rounds: Vec<Round>) -> Round {
    let of = |get: fn(&Round) -> f64| {
        let mut all: Vec<_> = rounds.iter().map(get).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    Round {
        calls_per_second: of(|round| round.calls_per_second),
        cpu: of(|round| round.cpu),
        p50: of(|round| round.p50),
        p99: of(|round| round.p99),
    }
}

/// The CPU time of this thread.
fn cpu_nanos() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("a number")
}

/// Answers every request with the same bytes, on a thread of its own.
fn server() -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            tell.send(listener.local_addr().expect("bound")).expect("it waits");
            let body = format!(r#"{{"data":"{}","request_id":"r-1"}}"#, echoed());
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
            let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            while let Ok((mut stream, _)) = listener.accept().await {
                let answer = answer.clone();
                stream.set_nodelay(true).expect("open");
                tokio::spawn(async move {
                    let mut bytes = Vec::with_capacity(4_096);
                    while let Ok(1..) = stream.read_buf(&mut bytes).await {
                        if bytes.ends_with(b"}") {
                            bytes.clear();
                            if stream.write_all(answer.as_bytes()).await.is_err() {
                                break;
                            }
                        }
                    }
                });
            }
        });
    });
    told.recv().expect("it starts")
}
