//! Plugins and hosts over the gRPC libraries of Python and Node. Where a library is missing, a test says so
//! and does nothing.
#![cfg(all(feature = "grpc", unix))]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod grpc;
mod socket;

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::join_all;
use grpc::{PATIENCE, Server};
use serde::{Deserialize, Serialize};
use tokio::{task::spawn_blocking, time::timeout};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    Call, Endpoint, Quota, RateLimitLayer, Reply,
    auth::{Credentials, RequireAuthLayer},
    connect::Connect,
    error::Kind,
    member::Member,
    plugin::{HealthStatus, PluginInfo, PluginStatus},
    serve,
    transport::{GrpcService, GrpcTransport},
};

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
struct Tax {
    #[prost(uint64, tag = "1")]
    net: u64,
    #[prost(uint64, tag = "2")]
    #[serde(default)]
    sleep_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
struct Gross {
    #[prost(uint64, tag = "1")]
    gross: u64,
    #[prost(string, tag = "2")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    tenant: String,
}

/// An interpreter, the end of its programs' names, and what tells whether it has its library of gRPC.
type Language = (&'static str, &'static str, [&'static str; 2]);

const PYTHON: Language = ("python3", "py", ["-c", "import grpc"]);
const NODE: Language = ("node", "mjs", ["-e", "require('@grpc/grpc-js')"]);

/// The program in a language, or `None` if it cannot run here.
fn program((interpreter, extension, test): Language) -> Option<Command> {
    let is_here = Command::new(interpreter).args(test).stderr(Stdio::null()).status();
    if !is_here.is_ok_and(|status| status.success()) {
        println!("SKIP: `over_grpc.{extension}` needs `{interpreter}` with `{}`", test[1]);
        return None;
    }
    let file = format!("{}/tests/peers/over_grpc.{extension}", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(interpreter);
    command.arg(file);
    Some(command)
}

/// A plugin in another process, which ends when this is dropped.
struct Peer {
    address: String,
    socket: PathBuf,
    process: Child,
}

impl Peer {
    fn start(language: Language) -> Option<Self> {
        let mut command = program(language)?;
        let socket = socket::new_path();
        command.arg("plugin").arg(&socket).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut address = String::new();
        let output = process.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut address).unwrap();
        Some(Self { address: address.trim_end().to_owned(), socket, process })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Calls a plugin in another language in each way in which it can be called.
async fn calls(service: GrpcService<Tax, Gross>) {
    let health = service.health().await;
    assert_eq!((health.status, &*health.message), (PluginStatus::Degraded, "cold"), "{health:?}");
    assert_eq!(service.info().await.unwrap().name, "tax");
    let tax = |net, sleep_ms| Call::new(Tax { net, sleep_ms });
    let all = (1..50).map(|number| {
        let called = service.clone().oneshot(tax(number * 100, 0).with_header("X-Tenant", "blue"));
        async move {
            let tenant = "blue".to_owned();
            assert_eq!(called.await.unwrap().into_body(), Gross { gross: number * 122, tenant });
        }
    });
    join_all(all).await;
    let error = service.clone().oneshot(tax(0, 0)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Plugin, "{error}");
    assert!(error.to_string().contains("nothing to tax: 0 < 1 & ü"), "{error}");
    let error = service.clone().oneshot(tax(1, 0)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Transport, "{error}");
    assert!(error.retry_after().is_some_and(|wait| wait > Duration::from_millis(500)), "{error}");
    // One that is given up does not disturb those after it.
    for _ in 0..3 {
        let late = tax(100, 500).with_timeout(Duration::from_millis(50));
        let error = service.clone().oneshot(late).await.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, false), "{error}");
        let reply = service.clone().oneshot(tax(200, 0)).await.unwrap();
        assert_eq!(reply.into_body().gross, 244);
    }
}

async fn plugin(language: Language) {
    let Some(mut peer) = Peer::start(language) else { return };
    let member = Member::new(peer.address.parse::<Endpoint>().unwrap());
    let service = GrpcTransport::new().connect(&member);
    timeout(PATIENCE, calls(service.clone())).await.unwrap();
    let over_socket = format!("{}", peer.socket.display()).replace('/', "%2F");
    let member = Member::new(format!("grpc+unix://{over_socket}").parse::<Endpoint>().unwrap());
    timeout(PATIENCE, calls(GrpcTransport::new().connect(&member))).await.unwrap();
    peer.process.kill().unwrap();
    peer.process.wait().unwrap();
    let error = service.oneshot(Call::new(Tax { net: 1, sleep_ms: 0 })).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Connection, "{error}");
}

/// Has a host in another language call our plugin.
async fn host(language: Language) {
    let tax = service_fn(async |call: Call<Tax>| match call.body().net {
        0 => Err(std::io::Error::other("nothing to tax: 0 < 1 & ü")),
        net => Ok(Reply::new(Gross { gross: net * 122 / 100, tenant: String::new() })),
    });
    // Of which the host's last call is one too many.
    let limit = RateLimitLayer::new(Quota::per_minute(1).burst(1));
    let last = ServiceBuilder::new().layer(limit).service(tax);
    last.clone().oneshot(Call::new(Tax { net: 2, sleep_ms: 0 })).await.unwrap();
    let ill = Arc::new(AtomicBool::new(false));
    let changes = ill.clone();
    let plugin = service_fn(move |call: Call<Tax>| {
        let (last, changes) = (last.clone(), changes.clone());
        async move {
            match call.body().net {
                2 => last.oneshot(call).await,
                3 => {
                    changes.fetch_xor(true, SeqCst);
                    tax.oneshot(call).await.map_err(tower_upstream::Error::from_service)
                }
                _ => tax.oneshot(call).await.map_err(tower_upstream::Error::from_service),
            }
        }
    });
    let health = move || {
        let is_ill = ill.load(SeqCst);
        async move { if is_ill { HealthStatus::unhealthy("") } else { HealthStatus::healthy() } }
    };
    let served = serve::grpc(plugin)
        .both()
        .info(PluginInfo::new("tax", "1.0.0"))
        .health(health)
        .watch_interval(Duration::from_millis(10));
    // By the keys of Go.
    let proofs = [Credentials::api_key("k-17"), Credentials::basic("tax", "s3cret")];
    let served = RequireAuthLayer::new(proofs).layer(served);
    let server = Server::new(served.clone()).await;
    let socket = format!("unix:{}", socket::new_path().display());
    let behind = serve::http_service(served, socket.as_str()).listen().await.unwrap();
    let behind = tokio::spawn(behind.run_until(std::future::pending()));
    for address in [server.address.to_string(), socket] {
        let Some(mut command) = program(language) else { return };
        command.args(["host", &address]);
        let running = spawn_blocking(move || command.output().unwrap());
        let output = timeout(PATIENCE, running).await.expect("the host hangs").unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        let right = told.trim().strip_prefix("right: ").and_then(|of| of.parse::<usize>().ok());
        let is_well = output.status.success() && right.is_some_and(|right| right >= 20);
        assert!(is_well, "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    behind.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_in_python_is_called() {
    plugin(PYTHON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_in_node_is_called() {
    plugin(NODE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_in_python_calls_our_plugin() {
    host(PYTHON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_in_node_calls_our_plugin() {
    host(NODE).await;
}
