//! An HTTP server with TLS, called by our own transport: certificates that change, and clients that must
//! show one.
#![cfg(feature = "tls")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/tls.rs"]
mod tls;

use std::{convert::Infallible, time::Duration};

use tls::{Authority, Files};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::Instant,
};
use tower::{Layer, ServiceExt, service_fn};
use tower_upstream::{
    Call, Endpoint, Error, HttpCheck, Reply,
    auth::{Credentials, RequireAuthLayer},
    connect::Connect,
    dial::{ServerTlsConfig, TlsConfig},
    error::Kind,
    health::{Check, Verdict},
    member::Member,
    serve::{self, HttpServerConfig},
    transport::{HttpConfig, HttpTransport},
};

struct Running {
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// A plugin that doubles for those who show a certificate, or a token.
async fn run(tls: ServerTlsConfig) -> Running {
    let plugin = serve::http(service_fn(|call: Call<u64>| async move {
        Ok::<_, Infallible>(Reply::new(call.body() * 2))
    }));
    let guarded =
        RequireAuthLayer::new([Credentials::mtls(), Credentials::bearer("abc")]).layer(plugin);
    let config =
        HttpServerConfig::default().with_header_timeout(Duration::from_secs(5)).with_tls(tls);
    let server = serve::http_service(guarded, "127.0.0.1:0").config(config).listen().await.unwrap();
    let port = server.address().strip_prefix("https://127.0.0.1:").unwrap().parse().unwrap();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(server.run_until(async { drop(stopped.await) }));
    Running { port, stop: Some(stop), task }
}

impl Running {
    fn member(&self) -> std::sync::Arc<Member> {
        Member::new(format!("https://localhost:{}", self.port).parse::<Endpoint>().unwrap())
    }

    /// A call on a connection of its own.
    async fn call(&self, tls: &TlsConfig, credentials: Credentials) -> Result<u64, Error> {
        let config = HttpConfig::default().with_tls(tls.clone());
        let service = HttpTransport::<u64, u64>::with_config(config).connect(&self.member());
        let call = Call::new(3).with_credentials(credentials);
        service.oneshot(call).await.map(Reply::into_body)
    }
}

fn server_files(files: &Files, authority: &Authority) -> ServerTlsConfig {
    let server = authority.identity("localhost", |_| {});
    ServerTlsConfig::new(
        files.write("server.pem", &server.pem),
        files.write("server.key", &server.key_pem),
    )
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_and_credentials_are_asked_for() {
    let (files, authority) = (Files::new(), Authority::new());
    let mut server = run(server_files(&files, &authority)).await;
    let tls = TlsConfig::default().with_ca_file(files.write("ca.pem", &authority.pem));
    for tls in [tls.clone(), tls.clone().with_http2(false)] {
        assert_eq!(server.call(&tls, Credentials::bearer("abc")).await.unwrap(), 6);
        let error = server.call(&tls, Credentials::bearer("abd")).await.unwrap_err();
        assert!(error.to_string().contains("401"), "{error}");
        // No certificate was asked for, so none was shown.
        assert!(server.call(&tls, Credentials::mtls()).await.is_err());
    }
    // A health check, which trusts the same authority.
    let ask = HttpCheck::get("/health").header("authorization", "Bearer abc").expect(200..=299);
    let endpoint = Some(server.member().endpoint());
    assert_eq!(ask.clone().tls(tls.clone()).check(endpoint.clone()).await, Verdict::Healthy);
    let url = format!("https://localhost:{}/health", server.port);
    let by_url = HttpCheck::get(url).header("authorization", "Bearer abc").tls(tls);
    assert_eq!(by_url.check(None).await, Verdict::Healthy);
    let other = TlsConfig::default().with_ca_file(files.write("other.pem", &Authority::new().pem));
    let Verdict::Unhealthy(reason) = ask.tls(other).check(endpoint).await else {
        panic!("an authority that is not trusted");
    };
    assert!(reason.contains("certificate"), "{reason}");
    drop(server.stop.take());
    server.task.await.unwrap();
}

#[tokio::test]
async fn a_client_without_a_certificate_of_the_authority_is_refused_where_one_is_required() {
    let (files, authority, strangers) = (Files::new(), Authority::new(), Authority::new());
    let ca = files.write("ca.pem", &authority.pem);
    let server = run(server_files(&files, &authority).with_client_ca_file(&ca)).await;
    let tls = TlsConfig::default().with_ca_file(&ca);
    let certified = |name: &str, by: &Authority| {
        let client = by.identity("client", |_| {});
        let (pem, key) = (format!("{name}.pem"), format!("{name}.key"));
        tls.clone().with_client_certificate(
            files.write(&pem, &client.pem),
            files.write(&key, &client.key_pem),
        )
    };
    let own = certified("own", &authority);
    assert_eq!(server.call(&own, Credentials::mtls()).await.unwrap(), 6);
    assert_eq!(server.call(&own.clone().with_http2(false), Credentials::none()).await.unwrap(), 6);
    for tls in [tls.clone(), certified("strange", &strangers)] {
        let error = server.call(&tls, Credentials::bearer("abc")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Connection, "{error}");
    }
}

#[tokio::test]
async fn files_are_read_again_for_the_next_connection_after_they_changed() {
    let (files, old, new) = (Files::new(), Authority::new(), Authority::new());
    let server = run(server_files(&files, &old)).await;
    let trusting = |name: &str, authority: &Authority| {
        TlsConfig::default().with_ca_file(files.write(name, &authority.pem))
    };
    let (trusts_old, trusts_new) = (trusting("old.pem", &old), trusting("new.pem", &new));
    assert!(server.call(&trusts_old, Credentials::bearer("abc")).await.is_ok());
    // Half of a change cannot be used, and the former stay in use.
    files.write("server.pem", "rubbish");
    assert!(server.call(&trusts_old, Credentials::bearer("abc")).await.is_ok());
    server_files(&files, &new);
    assert!(server.call(&trusts_new, Credentials::bearer("abc")).await.is_ok());
    assert!(server.call(&trusts_old, Credentials::bearer("abc")).await.is_err());
}

#[tokio::test]
async fn files_that_cannot_be_used_are_told_before_anyone_connects() {
    let files = Files::new();
    let tls = ServerTlsConfig::new(files.write("server.pem", "rubbish"), "/nowhere/server.key");
    let plugin = serve::http(service_fn(|call: Call<u64>| async move {
        Ok::<_, Infallible>(Reply::new(*call.body()))
    }));
    let config = HttpServerConfig::default().with_tls(tls);
    let error = plugin.bind("127.0.0.1:0").config(config).listen().await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    assert!(error.to_string().contains("key_file"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_end_is_cut_off() {
    let (files, authority) = (Files::new(), Authority::new());
    let server = run(server_files(&files, &authority)).await;
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    // The beginning of a record of 512 bytes.
    stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    let start = Instant::now();
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(start.elapsed() >= Duration::from_secs(5) && start.elapsed() < Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_end_delays_no_stop() {
    let (files, authority) = (Files::new(), Authority::new());
    let mut server = run(server_files(&files, &authority)).await;
    let mut silent = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    silent.write_all(&[22, 3, 1]).await.unwrap();
    // Answered once all before it were accepted.
    let tls = TlsConfig::default().with_ca_file(files.write("ca.pem", &authority.pem));
    assert_eq!(server.call(&tls, Credentials::bearer("abc")).await.unwrap(), 6);
    let start = Instant::now();
    drop(server.stop.take());
    server.task.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    drop(silent);
}
