//! Plugins and hosts in Python and Node, which share no code with this crate. Where an interpreter is
//! missing, a test says so and does nothing.
#![cfg(all(feature = "http", unix))]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, task::spawn_blocking, time::timeout};
use tower::{Service, ServiceExt, service_fn};
use tower_upstream::{
    Call, Endpoint, Error, Reply,
    connect::Connect,
    error::Kind,
    member::Member,
    plugin::{PluginHealth, PluginInfo},
    serve,
    transport::{HttpTransport, SocketTransport},
};

/// No test waits longer, whatever goes wrong.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Tax {
    net: u64,
    #[serde(default)]
    sleep_ms: u64,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Gross {
    gross: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    tenant: String,
}

const PYTHON: (&str, &str) = ("python3", "py");
const NODE: (&str, &str) = ("node", "mjs");

/// The program `name` in a language, or `None` if there is no interpreter of it.
fn program((interpreter, extension): (&str, &str), name: &str) -> Option<Command> {
    let version = Command::new(interpreter).arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        println!("SKIP: `{name}.{extension}` needs `{interpreter}`, which is not here");
        return None;
    }
    let file = format!("{}/tests/peers/{name}.{extension}", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(interpreter);
    command.arg(file);
    Some(command)
}

fn new_path() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("tu-peer-{}-{}.sock", std::process::id(), NEXT.fetch_add(1, SeqCst));
    std::env::temp_dir().join(name)
}

/// A plugin in another process, which ends when this is dropped.
struct Peer {
    address: String,
    process: Child,
}

impl Peer {
    fn start(language: (&str, &str), arguments: &[&str]) -> Option<Self> {
        let mut command = program(language, "plugin")?;
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut address = String::new();
        let output = process.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut address).unwrap();
        Some(Self { address: address.trim_end().to_owned(), process })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Calls a plugin in another language in each way in which it can be called.
async fn calls<S>(service: S, fails_with: &str)
where
    S: Service<Call<Tax>, Response = Reply<Gross>, Error = Error> + PluginHealth + Clone,
{
    assert!(service.health().await.status.is_usable());
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
    assert!(error.to_string().contains(fails_with), "{error}");
    // One that is given up does not disturb those after it.
    for _ in 0..3 {
        let late = tax(100, 500).with_timeout(Duration::from_millis(50));
        let error = service.clone().oneshot(late).await.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::Timeout, false), "{error}");
        let reply = service.clone().oneshot(tax(200, 0)).await.unwrap();
        assert_eq!(reply.into_body().gross, 244);
    }
}

fn member(address: &str) -> std::sync::Arc<Member> {
    Member::new(address.parse::<Endpoint>().unwrap())
}

async fn socket_plugin(language: (&str, &str)) {
    let path = new_path();
    let arguments = ["unix", path.to_str().unwrap()];
    let Some(mut peer) = Peer::start(language, &arguments) else { return };
    let service = SocketTransport::<Tax, Gross>::new().connect(&member(&peer.address));
    let info = service.info().await.unwrap();
    assert_eq!((info.name.as_str(), info.version.as_str()), ("tax", "2.1.0"));
    let expected = "remote execution failed: nothing to tax: 0 < 1 & \u{fc}";
    timeout(PATIENCE, calls(service.clone(), expected)).await.unwrap();
    // Another process takes its place.
    peer.process.kill().unwrap();
    peer.process.wait().unwrap();
    let call = || service.clone().oneshot(Call::new(Tax { net: 100, sleep_ms: 0 }));
    let error = call().await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error}");
    std::fs::remove_file(&path).unwrap();
    let peer = Peer::start(language, &arguments).unwrap();
    assert_eq!(call().await.unwrap().into_body().gross, 122);
    drop(peer);
    std::fs::remove_file(path).unwrap();
}

async fn http_plugin(language: (&str, &str)) {
    let Some(peer) = Peer::start(language, &["http"]) else { return };
    let service = HttpTransport::<Tax, Gross>::new().connect(&member(&peer.address));
    assert_eq!(service.info().await.unwrap().name, "tax");
    let expected = "plugin error: nothing to tax: 0 < 1 & \u{fc}";
    timeout(PATIENCE, calls(service, expected)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_in_python_is_called_over_a_unix_socket() {
    socket_plugin(PYTHON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_in_node_is_called_over_a_unix_socket() {
    socket_plugin(NODE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_in_python_is_called_over_http() {
    http_plugin(PYTHON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_in_node_is_called_over_http() {
    http_plugin(NODE).await;
}

#[cfg(feature = "process")]
mod as_processes {
    use super::*;
    use tower_upstream::transport::{ProcessConfig, ProcessTransport};

    async fn process_plugin(language: (&str, &str), multiplexes: bool) {
        let Some(command) = program(language, "plugin") else { return };
        let file = command.get_args().next().unwrap().to_str().unwrap();
        let config =
            ProcessConfig::default().with_args([language.0, file, "stdio"]).with_inherit_env(["*"]);
        let transport = ProcessTransport::<Tax, Gross>::with_config(config);
        let service = transport.connect(&member("exec:/usr/bin/env"));
        let info = service.info().await.unwrap();
        assert_eq!((info.name.as_str(), info.version.as_str()), ("tax", "2.1.0"));
        assert_eq!(info.capabilities.iter().any(|of| of == "multiplex"), multiplexes);
        let expected = "subprocess execution failed: nothing to tax: 0 < 1 & \u{fc}";
        timeout(PATIENCE, calls(service.clone(), expected)).await.unwrap();
        // Another process takes its place.
        let pid = service.info().await.unwrap().metadata["pid"].clone();
        assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        let call = || service.clone().oneshot(Call::new(Tax { net: 100, sleep_ms: 0 }));
        // It may have been read, before the kill.
        let answered = call().await.map(Reply::into_body);
        assert!(answered.is_ok_and(|gross| gross.gross == 122) || call().await.is_ok());
        assert_ne!(service.info().await.unwrap().metadata["pid"], pid);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_plugin_in_python_is_a_child() {
        process_plugin(PYTHON, false).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_plugin_in_node_is_a_child() {
        process_plugin(NODE, true).await;
    }
}

async fn tax(call: Call<Tax>) -> Result<Reply<Gross>, std::io::Error> {
    match call.body().net {
        0 => Err(std::io::Error::other("nothing to tax")),
        net => Ok(Reply::new(Gross { gross: net * 122 / 100, tenant: String::new() })),
    }
}

/// Has a host in another language call our plugin at `address`.
async fn host(language: (&str, &str), address: &str) {
    let Some(mut command) = program(language, "host") else { return };
    command.arg(address);
    let running = spawn_blocking(move || command.output().unwrap());
    let output = timeout(PATIENCE, running).await.expect("the host hangs").unwrap();
    let (told, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let right = told.trim().strip_prefix("right: ").and_then(|count| count.parse::<usize>().ok());
    assert!(output.status.success() && right.is_some_and(|right| right >= 20), "{told}\n{errors}");
}

async fn hosts(language: (&str, &str)) {
    let info = PluginInfo::new("tax", "1.0.0");
    let path = new_path().display().to_string();
    let unix = serve::unix(service_fn(tax), path).info(info.clone()).listen().await.unwrap();
    let tcp = serve::tcp(service_fn(tax), "127.0.0.1:0").info(info.clone()).listen().await.unwrap();
    let addresses = [unix.address(), tcp.address()];
    let serving = [tokio::spawn(unix.run()), tokio::spawn(tcp.run())];
    for address in addresses {
        host(language, &address).await;
    }
    serving.iter().for_each(|server| server.abort());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/rpc/tax", listener.local_addr().unwrap());
    let app = axum::Router::new().fallback_service(serve::http(service_fn(tax)).info(info));
    let serving = tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    host(language, &address).await;
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_in_python_calls_our_plugins() {
    hosts(PYTHON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_in_node_calls_our_plugins() {
    hosts(NODE).await;
}
