//! Servers of axum that announce themselves: when they listen, and until they stop. No call fails.
//!
//! ```text
//! cargo run --features http --example announce_axum
//! ```
//! The registry is in memory, so that the example needs nothing else; any other `Registrar` takes its place.
//! Three servers come one after another, and stop one after another, under load.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use axum::{Router, routing::get};
use bytes::Bytes;
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, Endpoint, FailoverLayer, LeastRequest, connect_fn,
    discover::{MemoryRegistry, Registrar, Registry},
    endpoint::Status,
    http::{HttpClassify, OriginLayer},
};

static DONE: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);

/// How long clients take to notice that a server drains: what their registry needs.
const NOTICE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves until `stop` tells it to end, or is dropped.
async fn serve<R: Registrar>(
    registry: Registry<R>,
    stop: oneshot::Receiver<()>,
) -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = Endpoint::new(format!("http://{}", listener.local_addr()?))?;
    // From here on connections are accepted, so callers may come.
    let announced = registry.register("tax", endpoint.with_status(Status::Passing))?;
    let app = Router::new().route("/tax", get(async || "22 %"));
    let stopping = async {
        let _ = stop.await;
        announced.drain();
        // A registry that does not answer does not keep a server from stopping.
        let _ = announced.registered(PATIENCE).await;
        sleep(NOTICE).await;
    };
    // The calls that are in flight finish; connections that idle are closed.
    let (ends, ended) = oneshot::channel::<()>();
    let serving = axum::serve(listener, app).with_graceful_shutdown(async {
        let _ = ended.await;
    });
    let serving = tokio::spawn(serving.into_future());
    stopping.await;
    drop(ends);
    timeout(PATIENCE, serving).await???;
    announced.deregister(PATIENCE).await?;
    Ok(())
}

type Server = (oneshot::Sender<()>, JoinHandle<Result<(), BoxError>>);

fn start(registry: &Registry<MemoryRegistry>) -> Server {
    let (stop, stopped) = oneshot::channel();
    (stop, tokio::spawn(serve(registry.clone(), stopped)))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let backend = MemoryRegistry::new();
    let registry = Registry::new(backend.clone());
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let connector = connect_fn(move |_: &Endpoint| {
        let client = client.clone();
        service_fn(move |request: http::Request<Bytes>| {
            let client = client.clone();
            async move {
                let response = client.execute(request.try_into()?).await?;
                Ok::<http::Response<reqwest::Body>, reqwest::Error>(response.into())
            }
        })
    });
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)).with_classify(HttpClassify))
        .layer(BalanceLayer::new(backend.service("tax"), LeastRequest::new()))
        .layer(OriginLayer::new())
        .service(connector);

    let mut servers = vec![start(&registry)];
    while backend.instances("tax").is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    let load = (0..4).map(|_| {
        let stack = stack.clone();
        tokio::spawn(async move {
            while !STOP.load(SeqCst) {
                let request = http::Request::get("/tax").body(Bytes::new()).unwrap_or_default();
                if let Err(error) = stack.clone().oneshot(request).await {
                    println!("{error}");
                    FAILED.fetch_add(1, SeqCst);
                }
                DONE.fetch_add(1, SeqCst);
            }
        })
    });
    let load: Vec<_> = load.collect();
    for _ in 0..2 {
        more(200).await;
        servers.push(start(&registry));
    }
    more(200).await;
    println!("{} servers are announced", backend.instances("tax").len());
    while servers.len() > 1 {
        let (stop, stopped) = servers.remove(0);
        drop(stop);
        stopped.await??;
        more(200).await;
    }
    println!("{} server is announced", backend.instances("tax").len());
    STOP.store(true, SeqCst);
    for worker in load {
        worker.await?;
    }
    let (stop, stopped) = servers.remove(0);
    drop(stop);
    stopped.await??;
    println!("nothing is left: {}", backend.instances("tax").is_empty());
    println!("calls: {}, failed: {}", DONE.load(SeqCst), FAILED.load(SeqCst));
    Ok(())
}

/// Waits until so many more calls are done.
async fn more(calls: u64) {
    let until = DONE.load(SeqCst) + calls;
    while DONE.load(SeqCst) < until {
        sleep(Duration::from_millis(1)).await;
    }
}
