//! The checks that come with the crate, against servers that they may meet.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tower_upstream::{
    Endpoint, HttpCheck,
    health::{Check, PluginCheck, TcpCheck, Verdict},
    transport::{HttpConfig, HttpTransport},
};

/// Answers each connection with `answer`, once it got all of `asked` bytes of a body, and then
/// holds it open as long as the other side does. Notes what it was sent.
async fn serve(
    answer: impl Into<Vec<u8>>,
    asked: usize,
) -> (Arc<Endpoint>, Arc<Mutex<Vec<String>>>) {
    let answer: Arc<[u8]> = answer.into().into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let noted = sent.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(talk(stream, answer.clone(), asked, noted.clone()));
        }
    });
    (Arc::new(Endpoint::new(format!("http://{address}")).unwrap()), sent)
}

async fn talk(
    mut stream: TcpStream,
    answer: Arc<[u8]>,
    asked: usize,
    noted: Arc<Mutex<Vec<String>>>,
) {
    let mut request = Vec::new();
    let is_over = |request: &[u8]| {
        let head = request.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        head.is_some_and(|at| request.len() >= at + 4 + asked)
    };
    while !is_over(&request) {
        let Ok(byte) = stream.read_u8().await else { return };
        request.push(byte);
    }
    noted.lock().unwrap().push(String::from_utf8(request).unwrap());
    let _ = stream.write_all(&answer).await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn is_ill(verdict: &Verdict, reason: &str) -> bool {
    matches!(verdict, Verdict::Unhealthy(why) if why.contains(reason))
}

#[tokio::test]
async fn the_request_is_as_it_was_made() {
    let (endpoint, sent) = serve(answer(200, "ok"), 5).await;
    let check = HttpCheck::get("ask")
        .method("POST")
        .header("host", "inner.example")
        .header("user-agent", "us")
        .header("x-key", "abc")
        .body("how?!");
    assert_eq!(check.check(Some(endpoint)).await, Verdict::Healthy);
    let sent = sent.lock().unwrap()[0].clone();
    assert!(
        sent.starts_with("POST /ask HTTP/1.1\r\n") && sent.ends_with("\r\n\r\nhow?!"),
        "{sent}"
    );
    let head = sent.to_ascii_lowercase();
    for header in [
        "host: inner.example",
        "user-agent: us",
        "x-key: abc",
        "content-length: 5",
        "connection: close",
    ] {
        assert_eq!(head.matches(&format!("\r\n{header}\r\n")).count(), 1, "{header} in {head}");
    }
    let (endpoint, sent) = serve("HTTP/1.1 204 X\r\n\r\n", 0).await;
    let check = HttpCheck::get("/").method("HEAD");
    assert_eq!(check.check(Some(endpoint)).await, Verdict::Healthy);
    assert!(sent.lock().unwrap()[0].starts_with("HEAD / HTTP/1.1\r\n"));
}

#[tokio::test]
async fn statuses_are_a_set() {
    let check = HttpCheck::get("/").expect(200..=204).or_expect(401..=401);
    for (status, healthy) in
        [(200, true), (204, true), (205, false), (301, false), (401, true), (402, false)]
    {
        let (endpoint, _) = serve(answer(status, ""), 0).await;
        let verdict = check.check(Some(endpoint)).await;
        assert_eq!(verdict == Verdict::Healthy, healthy, "{status}: {verdict:?}");
        assert!(healthy || is_ill(&verdict, &format!("unhealthy status code: {status}")));
    }
    // Whatever is expected, an upgrade is no answer.
    let (endpoint, _) =
        serve("HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", 0).await;
    let verdict = HttpCheck::get("/").expect(100..=999).check(Some(endpoint)).await;
    assert!(is_ill(&verdict, "101"), "{verdict:?}");
}

#[tokio::test]
async fn a_text_is_looked_for_in_the_body_but_not_for_ever() {
    let check = HttpCheck::get("/").expect_body("ready");
    let far = |before: usize| format!("{}ready", "x".repeat(before));
    let limit = 64 << 10;
    for (body, found) in [
        ("ready".to_owned(), true),
        ("all is ready here".to_owned(), true),
        (far(limit - 5), true),
        (far(limit - 4), false),
        ("read".to_owned(), false),
        (String::new(), false),
    ] {
        let length = body.len();
        let (endpoint, _) = serve(answer(200, &body), 0).await;
        let verdict = check.check(Some(endpoint)).await;
        assert_eq!(verdict == Verdict::Healthy, found, "{length}: {verdict:?}");
        assert!(found || is_ill(&verdict, "unexpected body"));
    }
    // Split between two chunks.
    let chunked = "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n3\r\nxre\r\n4\r\nadyx\r\n";
    let (endpoint, _) = serve(chunked, 0).await;
    assert_eq!(check.check(Some(endpoint)).await, Verdict::Healthy, "found before the end");
    // The status comes first, and a body that breaks off is no answer.
    let (endpoint, _) = serve(answer(500, "ready"), 0).await;
    assert!(is_ill(&check.check(Some(endpoint)).await, "500"));
    let endless = [b"HTTP/1.1 200 X\r\n\r\n".to_vec(), vec![b'x'; 1 << 20]].concat();
    let (endpoint, _) = serve(endless, 0).await;
    assert!(is_ill(&check.check(Some(endpoint)).await, "unexpected body"));
}

#[tokio::test]
async fn a_body_that_never_ends_does_not_change_the_verdict() {
    for (status, healthy) in [(200, true), (503, false)] {
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 100\r\n\r\nshort");
        let (endpoint, _) = serve(head, 0).await;
        let began = Instant::now();
        let verdict = HttpCheck::get("/").check(Some(endpoint)).await;
        assert_eq!(verdict == Verdict::Healthy, healthy, "{verdict:?}");
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "it waits a moment for the rest, at most"
        );
    }
}

#[tokio::test]
async fn a_connection_is_enough_for_a_tcp_check() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let endpoint = |text: String| Some(Arc::new(Endpoint::new(text).unwrap()));
    let here = endpoint(format!("http://127.0.0.1:{port}/x"));
    assert_eq!(TcpCheck::new().check(here.clone()).await, Verdict::Healthy);
    let to = TcpCheck::to(format!("127.0.0.1:{port}"));
    assert_eq!(to.check(None).await, Verdict::Healthy);
    let other = TcpCheck::new().port(port).check(endpoint("127.0.0.1:1".to_owned())).await;
    assert_eq!(other, Verdict::Healthy);
    drop(listener);
    assert!(is_ill(&TcpCheck::new().check(here).await, "connection failed: "));
    assert!(is_ill(&TcpCheck::new().check(None).await, "needs an endpoint"));
}

#[tokio::test]
async fn a_plugin_s_own_word_is_asked_for_over_its_transport() {
    let mut config = HttpConfig::default();
    config.health_path = "/status".to_owned();
    let check = PluginCheck::new(HttpTransport::<(), ()>::with_config(config));
    for (status, body, expected) in [
        (200, "", Verdict::Healthy),
        (200, r#"{"status":1,"message":"OK"}"#, Verdict::Healthy),
        (200, r#"{"status":"degraded","message":"cold"}"#, Verdict::Degraded("cold".into())),
        (200, r#"{"status":3,"message":"full"}"#, Verdict::Unhealthy("full".into())),
        (200, r#"{"status":"offline","message":"gone"}"#, Verdict::Unhealthy("gone".into())),
        (200, r#"{"status":0}"#, Verdict::Skipped),
        (503, "", Verdict::Unhealthy("Health check failed with status 503".into())),
    ] {
        let (endpoint, sent) = serve(answer(status, body), 0).await;
        assert_eq!(check.check(Some(endpoint)).await, expected, "{body}");
        assert!(sent.lock().unwrap()[0].starts_with("GET /status HTTP/1.1\r\n"));
    }
    let gone = Arc::new(Endpoint::new("http://127.0.0.1:1").unwrap());
    assert!(is_ill(&check.check(Some(gone)).await, "Health check request failed: "));
}
