//! HTTP over a Unix socket, at both ends.
#![cfg(all(feature = "http", unix))]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod socket;

use std::{convert::Infallible, os::unix::fs::MetadataExt, path::Path, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::oneshot,
    task::JoinHandle,
};
use tower::{ServiceExt, service_fn};
use tower_upstream::{
    Call, Endpoint, Error, HttpCheck, Reply,
    auth::Credentials,
    connect::Connect,
    discover,
    error::{Code, Kind},
    health::{Check, Verdict},
    member::Member,
    plugin::{PluginInfo, PluginStatus},
    serve::{self, HttpServerConfig},
    transport::{HttpConfig, HttpService, HttpTransport},
};

fn new_path() -> String {
    socket::new_path().display().to_string()
}

struct Running {
    address: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

async fn run(path: &str, config: HttpServerConfig) -> Running {
    let plugin = serve::http(service_fn(|call: Call<u64>| async move {
        Ok::<_, Infallible>(Reply::new(call.body() * 2))
    }));
    let plugin = plugin.info(PluginInfo::new("double", "1.0.0"));
    let server = plugin.bind(format!("unix:{path}")).config(config).listen().await.unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(server.run_until(async { drop(stopped.await) }));
    Running { address, stop: Some(stop), task }
}

fn member(address: &str) -> Arc<Member> {
    Member::new(address.parse::<Endpoint>().unwrap())
}

fn connect(config: HttpConfig, address: &str) -> HttpService<u64, u64> {
    HttpTransport::with_config(config).connect(&member(address))
}

#[tokio::test]
async fn the_health_of_a_plugin_may_be_served_by_another_socket_or_host() {
    let plugin = run(&new_path(), HttpServerConfig::default()).await;
    let elsewhere = run(&new_path(), HttpServerConfig::default()).await;
    let health = async |path: String| {
        let config = HttpConfig::default().with_health_path(path);
        connect(config, &plugin.address).health().await
    };
    let other = format!("{}/health", elsewhere.address);
    let status = health(other.clone()).await;
    assert_eq!(status.status, PluginStatus::Healthy, "{status:?}");
    assert_eq!(health("/health".to_owned()).await.status, PluginStatus::Healthy);
    drop(elsewhere.stop);
    elsewhere.task.await.unwrap();
    // Not by the plugin, which would answer.
    assert_ne!(health(other).await.status, PluginStatus::Healthy);
    assert_ne!(health("http://127.0.0.1:1/health".to_owned()).await.status, PluginStatus::Healthy);
    let status = health("http+unix://run/health".to_owned()).await;
    assert!(status.message.contains("must be absolute"), "{status:?}");
}

#[tokio::test]
async fn calls_health_and_info_go_over_a_socket_and_connections_are_kept() {
    let path = new_path();
    let mut server = run(&path, HttpServerConfig::default()).await;
    assert_eq!(server.address, format!("http+unix://{}", path.replace('/', "%2F")));
    let transport = HttpTransport::<u64, u64>::new();
    let service = transport.connect(&member(&format!("{}/rpc/tax", server.address)));
    for number in 1..4 {
        let call = Call::new(number).with_credentials(Credentials::bearer("stays on this host"));
        assert_eq!(service.clone().oneshot(call).await.unwrap().into_body(), number * 2);
    }
    assert_eq!(transport.handle().connections(), 1);
    assert_eq!(service.health().await.status, PluginStatus::Healthy);
    assert_eq!(service.info().await.unwrap().name, "double");
    let check = HttpCheck::get("/health").expect(200..=200);
    let endpoint = Arc::new(server.address.parse::<Endpoint>().unwrap());
    assert_eq!(check.check(Some(endpoint)).await, Verdict::Healthy);
    // Only this user may connect, and the file goes with the server.
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    drop(server.stop.take());
    server.task.await.unwrap();
    assert!(!Path::new(&path).exists());
    let error = service.oneshot(Call::new(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true));
    assert!(error.to_string().contains("does not exist"), "{error}");
}

#[tokio::test]
async fn what_is_sent_is_what_curl_sends_over_a_socket() {
    let path = new_path();
    let listener = UnixListener::bind(&path).unwrap();
    let address = format!("http+unix://{}/rpc/tax", path.replace('/', "%2f"));
    let service = connect(HttpConfig::default(), &address);
    let call = tokio::spawn(service.oneshot(Call::new(3)));
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"}") {
        stream.read_buf(&mut bytes).await.unwrap();
    }
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("POST /rpc/tax HTTP/1.1\r\n"), "{text}");
    assert!(text.contains("\r\nHost: localhost\r\n"), "{text}");
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"data\":7}").await.unwrap();
    assert_eq!(call.await.unwrap().unwrap().into_body(), 7);
}

#[tokio::test]
async fn a_socket_of_another_user_gets_no_byte() {
    let path = new_path();
    let listener = UnixListener::bind(&path).unwrap();
    let own = std::fs::metadata(&path).unwrap().uid();
    let address = format!("http+unix://{}", path.replace('/', "%2F"));
    let service = connect(HttpConfig::default().with_allowed_uids([own + 1]), &address);
    let error: Error = service.oneshot(Call::new(3)).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), (Code::SECURITY_1801, Kind::Connection));
    assert!(error.is_unsent(), "{error}");
    let (mut stream, _) = listener.accept().await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    // The serving side looks as well, before it reads.
    let path = new_path();
    let config = HttpServerConfig::default().with_allowed_uids([own + 1]);
    let _server = run(&path, config).await;
    let mut stream = UnixStream::connect(&path).await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    let path = new_path();
    let server = run(&path, HttpServerConfig::default().with_allow_any_user(true)).await;
    let config = HttpConfig::default().with_allowed_uids([own + 1]).with_allow_any_user(true);
    let reply = connect(config, &server.address).oneshot(Call::new(3)).await.unwrap();
    assert_eq!(reply.into_body(), 6);
}

#[tokio::test]
async fn paths_that_cannot_be_are_refused() {
    for (address, code) in [
        ("http+unix://%2Frun%2F..%2Fetc%2Fx", Code::SECURITY_1804),
        (&format!("http+unix://%2F{}", "x".repeat(200)), Code::CONFIG_1703),
    ] {
        let error =
            connect(HttpConfig::default(), address).oneshot(Call::new(1)).await.unwrap_err();
        assert_eq!((error.code(), error.kind()), (code, Kind::InvalidConfig), "{error}");
        assert!(error.is_unsent());
    }
    let error = discover::fixed(["http+unix:///run/tax.sock"]).unwrap_err();
    assert!(error.to_string().contains("%2F"), "{error}");
}
