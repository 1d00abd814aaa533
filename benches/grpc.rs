//! What a call of a `GrpcTransport` costs beside the bare client of tonic, with the same messages and the same
//! time limit.
//!
//! ```text
//! cargo bench --features grpc --bench grpc
//! ```
//! The server is a thread of its own, which answers the same bytes to each request; all callers and the tasks
//! of their connection are one thread, of which `/proc` has the CPU time (Linux only). Rounds of the
//! contenders follow each other in turn; the median round counts.
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
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpListener, runtime, task::LocalSet};
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};
use tower::ServiceExt;
use tower_upstream::{
    Call, Endpoint,
    connect::Connect,
    grpc::Native,
    member::Member,
    transport::{GrpcService, GrpcTransport},
};

const CALLERS: [usize; 3] = [1, 16, 256];
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(250);
const LIMIT: Duration = Duration::from_secs(30);

type Plugin = GrpcService<HealthCheckRequest, HealthCheckResponse, Native>;

fn main() {
    let address = server();
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    println!("callers  tonic CPU/call  GrpcTransport CPU/call   over tonic");
    for callers in CALLERS {
        let channel = Channel::from_shared(format!("http://{address}")).expect("a URL");
        let tonic = HealthClient::new(channel.timeout(LIMIT).tcp_nodelay(true).connect_lazy());
        let member = Member::new(format!("grpc://{address}").parse::<Endpoint>().expect("one"));
        let ours: Plugin = GrpcTransport::native().connect(&member);
        let mut rounds = [const { Vec::new() }; 2];
        for _ in 0..ROUNDS {
            rounds[0].push(round(&runtime, callers, || {
                let mut client = tonic.clone();
                async move { client.check(asked()).await.expect("an answer").into_inner().status }
            }));
            rounds[1].push(round(&runtime, callers, || {
                let called = ours.clone().oneshot(Call::new(asked()));
                async move { called.await.expect("an answer").into_body().status }
            }));
        }
        let [tonic, ours] = rounds.map(|mut rounds| {
            rounds.sort_by(f64::total_cmp);
            rounds[ROUNDS / 2]
        });
        let over = (ours / tonic - 1.0) * 100.0;
        println!("{callers:>7}  {tonic:>11.2} µs  {ours:>19.2} µs     {over:>+5.1} %");
    }
}

fn asked() -> HealthCheckRequest {
    HealthCheckRequest { service: "x".repeat(100) }
}

/// Microseconds of CPU of one call.
fn round<F>(runtime: &runtime::Runtime, callers: usize, call: impl Fn() -> F) -> f64
where
    F: Future<Output = i32>,
{
    let callers = (0..callers).map(|_| async {
        let (start, mut calls) = (Instant::now(), 0_u32);
        while start.elapsed() < ROUND {
            assert_eq!(call().await, 1);
            calls += 1;
        }
        calls
    });
    let before = cpu();
    let calls = LocalSet::new().block_on(runtime, futures::future::join_all(callers));
    let took = cpu() - before;
    took.as_secs_f64() * 1e6 / f64::from(calls.iter().sum::<u32>())
}

fn cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("nanoseconds"))
}

fn server() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a port");
    let address = listener.local_addr().expect("a port");
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let listener = TcpListener::from_std(listener).expect("a port");
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let server = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(answer)));
            }
        });
    });
    address
}

async fn answer(request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let _ = request.into_body().collect().await;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let message = Full::new(Bytes::from_static(b"\0\0\0\0\x02\x08\x01"));
    let body = message.with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", kind);
    Ok(response)
}

type Trailers = std::future::Ready<Option<Result<HeaderMap, Infallible>>>;
type Answer = http_body_util::combinators::WithTrailers<Full<Bytes>, Trailers>;
