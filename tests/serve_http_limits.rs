//! An HTTP server against callers that are slow, large, many, or in the way when it stops.
#![cfg(feature = "http")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tower::service_fn;
use tower_upstream::{
    Call, Reply,
    serve::{self, HttpServe, HttpServerConfig},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// A server that runs until this is dropped or stopped.
struct Running {
    address: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address.strip_prefix("http://").unwrap()).await.unwrap()
    }

    fn stop(&mut self) {
        drop(self.stop.take());
    }
}

/// A plugin that doubles, and waits for `gate` with a 7. A 9 is a long answer.
fn doubling(
    gate: Arc<Notify>,
) -> HttpServe<
    impl tower::Service<Call<u64>, Response = Reply<String>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync,
    u64,
> {
    serve::http(service_fn(move |call: Call<u64>| {
        let gate = gate.clone();
        async move {
            match call.body() {
                7 => gate.notified().await,
                9 => return Ok(Reply::new("x".repeat(32 << 20))),
                _ => {}
            }
            Ok::<_, Infallible>(Reply::new((call.body() * 2).to_string()))
        }
    }))
}

async fn run(config: HttpServerConfig) -> (Running, Arc<Notify>) {
    let gate = Arc::new(Notify::new());
    (running(doubling(gate.clone()).bind("127.0.0.1:0").config(config)).await, gate)
}

async fn running<S, R>(bind: serve::HttpBind<S>) -> Running
where
    S: tower::Service<Request<serve::RequestBody>, Response = http::Response<R>>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<tower_upstream::BoxError>,
    R: http_body::Body + From<Bytes> + Send + 'static,
    R::Data: Send,
    R::Error: Into<tower_upstream::BoxError>,
{
    let server = bind.listen().await.unwrap();
    let (stop, stopped) = oneshot::channel();
    let address = server.address();
    let task = tokio::spawn(server.run_until(async { drop(stopped.await) }));
    Running { address, stop: Some(stop), task }
}

/// No limit but those of a test.
fn patient() -> HttpServerConfig {
    HttpServerConfig::default()
        .with_header_timeout(HOUR)
        .with_body_timeout(HOUR)
        .with_idle_timeout(HOUR)
        .with_drain_timeout(HOUR)
}

fn post(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// All that comes until the other end closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One answer with a short body.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "closed after {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_end_is_answered_with_408_in_time() {
    let (server, _) = run(patient().with_header_timeout(10 * SECOND)).await;
    let mut stream = server.connect().await;
    let start = Instant::now();
    // A byte each second is no more time (slowloris).
    let (mut reader, mut writer) = stream.split();
    let dribble = async {
        for byte in b"POST / HTTP/1.1\r\nHost: a\r\nX-Endless: aaaaaaaaaaaaaaaaaaaa".chunks(1) {
            if writer.write_all(byte).await.is_err() {
                return;
            }
            sleep(SECOND).await;
        }
    };
    let mut text = Vec::new();
    let reading = async {
        let _ = reader.read_to_end(&mut text).await;
        start.elapsed()
    };
    let (_, took) = tokio::join!(dribble, reading);
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{text:?}");
    assert!(took >= 10 * SECOND && took < 12 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_closed_without_a_word() {
    let (server, _) = run(patient().with_header_timeout(10 * SECOND)).await;
    let mut stream = server.connect().await;
    let start = Instant::now();
    assert_eq!(rest(&mut stream).await, "");
    assert!(start.elapsed() >= 10 * SECOND && start.elapsed() < 11 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_is_answered_with_408_in_time() {
    let (server, _) = run(patient().with_body_timeout(20 * SECOND)).await;
    let mut stream = server.connect().await;
    let start = Instant::now();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{\"data\":";
    stream.write_all(head.as_bytes()).await.unwrap();
    let text = answer(&mut stream).await;
    assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("`body_timeout`"), "{text}");
    assert!(start.elapsed() >= 20 * SECOND && start.elapsed() < 22 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_requests_is_closed_in_time() {
    let (server, _) = run(patient().with_idle_timeout(30 * SECOND)).await;
    let mut stream = server.connect().await;
    for _ in 0..2 {
        stream.write_all(post(r#"{"data":3}"#).as_bytes()).await.unwrap();
        assert!(answer(&mut stream).await.contains(r#""data":"6""#));
        sleep(29 * SECOND).await;
    }
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_does_not_read_loses_its_connection() {
    let (mut server, _) =
        run(patient().with_body_timeout(20 * SECOND).with_max_connections(1)).await;
    let mut stream = server.connect().await;
    stream.write_all(post(r#"{"data":9}"#).as_bytes()).await.unwrap();
    // The only place is free again once the first has lost its own.
    let mut second = server.connect().await;
    let start = Instant::now();
    second.write_all(post(r#"{"data":3}"#).as_bytes()).await.unwrap();
    assert!(answer(&mut second).await.contains(r#""data":"6""#));
    assert!(start.elapsed() >= 19 * SECOND && start.elapsed() < 60 * SECOND);
    assert!(rest(&mut stream).await.len() < 32 << 20);
    server.stop();
    drop(second);
    server.task.await.unwrap();
}

#[tokio::test]
async fn what_http_1_has_no_answer_for_is_refused() {
    let (server, _) = run(patient()).await;
    let chunked = "Host: a\r\nTransfer-Encoding: chunked\r\n";
    for (version, fields, status) in [
        ("1.1", "", "400"),
        ("1.1", "Host: a\r\nHost: a\r\n", "400"),
        ("1.1", "Host: a\r\nhost: b\r\n", "400"),
        ("1.1", "Host: a b\r\n", "400"),
        ("1.1", "Host: a/b\r\n", "400"),
        ("1.1", "Host: me@a\r\n", "400"),
        ("1.1", "Host: \u{e9}\r\n", "400"),
        ("1.1", "Host: a\r\n", "200"),
        ("1.1", "Host:\r\n", "200"),
        ("1.1", "Host: [fe80::1]:80\r\n", "200"),
        ("1.1", "Host: a_b.%C3%A9:80\r\n", "200"),
        ("1.0", "", "200"),
        ("1.0", "Host: a\r\nHost: b\r\n", "400"),
        // Whose status would come after the body, where HTTP/1.1 has none.
        ("1.1", "Host: a\r\nContent-Type: application/grpc\r\n", "505"),
        ("1.1", "Host: a\r\nContent-Type: application/grpc+json\r\nTE: trailers\r\n", "505"),
        ("1.1", "Host: a\r\nContent-Type: application/grpc-web\r\n", "200"),
        ("1.1", chunked, "200"),
        ("1.1", &chunked.replace("chunked", ", chunked"), "200"),
        ("1.1", &chunked.replace("chunked", "Chunked"), "200"),
        ("1.1", &chunked.replace("chunked", "gzip, chunked"), "501"),
    ] {
        let mut stream = server.connect().await;
        let (length, body) = match fields.contains("Transfer") {
            true => ("", "a\r\n{\"data\":3}\r\n0\r\n\r\n"),
            false => ("Content-Length: 10\r\n", "{\"data\":3}"),
        };
        let text = format!("POST / HTTP/{version}\r\n{fields}{length}\r\n{body}");
        stream.write_all(text.as_bytes()).await.unwrap();
        let text = answer(&mut stream).await;
        assert!(text.starts_with(&format!("HTTP/{version} {status} ")), "{fields}: {text}");
    }
}

#[tokio::test]
async fn heads_and_bodies_that_are_too_large_are_refused() {
    let (server, _) = run(patient().with_max_headers(20).with_max_header_bytes(8 << 10)).await;
    let many = "X-A: 1\r\n".repeat(21);
    let long = format!("X-A: {}\r\n", "a".repeat(9 << 10));
    for (fields, status) in [(many.as_str(), "431"), (&long, "431"), ("X-A: 1\r\n", "200")] {
        let mut stream = server.connect().await;
        let text = format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: 10\r\n\r\n{{\"data\":3}}"
        );
        let _ = stream.write_all(text.as_bytes()).await;
        let text = answer(&mut stream).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
    }
    let gate = Arc::new(Notify::new());
    let small = running(doubling(gate).max_request_bytes(100).bind("127.0.0.1:0")).await;
    let mut stream = small.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let text = answer(&mut stream).await;
    assert!(text.starts_with("HTTP/1.1 413 ") && text.contains("max_request_bytes"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn beyond_the_most_connections_none_is_accepted() {
    let (server, _) = run(patient().with_max_connections(2)).await;
    let (mut one, mut two) = (server.connect().await, server.connect().await);
    for stream in [&mut one, &mut two] {
        stream.write_all(post(r#"{"data":3}"#).as_bytes()).await.unwrap();
        answer(stream).await;
    }
    let mut three = server.connect().await;
    three.write_all(post(r#"{"data":4}"#).as_bytes()).await.unwrap();
    assert!(timeout(60 * SECOND, answer(&mut three)).await.is_err());
    drop(one);
    assert!(answer(&mut three).await.contains(r#""data":"8""#));
}

#[tokio::test]
async fn beyond_the_most_calls_one_is_asked_to_come_back_and_health_is_told() {
    let gate = Arc::new(Notify::new());
    let server = running(doubling(gate.clone()).max_in_flight(1).bind("127.0.0.1:0")).await;
    let (mut one, mut two) = (server.connect().await, server.connect().await);
    one.write_all(post(r#"{"data":7}"#).as_bytes()).await.unwrap();
    loop {
        two.write_all(post(r#"{"data":3}"#).as_bytes()).await.unwrap();
        let text = answer(&mut two).await;
        if text.starts_with("HTTP/1.1 503 ") {
            assert!(
                text.contains("Retry-After: 1\r\n") && text.contains("RATELIMIT_1502"),
                "{text}"
            );
            break;
        }
        // The first has not come yet.
        tokio::task::yield_now().await;
    }
    two.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(answer(&mut two).await.starts_with("HTTP/1.1 200 "));
    gate.notify_one();
    assert!(answer(&mut one).await.contains(r#""data":"14""#));
    two.write_all(post(r#"{"data":3}"#).as_bytes()).await.unwrap();
    assert!(answer(&mut two).await.contains(r#""data":"6""#));
}

#[tokio::test]
async fn a_server_that_stops_answers_what_has_come_and_closes_the_rest() {
    let (mut server, gate) = run(patient()).await;
    let mut unused = server.connect().await;
    let mut idle = server.connect().await;
    let mut busy = server.connect().await;
    idle.write_all(post(r#"{"data":3}"#).as_bytes()).await.unwrap();
    answer(&mut idle).await;
    busy.write_all(post(r#"{"data":7}"#).as_bytes()).await.unwrap();
    // Answered only once all before it were accepted, and the busy one was read.
    let mut last = server.connect().await;
    last.write_all(post(r#"{"data":3}"#).as_bytes()).await.unwrap();
    answer(&mut last).await;
    server.stop();
    assert_eq!((rest(&mut unused).await, rest(&mut idle).await), Default::default());
    assert!(!server.task.is_finished());
    let address = server.address.strip_prefix("http://").unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    gate.notify_one();
    let text = rest(&mut busy).await;
    assert!(text.contains(r#""data":"14""#) && text.contains("Connection: close"), "{text}");
    server.task.await.unwrap();
}

#[tokio::test]
async fn callers_that_wait_to_be_accepted_when_a_server_stops_are_answered() {
    for at_once in [1_024, 1] {
        let gate = Arc::new(Notify::new());
        let config = patient().with_max_connections(at_once);
        let server = doubling(gate).bind("127.0.0.1:0").config(config).listen().await.unwrap();
        let address = server.address();
        let connect = || TcpStream::connect(address.strip_prefix("http://").unwrap());
        let (mut one, mut other) = (connect().await.unwrap(), connect().await.unwrap());
        let mut silent = connect().await.unwrap();
        one.write_all(post(r#"{"data":3}"#).as_bytes()).await.unwrap();
        other.write_all(post(r#"{"data":4}"#).as_bytes()).await.unwrap();
        // None was accepted so far.
        let stopped = server.run_until(std::future::ready(()));
        timeout(10 * SECOND, stopped).await.unwrap();
        for (stream, data) in [(&mut one, "6"), (&mut other, "8")] {
            let text = rest(stream).await;
            assert!(text.contains(&format!(r#""data":"{data}""#)), "{text}");
        }
        assert_eq!(rest(&mut silent).await, "");
        assert!(connect().await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_take_longer_than_the_drain_are_dropped() {
    let (mut server, _gate) = run(patient().with_drain_timeout(5 * SECOND)).await;
    let mut busy = server.connect().await;
    busy.write_all(post(r#"{"data":7}"#).as_bytes()).await.unwrap();
    let mut other = server.connect().await;
    other.write_all(post(r#"{"data":3}"#).as_bytes()).await.unwrap();
    answer(&mut other).await;
    let start = Instant::now();
    server.stop();
    server.task.await.unwrap();
    assert!(start.elapsed() >= 5 * SECOND && start.elapsed() < 6 * SECOND);
    assert_eq!(rest(&mut busy).await, "");
}

#[tokio::test]
async fn http2_without_tls_is_spoken_counted_and_drained() {
    let (mut server, gate) = run(patient().with_max_headers(20)).await;
    let io = TokioIo::new(server.connect().await);
    let (mut sender, driver) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let driver = tokio::spawn(driver);
    let request = |data: &str, headers: usize| {
        let mut request = Request::post("http://a/");
        for number in 0..headers {
            request = request.header(format!("x-{number}"), "1");
        }
        request.body(Full::new(Bytes::from(format!("{{\"data\":{data}}}")))).unwrap()
    };
    let response = sender.send_request(request("3", 0)).await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, http::Version::HTTP_2));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains(r#""data":"6""#));
    let response = sender.send_request(request("3", 21)).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let busy = tokio::spawn(sender.send_request(request("7", 0)));
    sender.send_request(request("3", 0)).await.unwrap();
    server.stop();
    // It goes away: no more requests, but the one that it has is answered.
    while sender.send_request(request("3", 0)).await.is_ok() {}
    gate.notify_one();
    assert_eq!(busy.await.unwrap().unwrap().status(), StatusCode::OK);
    drop(sender);
    server.task.await.unwrap();
    let _ = driver.await;
}

/// A caller that reads, but allows nothing of its answers to come, so that nothing is to be read.
#[tokio::test(start_paused = true)]
async fn a_caller_of_http2_that_lets_no_answer_come_loses_its_connection() {
    // A GET, whose body is there with its head: time goes on while bytes are on their way.
    let (mut server, _) = run(patient().with_body_timeout(20 * SECOND)).await;
    let io = TokioIo::new(server.connect().await);
    let start = Instant::now();
    let (mut sender, driver) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(0)
        .handshake::<_, Full<Bytes>>(io)
        .await
        .unwrap();
    let driver = tokio::spawn(driver);
    let request = Request::get("http://a/health").body(Full::default()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let _ = timeout(60 * SECOND, driver).await.expect("closed by the server");
    assert!(start.elapsed() >= 20 * SECOND && start.elapsed() < 22 * SECOND);
    drop(response);
    server.stop();
    server.task.await.unwrap();
}

/// Both versions, over a connection that is without a request for long once the plugin has answered.
#[tokio::test(start_paused = true)]
async fn a_long_answer_that_is_read_slowly_comes_whole() {
    let (mut server, _) =
        run(patient().with_idle_timeout(2 * SECOND).with_body_timeout(5 * SECOND)).await;
    let mut stream = server.connect().await;
    stream.write_all(post(r#"{"data":9}"#).as_bytes()).await.unwrap();
    let (mut buffer, mut length) = (vec![0; 1 << 20], 0);
    while length < 32 << 20 {
        sleep(SECOND / 4).await;
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "it ended after {length}");
        length += count;
    }
    drop(stream);
    server.stop();
    server.task.await.unwrap();
    let (mut server, _) = run(patient().with_idle_timeout(2 * SECOND)).await;
    let io = TokioIo::new(server.connect().await);
    let (mut sender, driver) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(driver);
    let request = Request::post("http://a/").body(Full::new(Bytes::from(r#"{"data":9}"#))).unwrap();
    let mut body = sender.send_request(request).await.unwrap().into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.expect("all of it").into_data().unwrap().len();
        sleep(SECOND / 100).await;
    }
    assert!(length > 32 << 20);
    drop(sender);
    server.stop();
    server.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn http2_without_requests_is_told_to_go() {
    let (server, _) =
        run(patient().with_header_timeout(SECOND).with_idle_timeout(30 * SECOND)).await;
    let io = TokioIo::new(server.connect().await);
    let start = Instant::now();
    let (sender, driver) =
        hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), io)
            .await
            .unwrap();
    driver.await.unwrap();
    assert!(start.elapsed() >= 30 * SECOND && start.elapsed() < 32 * SECOND);
    drop(sender);
}

#[tokio::test]
async fn a_server_that_cannot_be_is_refused_with_the_reason() {
    let (server, gate) = run(patient()).await;
    let taken = server.address.strip_prefix("http://").unwrap();
    let error = doubling(gate.clone()).bind(taken).listen().await.unwrap_err();
    assert!(error.to_string().contains("cannot listen on"), "{error}");
    let config = HttpServerConfig::default().with_max_connections(0);
    let error = doubling(gate).bind("127.0.0.1:0").config(config).listen().await.unwrap_err();
    assert!(error.to_string().contains("max_connections"), "{error}");
}
