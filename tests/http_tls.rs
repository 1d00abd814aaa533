//! `HttpTransport` over TLS: whom it trusts, what it shows, and what it speaks.
#![cfg(feature = "tls")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/tls.rs"]
mod certificates;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use certificates::{Authority, Files, Identity, acceptor};
use futures::future::join_all;
use http_body_util::Full;
use hyper::{
    Response,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::CertificateParams;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};
use tower::ServiceExt;
use tower_upstream::{
    Call, Endpoint, Error,
    connect::Connect,
    dial::TlsConfig,
    error::Kind,
    member::Member,
    plugin::PluginStatus,
    transport::{HttpConfig, HttpService, HttpTransport, HttpTransportHandle},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// What a server of a test saw.
#[derive(Default)]
struct Seen {
    accepted: AtomicUsize,
    open: AtomicUsize,
    protocols: Mutex<Vec<String>>,
    names: Mutex<Vec<String>>,
    goes_away: Notify,
    answers_late: Notify,
}

/// Serves each connection by `serve`; returns the port.
async fn server<F, Fut>(acceptor: TlsAcceptor, serve: F) -> u16
where
    F: Fn(TlsStream<TcpStream>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // What waits for an acknowledgement waits in real time, also where the clock is paused.
            stream.set_nodelay(true).unwrap();
            let (acceptor, serve) = (acceptor.clone(), serve.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream).await;
                }
            });
        }
    });
    port
}

/// A plugin that answers 7, and `/late` once it may.
async fn plugin(acceptor: TlsAcceptor) -> (u16, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let all = seen.clone();
    let port = server(acceptor, move |stream| {
        let seen = all.clone();
        async move {
            seen.accepted.fetch_add(1, SeqCst);
            seen.open.fetch_add(1, SeqCst);
            let tls = stream.get_ref().1;
            let is_http2 = tls.alpn_protocol() == Some(b"h2");
            let protocol = String::from_utf8(tls.alpn_protocol().unwrap_or_default().to_vec());
            seen.protocols.lock().unwrap().push(protocol.unwrap());
            seen.names.lock().unwrap().push(tls.server_name().unwrap_or_default().to_owned());
            let of_call = seen.clone();
            let service = service_fn(move |request: http::Request<_>| {
                let (seen, path) = (of_call.clone(), request.uri().path().to_owned());
                async move {
                    if path == "/late" {
                        seen.answers_late.notified().await;
                    }
                    Ok::<_, Error>(Response::new(Full::new(Bytes::from("{\"data\":7}"))))
                }
            });
            if is_http2 {
                let connection = http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service);
                let mut connection = std::pin::pin!(connection);
                tokio::select! {
                    _ = connection.as_mut() => {}
                    () = seen.goes_away.notified() => {
                        connection.as_mut().graceful_shutdown();
                        let _ = connection.await;
                    }
                }
            } else {
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            }
            seen.open.fetch_sub(1, SeqCst);
        }
    })
    .await;
    (port, seen)
}

fn connect(url: String, tls: TlsConfig) -> (HttpService<u8, u8>, HttpTransportHandle) {
    connect_with(url, HttpConfig::default().with_tls(tls))
}

fn connect_with(url: String, config: HttpConfig) -> (HttpService<u8, u8>, HttpTransportHandle) {
    let transport = HttpTransport::with_config(config);
    let member = Member::new(Endpoint::new(url).unwrap());
    (transport.connect(&member), transport.handle())
}

async fn call(service: &HttpService<u8, u8>) -> Result<u8, Error> {
    let call = service.clone().oneshot(Call::new(1));
    timeout(PATIENCE, call).await.expect("it hangs").map(|reply| reply.into_body())
}

async fn until(what: impl Fn() -> bool) {
    let waiting = async {
        while !what() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it never comes");
}

#[tokio::test]
async fn an_endpoint_is_trusted_by_a_file_and_speaks_what_both_do() {
    let (files, authority) = (Files::new(), Authority::new());
    let ca = files.write("ca.pem", &authority.pem);
    for (http2, protocol, most) in [(true, "h2", 1), (false, "http/1.1", 20)] {
        let (port, seen) = plugin(acceptor(authority.identity("localhost", |_| {}), None)).await;
        let tls = TlsConfig::default().with_ca_file(&ca).with_http2(http2);
        let (service, handle) = connect(format!("https://localhost:{port}/x"), tls);
        assert_eq!(call(&service).await.unwrap(), 7);
        // All over one connection of HTTP/2.
        let calls = join_all((0..20).map(|_| call(&service))).await;
        assert!(calls.into_iter().all(|answer| answer.ok() == Some(7)));
        assert!(seen.accepted.load(SeqCst) <= most && handle.connections() <= most);
        assert!(seen.protocols.lock().unwrap().iter().all(|spoken| spoken == protocol));
        assert!(seen.names.lock().unwrap().iter().all(|name| name == "localhost"));
        let health = service.health().await;
        assert_eq!(health.status, PluginStatus::Healthy, "{health:?}");
        drop(service);
        until(|| seen.open.load(SeqCst) == 0).await;
    }
}

#[tokio::test]
async fn an_endpoint_that_cannot_prove_who_it_is_gets_nothing() {
    let (files, authority, stranger) = (Files::new(), Authority::new(), Authority::new());
    let ca = files.write("ca.pem", &authority.pem);
    let long_ago = |params: &mut CertificateParams| {
        params.not_before = rcgen::date_time_ymd(1999, 1, 1);
        params.not_after = rcgen::date_time_ymd(2000, 1, 1);
    };
    for (identity, part) in [
        (authority.identity("other.test", |_| {}), "not valid for name"),
        (authority.identity("localhost", long_ago), "expired"),
        (stranger.identity("localhost", |_| {}), "invalid peer certificate"),
    ] {
        let (port, seen) = plugin(acceptor(identity, None)).await;
        let tls = TlsConfig::default().with_ca_file(&ca);
        let (service, handle) = connect(format!("https://localhost:{port}"), tls);
        let error = call(&service).await.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(seen.accepted.load(SeqCst), 0);
        until(|| handle.connections() == 0).await;
        assert!(service.health().await.message.contains(part));
    }
}

#[tokio::test]
async fn an_address_may_be_another_than_the_name_in_the_certificate() {
    let (files, authority) = (Files::new(), Authority::new());
    let tls = TlsConfig::default().with_ca_file(files.write("ca.pem", &authority.pem));
    // What is in the certificate, what is expected, and what is sent along.
    for (certified, name, sent) in [
        ("tax.example.com", "tax.example.com", Some("tax.example.com")),
        ("127.0.0.1", "127.0.0.1", Some("")),
        ("::1", "[::1]", Some("")),
        ("localhost", "tax.example.com", None),
    ] {
        let (port, seen) = plugin(acceptor(authority.identity(certified, |_| {}), None)).await;
        for host in ["127.0.0.1", "localhost"] {
            let tls = tls.clone().with_server_name(name);
            let (service, _) = connect(format!("https://{host}:{port}"), tls);
            let answer = call(&service).await.map_err(|error| error.kind());
            assert_eq!(answer, sent.map(|_| 7).ok_or(Kind::Connection), "{name} at {host}");
        }
        assert!(seen.names.lock().unwrap().iter().all(|name| Some(name.as_str()) == sent));
    }
    for name in ["", "tax example", "tax.example.com:443", "https://tax.example.com", "a/b"] {
        let config = HttpConfig::default().with_tls(tls.clone().with_server_name(name));
        let told = config.validate().unwrap_err().to_string();
        assert!(told.contains("`tls.server_name` must be a host name"), "{told}");
    }
}

#[tokio::test]
async fn a_client_shows_its_certificate_and_reads_it_again_when_it_changes() {
    let (files, authority, stranger) = (Files::new(), Authority::new(), Authority::new());
    let server_identity = authority.identity("localhost", |_| {});
    let (port, seen) = plugin(acceptor(server_identity, Some(&authority))).await;
    let url = format!("https://localhost:{port}");
    let ca = files.write("ca.pem", &authority.pem);
    let trusting = TlsConfig::default().with_ca_file(ca);
    let (without, _) = connect(url.clone(), trusting.clone());
    assert_eq!(call(&without).await.unwrap_err().kind(), Kind::Connection);

    let write = |identity: &Identity| {
        let certificate = files.write("client.pem", &identity.pem);
        (certificate, files.write("client.key", &identity.key_pem))
    };
    let (certificate, key) = write(&stranger.identity("client", |_| {}));
    let (service, handle) = connect(url, trusting.with_client_certificate(certificate, key));
    assert_eq!(call(&service).await.unwrap_err().kind(), Kind::Connection);
    write(&authority.identity("client", |_| {}));
    assert_eq!(call(&service).await.unwrap(), 7);
    // Half of the next pair is of no use.
    files.write("client.pem", &stranger.identity("client", |_| {}).pem);
    let again = handle.config().with_connect_timeout(Duration::from_secs(4));
    handle.update(&again).unwrap();
    assert_eq!(call(&service).await.unwrap(), 7);
    assert_eq!(seen.accepted.load(SeqCst), 2);
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_and_nothing_is_sent() {
    let files = Files::new();
    let empty = files.write("ca.pem", "no certificate");
    for (path, part) in [(files.0.join("absent.pem"), "absent.pem"), (empty, "tls.ca_file")] {
        let (port, _) =
            plugin(acceptor(Authority::new().identity("localhost", |_| {}), None)).await;
        let tls = TlsConfig::default().with_ca_file(path);
        let (service, handle) = connect(format!("https://localhost:{port}"), tls);
        let error = call(&service).await.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::InvalidConfig, true), "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(handle.stats().failed, Some(0), "it is not the endpoint's fault");
    }
    let half: TlsConfig = serde_json::from_str(r#"{"cert_file":"a.pem"}"#).unwrap();
    let error = HttpConfig::default().with_tls(half).validate().unwrap_err();
    assert!(error.to_string().contains("tls.key_file"), "{error}");
}

/// Serves HTTP/2 frame by frame: to the headers of a request, it says `frame`.
async fn saying(frame: &'static [u8], identity: Identity) -> u16 {
    server(acceptor(identity, None), move |mut stream| async move {
        // The preface, and then frames: a length of 3 bytes, a type, flags, and a stream.
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        let mut head = [0; 9];
        while stream.read_exact(&mut head).await.is_ok() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            if stream.read_exact(&mut payload).await.is_err() {
                return;
            }
            if head[3] == 1 {
                stream.write_all(frame).await.unwrap();
                stream.flush().await.unwrap();
            }
        }
    })
    .await
}

#[tokio::test]
async fn what_http2_turns_away_was_not_sent() {
    const REFUSED: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7];
    const INTERNAL: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 2];
    // The last stream that it looks at is 0, and the call's is 1.
    const GOES_AWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let (files, authority) = (Files::new(), Authority::new());
    let ca = files.write("ca.pem", &authority.pem);
    for (frame, unsent) in [(REFUSED, true), (GOES_AWAY, true), (INTERNAL, false)] {
        let port = saying(frame, authority.identity("localhost", |_| {})).await;
        let tls = TlsConfig::default().with_ca_file(&ca);
        let (service, _handle) = connect(format!("https://localhost:{port}"), tls);
        let error = call(&service).await.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, unsent), "{error}");
    }
}

/// The first time, it may have arrived: that it was turned away the second time takes nothing of that back.
#[tokio::test]
async fn a_call_that_was_sent_again_and_turned_away_may_have_been_sent() {
    const ANSWER: &[u8] = b"\0\0\x01\x01\x04\0\0\0\x01\x88\0\0\x0a\0\x01\0\0\0\x01{\"data\":7}";
    const REFUSED: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7];
    let (files, authority) = (Files::new(), Authority::new());
    let ca = files.write("ca.pem", &authority.pem);
    let accepted = Arc::new(AtomicUsize::new(0));
    let port = server(acceptor(authority.identity("localhost", |_| {}), None), {
        let accepted = accepted.clone();
        move |mut stream| {
            let is_first = accepted.fetch_add(1, SeqCst) == 0;
            async move {
                stream.read_exact(&mut [0; 24]).await.unwrap();
                stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
                let mut head = [0; 9];
                while stream.read_exact(&mut head).await.is_ok() {
                    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                    let mut payload = vec![0; length as usize];
                    stream.read_exact(&mut payload).await.unwrap();
                    match (head[3], head[8], is_first) {
                        (1, 1, true) => stream.write_all(ANSWER).await.unwrap(),
                        // The second call has come as a whole, and the connection dies.
                        (0, 3.., true) => return,
                        (1, 1, false) => stream.write_all(REFUSED).await.unwrap(),
                        _ => {}
                    }
                    stream.flush().await.unwrap();
                }
            }
        }
    })
    .await;
    let tls = TlsConfig::default().with_ca_file(&ca);
    let (service, _handle) = connect(format!("https://localhost:{port}"), tls);
    assert_eq!(call(&service).await.unwrap(), 7);
    let error = service.clone().oneshot(Call::new(1).idempotent()).await.unwrap_err();
    assert_eq!(accepted.load(SeqCst), 2);
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, false), "{error}");
}

#[tokio::test]
async fn an_endpoint_that_goes_away_answers_what_it_began_and_the_rest_goes_elsewhere() {
    let (files, authority) = (Files::new(), Authority::new());
    let ca = files.write("ca.pem", &authority.pem);
    let (port, seen) = plugin(acceptor(authority.identity("localhost", |_| {}), None)).await;
    let tls = TlsConfig::default().with_ca_file(&ca);
    let (service, handle) = connect(format!("https://localhost:{port}/late"), tls);
    let late = tokio::spawn({
        let service = service.clone();
        async move { call(&service).await }
    });
    until(|| seen.open.load(SeqCst) == 1).await;
    // A second call shows that the first has arrived; it is answered at once.
    let (quick, _) = (service.health().await, handle.connections());
    assert_eq!(quick.status, PluginStatus::Healthy);
    seen.goes_away.notify_one();
    let next = service.clone();
    let next = tokio::spawn(async move {
        loop {
            let health = next.health().await;
            assert_eq!(health.status, PluginStatus::Healthy, "{health:?}");
            tokio::task::yield_now().await;
        }
    });
    until(|| seen.accepted.load(SeqCst) == 2).await;
    assert!(handle.connections() >= 2, "the one that ends is open still");
    next.abort();
    seen.answers_late.notify_one();
    assert_eq!(timeout(PATIENCE, late).await.unwrap().unwrap().unwrap(), 7);
    until(|| handle.connections() == 1).await;
}

/// A plugin that speaks HTTP/2 and answers when it may, and a service for it.
async fn shared(
    change: impl FnOnce(HttpConfig) -> HttpConfig,
) -> (HttpService<u8, u8>, HttpTransportHandle, Arc<Seen>) {
    let (files, authority) = (Files::new(), Authority::new());
    let tls = TlsConfig::default().with_ca_file(files.write("ca.pem", &authority.pem));
    let (port, seen) = plugin(acceptor(authority.identity("127.0.0.1", |_| {}), None)).await;
    let config = HttpConfig::default().with_request_timeout(Duration::from_secs(500));
    let url = format!("https://127.0.0.1:{port}/late");
    let (service, handle) = connect_with(url, change(config).with_tls(tls));
    // Which reads the files, while they are there.
    assert_eq!(service.health().await.status, PluginStatus::Healthy);
    seen.answers_late.notify_one();
    assert_eq!(call(&service).await.unwrap(), 7);
    assert_eq!((seen.accepted.load(SeqCst), handle.connections()), (1, 1));
    (service, handle, seen)
}

fn late(service: &HttpService<u8, u8>) -> tokio::task::JoinHandle<Result<u8, Error>> {
    let late = service.clone().oneshot(Call::new(1));
    tokio::spawn(async move { late.await.map(|reply| reply.into_body()) })
}

#[tokio::test(start_paused = true)]
async fn over_http2_an_idle_connection_closes_after_its_time() {
    let idle = Duration::from_secs(5);
    let (service, handle, seen) = shared(|config| config.with_idle_timeout(idle)).await;
    for _ in 0..3 {
        sleep(idle - Duration::from_millis(100)).await;
        seen.answers_late.notify_one();
        assert_eq!(call(&service).await.unwrap(), 7);
    }
    assert_eq!((seen.accepted.load(SeqCst), handle.connections()), (1, 1));
    sleep(idle + Duration::from_millis(100)).await;
    until(|| handle.connections() == 0 && seen.open.load(SeqCst) == 0).await;
}

#[tokio::test(start_paused = true)]
async fn over_http2_a_connection_is_idle_from_the_end_of_its_last_call() {
    let idle = Duration::from_secs(5);
    let (service, handle, seen) = shared(|config| config.with_idle_timeout(idle)).await;
    let late = late(&service);
    sleep(2 * idle).await;
    assert_eq!(service.health().await.status, PluginStatus::Healthy);
    sleep(2 * idle).await;
    seen.answers_late.notify_one();
    assert_eq!(late.await.unwrap().unwrap(), 7);
    sleep(idle - Duration::from_millis(100)).await;
    assert_eq!((seen.accepted.load(SeqCst), handle.connections()), (1, 1));
    sleep(Duration::from_millis(200)).await;
    until(|| handle.connections() == 0 && seen.open.load(SeqCst) == 0).await;
}

#[tokio::test(start_paused = true)]
async fn over_http2_a_connection_that_is_too_old_ends_with_the_calls_that_it_has() {
    let age = Duration::from_secs(60);
    let (service, handle, seen) = shared(|config| config.with_max_connection_age(age)).await;
    let late = late(&service);
    sleep(age).await;
    assert_eq!(service.health().await.status, PluginStatus::Healthy);
    assert_eq!((seen.accepted.load(SeqCst), handle.connections()), (2, 2));
    seen.answers_late.notify_one();
    assert_eq!(late.await.unwrap().unwrap(), 7);
    until(|| handle.connections() == 1 && seen.open.load(SeqCst) == 1).await;
}

#[tokio::test(start_paused = true)]
async fn over_http2_the_most_bounds_connections_and_not_calls() {
    let (service, handle, seen) = shared(|config| config.with_max_connections(1)).await;
    let calls: Vec<_> = (0..20).map(|_| late(&service)).collect();
    // All are on their way once a later one was answered.
    assert_eq!(service.health().await.status, PluginStatus::Healthy);
    let ended = || calls.iter().all(|call| call.is_finished());
    while !ended() {
        seen.answers_late.notify_waiters();
        sleep(Duration::from_millis(1)).await;
    }
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), 7);
    }
    assert_eq!((seen.accepted.load(SeqCst), handle.connections()), (1, 1));
    // While it goes away, it has the only place.
    let last = late(&service);
    sleep(Duration::from_millis(1)).await;
    seen.goes_away.notify_one();
    sleep(Duration::from_millis(1)).await;
    let next = late(&service);
    sleep(Duration::from_secs(30)).await;
    assert_eq!((seen.accepted.load(SeqCst), handle.connections()), (1, 1));
    seen.answers_late.notify_waiters();
    assert_eq!(last.await.unwrap().unwrap(), 7);
    until(|| seen.accepted.load(SeqCst) == 2).await;
    seen.answers_late.notify_one();
    assert_eq!(next.await.unwrap().unwrap(), 7);
    assert_eq!(handle.connections(), 1);
}

#[tokio::test]
async fn a_cold_start_makes_one_connection_of_http2_and_as_many_of_http1_as_calls() {
    for (protocol, connections) in [("h2", 1), ("http/1.1", 20)] {
        let (files, authority) = (Files::new(), Authority::new());
        let tls = TlsConfig::default().with_ca_file(files.write("ca.pem", &authority.pem));
        let identity = authority.identity("127.0.0.1", |_| {});
        let mut server = ServerConfig::clone(acceptor(identity, None).config());
        server.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let (port, seen) = plugin(TlsAcceptor::from(Arc::new(server))).await;
        let (service, handle) = connect(format!("https://127.0.0.1:{port}/late"), tls);
        let calls: Vec<_> = (0..20).map(|_| late(&service)).collect();
        until(|| handle.connections() == connections).await;
        // None waits for another to end.
        until(|| {
            seen.answers_late.notify_waiters();
            calls.iter().all(|call| call.is_finished())
        })
        .await;
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap(), 7);
        }
        assert_eq!(seen.accepted.load(SeqCst), connections, "{protocol}");
    }
}
