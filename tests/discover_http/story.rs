//! The whole of it: a balancer under load, while services come, change, drain and vanish, and while nothing
//! tells what it is any more.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use http::Request;
use http_body_util::BodyExt;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt};
use tower_upstream::{
    Attempts, BalanceLayer, Endpoint, FailoverLayer, LeastRequest, connect_fn,
    dial::TcpConnector,
    discover::{FarpConfig, Filtered, WatchHandle},
    http::{HttpClassify, OriginLayer},
};

use crate::{
    document,
    server::{Answer, DISCOVERY, MANIFEST, Server},
    support::{ms, secs},
    watch,
};

#[derive(Default)]
struct Load {
    calls: AtomicU64,
    failed: AtomicU64,
    is_over: AtomicBool,
}

/// A service that works.
async fn service(id: &str) -> Server {
    let server = Server::of(&document(id, 0)).await;
    server.does("/tax", Answer::Is(200, &[], "22 %".to_owned()));
    manifest(&server, "healthy");
    server
}

fn manifest(server: &Server, status: &str) {
    let manifest = format!(r#"{{"version":"1.1.0","instance":{{"status":"{status}"}}}}"#);
    server.does(MANIFEST, Answer::Is(200, &[], manifest));
}

fn dies(server: &Server) {
    for path in [DISCOVERY, MANIFEST, "/tax"] {
        server.does(path, Answer::Closes);
    }
}

/// Waits until the set is what it should be, and tells how long that took.
async fn converges<S: tower_upstream::discover::Source>(
    handle: &WatchHandle<S>,
    what: &str,
    keys: &[&str],
) {
    let start = Instant::now();
    let usable = || {
        let set = handle.set()?;
        let usable = set.iter().filter(|endpoint| !endpoint.is_draining());
        Some(usable.map(|endpoint| endpoint.key().to_owned()).collect::<Vec<_>>())
    };
    while usable().is_none_or(|usable| usable != keys) {
        assert!(start.elapsed() < secs(60), "{what}: {:?}", handle.set());
        tokio::time::sleep(ms(10)).await;
    }
    println!("{what}: {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_balancer_under_load_loses_no_call_whatever_the_services_do() {
    let (one, two, three) = (service("1").await, service("2").await, service("3").await);
    // It is not there yet.
    dies(&three);
    let config = FarpConfig::default().with_manifest(true);
    let endpoints = watch(&[&one, &two, &three], config);
    let handle = endpoints.handle();
    let client: Client<_, http_body_util::Full<bytes::Bytes>> =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(TcpConnector::new());
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)).with_classify(HttpClassify))
        .layer(BalanceLayer::new(Filtered::service(endpoints, "tax"), LeastRequest::new()))
        .layer(OriginLayer::new())
        .service(connect_fn(move |_: &Endpoint| client.clone()));
    let load = Arc::new(Load::default());
    let workers = (0..4).map(|_| {
        let (stack, load) = (stack.clone(), load.clone());
        tokio::spawn(async move {
            while !load.is_over.load(SeqCst) {
                let request = Request::get("/tax").body(http_body_util::Full::default()).unwrap();
                let answer = stack.clone().oneshot(request).await;
                load.calls.fetch_add(1, SeqCst);
                let is_good = match answer {
                    Ok(answer) => answer.into_body().collect().await.is_ok(),
                    Err(error) => {
                        println!("{error}");
                        false
                    }
                };
                load.failed.fetch_add(u64::from(!is_good), SeqCst);
                tokio::time::sleep(ms(100)).await;
            }
        })
    });
    let workers: Vec<_> = workers.collect();

    converges(&handle, "the first answer", &["1", "2"]).await;
    three.tells(&document("3", 0));
    three.does("/tax", Answer::Is(200, &[], String::new()));
    manifest(&three, "healthy");
    converges(&handle, "one joins", &["1", "2", "3"]).await;
    manifest(&two, "draining");
    converges(&handle, "one drains", &["1", "3"]).await;
    manifest(&two, "healthy");
    converges(&handle, "it is back", &["1", "2", "3"]).await;
    dies(&one);
    converges(&handle, "one is killed", &["2", "3"]).await;
    // Nothing tells what it is, and all work.
    for server in [&two, &three] {
        server.does(DISCOVERY, Answer::Closes);
    }
    tokio::time::sleep(secs(300)).await;
    for (server, id) in [(&two, "2"), (&three, "3")] {
        server.tells(&document(id, 0));
    }
    converges(&handle, "after five minutes of silence", &["2", "3"]).await;
    load.is_over.store(true, SeqCst);
    for worker in workers {
        worker.await.unwrap();
    }
    let (calls, failed) = (load.calls.load(SeqCst), load.failed.load(SeqCst));
    println!("{calls} calls, {failed} failed");
    assert!(calls > 5_000 && failed == 0, "{calls} calls, {failed} failed");
}
