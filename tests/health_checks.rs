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
use tower::{Layer, ServiceExt, service_fn};
use tower_upstream::{
    Endpoint, Error, HealthGateLayer, HttpCheck,
    connect::Connect,
    connect_fn,
    endpoint::EndpointCheck,
    error::Kind,
    health::{Check, HealthConfig, PluginCheck, Verdict},
    member::Member,
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

// The `endpoint` of a config.

fn config(endpoint: &str) -> HealthConfig {
    let section = format!(r#"{{"interval": "30s", "timeout": "5s", "endpoint": "{endpoint}"}}"#);
    serde_json::from_str(&section).unwrap()
}

fn asked(sent: &Mutex<Vec<String>>) -> Vec<String> {
    let sent = std::mem::take(&mut *sent.lock().unwrap());
    sent.iter().map(|request| request.lines().next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_config_says_what_is_asked_of_each_endpoint() {
    let (endpoint, sent) = serve(answer(200, "ok"), 0).await;
    let below = Arc::new(Endpoint::new(format!("{}/base", endpoint.address())).unwrap());
    let url = format!("http://{}/up?x=1", endpoint.address().authority());
    for (written, of_root, of_base) in [
        ("", "/health", "/base/health"),
        ("/health", "/health", "/base/health"),
        ("ready", "/ready", "/base/ready"),
        ("/ready?full=1", "/ready?full=1", "/base/ready?full=1"),
        (&*url, "/up?x=1", "/up?x=1"),
    ] {
        let config = config(written);
        config.validate().unwrap();
        let monitor = HealthGateLayer::http(config.clone()).monitor();
        let check = HttpCheck::of(&config);
        for (endpoint, path) in [(&endpoint, of_root), (&below, of_base)] {
            assert_eq!(check.check(Some(endpoint.clone())).await, Verdict::Healthy);
            let checked = monitor.check(Some(endpoint.clone())).await;
            assert_eq!(checked.verdict, Verdict::Healthy);
            let line = format!("GET {path} HTTP/1.1");
            assert_eq!(asked(&sent), [line.clone(), line]);
        }
    }
    // Without a section there is the default, too.
    let monitor = HealthGateLayer::http(HealthConfig::default()).monitor();
    monitor.check_all([endpoint.clone()]).await;
    assert_eq!(asked(&sent), ["GET /health HTTP/1.1"]);
}

#[tokio::test]
async fn another_endpoint_in_the_config_is_asked_from_the_update_on() {
    let (endpoint, sent) = serve(answer(200, "ok"), 0).await;
    let layer = HealthGateLayer::http(config("/old"));
    let gates =
        layer.layer(connect_fn(|_: &Endpoint| service_fn(async |(): ()| Ok::<_, Error>(()))));
    let member = Member::new((*endpoint).clone());
    let gate = gates.connect(&member);
    gate.clone().oneshot(()).await.unwrap();
    let round = layer.monitor().force_check().await.unwrap();
    assert_eq!((round.healthy, round.total), (1, 1));
    assert!(asked(&sent).iter().all(|line| line == "GET /old HTTP/1.1"));
    // All of the layer, and then one alone.
    layer.handle().update(&config("/new")).unwrap();
    layer.monitor().force_check().await.unwrap();
    assert!(asked(&sent).contains(&"GET /new HTTP/1.1".to_owned()));
    let one = layer.handle_for(endpoint.key()).unwrap();
    one.update(&config("/own")).unwrap();
    one.check().await;
    assert_eq!(asked(&sent), ["GET /own HTTP/1.1"]);
    // What cannot work changes nothing.
    let refused = layer.handle().update(&config("ftp://a/health")).unwrap_err();
    assert!(refused.to_string().contains("`endpoint`"), "{refused}");
    one.check().await;
    assert_eq!(asked(&sent), ["GET /own HTTP/1.1"]);
}

/// A path needs an endpoint, which there is none of above a balancer; a URL does not.
#[tokio::test]
async fn a_config_that_cannot_work_here_is_said_by_each_call_until_it_can() {
    let (endpoint, sent) = serve(answer(200, "ok"), 0).await;
    let layer = HealthGateLayer::http(config("/health"));
    let gate = layer.layer(service_fn(async |(): ()| Ok::<_, Error>(())));
    let refused = gate.clone().oneshot(()).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::InvalidConfig);
    assert!(refused.to_string().contains("absolute URL"), "{refused}");
    let url = format!("http://{}/health", endpoint.address().authority());
    layer.handle().update(&config(&url)).unwrap();
    gate.clone().oneshot(()).await.unwrap();
    layer.monitor().force_check().await.unwrap();
    assert!(asked(&sent).contains(&"GET /health HTTP/1.1".to_owned()));
    layer.handle().update(&config("/health")).unwrap();
    assert_eq!(gate.clone().oneshot(()).await.unwrap_err().kind(), Kind::InvalidConfig);
}

/// Answers with the status that the path says, and notes what it was sent.
async fn serve_paths() -> (std::net::SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, sent) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let noted = sent.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let status = request.split(['/', ' ']).find_map(|part| part.parse::<u16>().ok());
            let answer = format!("HTTP/1.1 {} X\r\ncontent-length: 0\r\n\r\n", status.unwrap());
            noted.lock().unwrap().push(request);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, sent)
}

#[tokio::test]
async fn an_endpoint_says_itself_how_it_is_checked() {
    let (address, sent) = serve_paths().await;
    let of = |path: &str| EndpointCheck::get(path).unwrap();
    let endpoint = |check| {
        let endpoint = Endpoint::new(format!("http://{address}")).unwrap();
        Some(Arc::new(endpoint.with_check(check)))
    };
    let check = HttpCheck::get("/500").header("x-of", "the gate");
    assert!(matches!(check.check(endpoint(of("/200"))).await, Verdict::Healthy));
    let own = of("/418").with_expected(418..=418).with_method("POST").unwrap();
    let own = own.with_header("x-own", "1").unwrap().with_body("{}").unwrap();
    assert!(matches!(check.check(endpoint(own)).await, Verdict::Healthy));
    {
        let sent = sent.lock().unwrap();
        assert!(sent[0].starts_with("GET /200 ") && sent[0].contains("x-of: the gate\r\n"));
        assert!(sent[1].starts_with("POST /418 ") && sent[1].contains("x-own: 1\r\n"));
        assert!(sent[1].ends_with("\r\n\r\n{}"));
    }
    // One URL is for the upstream, whatever the endpoint.
    let whole = HttpCheck::get(format!("http://{address}/500"));
    assert!(matches!(whole.check(endpoint(of("/200"))).await, Verdict::Unhealthy(_)));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_says_itself_how_long_and_how_often() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = EndpointCheck::get("/").unwrap().with_timeout(Duration::from_millis(300));
    let endpoint = Endpoint::new(format!("http://{}", silent.local_addr().unwrap())).unwrap();
    let start = Instant::now();
    let verdict = HttpCheck::get("/").check(Some(Arc::new(endpoint.with_check(own)))).await;
    assert!(matches!(verdict, Verdict::Unhealthy(why) if why.contains("within its 300ms")));
    assert_eq!(start.elapsed().as_millis(), 300);

    let (address, sent) = serve_paths().await;
    let own = EndpointCheck::get("/200").unwrap().with_interval(Duration::from_secs(1));
    let endpoint = Endpoint::new(format!("http://{address}")).unwrap().with_check(own);
    let inner = connect_fn(|_: &Endpoint| service_fn(async |()| Ok::<_, Error>(())));
    let gate = HealthGateLayer::with_config(HttpCheck::get("/200"), HealthConfig::default());
    let member = Member::new(endpoint);
    let service = gate.layer(inner).connect(&member);
    service.clone().oneshot(()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let checks = sent.lock().unwrap().len();
    assert!((9..=12).contains(&checks), "{checks}");
}
