//! `HttpTransport` against servers of which every byte is known.
#![cfg(feature = "http")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    io::Write,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::timeout,
};
use tower::ServiceExt;
use tower_upstream::{
    Call, Endpoint, Error, Reply,
    connect::Connect,
    error::Kind,
    member::Member,
    plugin::PluginStatus,
    transport::{HttpConfig, HttpService, HttpTransport},
};

/// No test waits longer, whatever goes wrong.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Serialize)]
struct Tax {
    net: u64,
    country: &'static str,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Gross {
    gross: u64,
}

/// A server that hands each connection to `serve`.
async fn server<F, Fut>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// A server that answers every request with the same bytes, then closes.
async fn answering(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let answer: Arc<[u8]> = answer.into().into();
    server(move |mut stream| {
        let answer = answer.clone();
        async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Head and body of one request.
async fn read_request(stream: &mut TcpStream) -> (String, String) {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.unwrap() == 0 {
            return Default::default();
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned)
        })
        .map_or(0, |length| length.parse().unwrap());
    while bytes.len() < end + length {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "half a request");
    }
    assert_eq!(bytes.len(), end + length, "more than the body");
    (head, String::from_utf8(bytes[end..].to_vec()).unwrap())
}

fn config(change: impl FnOnce(&mut HttpConfig)) -> HttpConfig {
    let mut config = HttpConfig::default();
    change(&mut config);
    config
}

fn connect_with<Req, Res>(config: HttpConfig, address: impl ToString) -> HttpService<Req, Res> {
    let endpoint = Endpoint::new(address.to_string()).unwrap().with_key("tax-1");
    HttpTransport::with_config(config).connect(&Member::new(endpoint))
}

fn connect<Res>(address: impl ToString) -> HttpService<u8, Res> {
    connect_with(HttpConfig::default(), address)
}

async fn call(address: SocketAddr) -> Result<Reply<Gross>, Error> {
    call_with(HttpConfig::default(), address).await
}

async fn call_with(config: HttpConfig, address: SocketAddr) -> Result<Reply<Gross>, Error> {
    let service = connect_with::<u8, Gross>(config, address);
    timeout(PATIENCE, service.oneshot(Call::new(7).with_id("r-1"))).await.expect("it hangs")
}

/// The error of a call, which must name the endpoint and say `part`.
fn assert_error(result: Result<Reply<Gross>, Error>, kind: Kind, unsent: bool, part: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert_eq!(error.is_unsent(), unsent, "{error}");
    assert!(!error.is_refused());
    assert_eq!(error.endpoint(), Some("tax-1"));
    assert!(error.to_string().contains(part), "{error}");
    assert!(error.to_string().contains("tax-1"), "{error}");
    assert!(error.to_string().len() < 3_000);
}

#[tokio::test]
async fn the_request_is_byte_for_byte_that_of_go() {
    let (seen, request) = oneshot::channel();
    let seen = Arc::new(std::sync::Mutex::new(Some(seen)));
    let address = server(move |mut stream| {
        let seen = seen.clone();
        async move {
            let request = read_request(&mut stream).await;
            let answer = r#"{"data":{"gross":1464},"request_id":"req_1758362400000000123","metadata":{"ms":"4"}}"#;
            stream.write_all(ok(answer).as_bytes()).await.unwrap();
            seen.lock().unwrap().take().unwrap().send(request).unwrap();
        }
    })
    .await;
    let config = config(|config| config.request_timeout = Duration::from_secs(120));
    let service = connect_with::<Tax, Gross>(config, format!("http://{address}/rpc/tax"));
    let call = Call::new(Tax { net: 1_200, country: "IT" })
        .with_id("req_1758362400000000123")
        .with_timeout(Duration::from_secs(90))
        .with_header("X-Tenant", "blue")
        .with_metadata("trace", "t-9");
    let reply = service.oneshot(call).await.unwrap();
    assert_eq!(reply.body().gross, 1_464);
    assert_eq!(reply.request_id(), "req_1758362400000000123");
    assert_eq!(reply.metadata()["ms"], "4");
    assert_eq!((reply.endpoint(), reply.attempts()), (Some("tax-1"), 1));
    assert!(reply.duration() > Duration::ZERO);

    let (head, body) = request.await.unwrap();
    assert_eq!(
        body,
        r#"{"data":{"net":1200,"country":"IT"},"request_id":"req_1758362400000000123","timeout":"1m30s","headers":{"X-Tenant":"blue"},"metadata":{"trace":"t-9"}}"#
    );
    let mut lines: Vec<_> = head.trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), "POST /rpc/tax HTTP/1.1");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "Accept-Encoding: gzip",
            "Content-Length: 150",
            "Content-Type: application/json",
            &format!("Host: {address}"),
            "User-Agent: go-plugins/1.0",
            "X-Request-Id: req_1758362400000000123",
            "X-Tenant: blue",
        ]
    );
}

/// The head and body of the request that `call` makes.
async fn request_of<Req: Serialize + 'static>(
    config: HttpConfig,
    call: Call<Req>,
) -> (String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = connect_with::<Req, Gross>(config, listener.local_addr().unwrap());
    let answered = service.oneshot(call);
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = read_request(&mut stream).await;
        stream.write_all(ok("{}").as_bytes()).await.unwrap();
        request
    };
    let (reply, request) = tokio::join!(answered, serving);
    assert_eq!(reply.unwrap().into_body(), Gross::default());
    request
}

#[tokio::test]
async fn a_plugin_is_told_the_shorter_of_two_limits() {
    for (seconds, told) in [(29, "29s"), (90, "30s")] {
        let call = Call::new(()).with_id("r").with_timeout(Duration::from_secs(seconds));
        let (_, body) = request_of(HttpConfig::default(), call).await;
        assert_eq!(body, format!(r#"{{"data":null,"request_id":"r","timeout":"{told}"}}"#));
    }
}

#[tokio::test]
async fn what_is_empty_is_left_out_except_the_first_three() {
    let (head, body) =
        request_of(config(|c| c.disable_compression = true), Call::new(None::<u8>).with_id(""))
            .await;
    assert_eq!(body, r#"{"data":null,"request_id":"","timeout":"30s"}"#);
    assert!(head.starts_with("POST / HTTP/1.1\r\n"));
    assert!(head.contains("X-Request-Id: \r\n"));
    assert!(!head.contains("Accept-Encoding"));
}

#[tokio::test]
async fn headers_of_the_call_win_but_do_not_touch_the_framing() {
    let call = Call::new("<é>")
        .with_id("r")
        .with_header("user-agent", "mine/2")
        .with_header("Host", "elsewhere")
        .with_header("Content-Length", "1")
        .with_header("Transfer-Encoding", "chunked")
        .with_header("X-Name", "Zoë");
    let (head, body) = request_of(HttpConfig::default(), call).await;
    assert!(body.starts_with(r#"{"data":"\u003cé\u003e","request_id":"r","timeout":"30s","headers":{"Content-Length":"1","Host":"elsewhere","#));
    assert!(head.contains("User-Agent: mine/2\r\n") && !head.contains("go-plugins"));
    assert!(head.contains("X-Name: Zoë\r\n"));
    assert!(head.contains("Host: 127.0.0.1:"));
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    assert!(!head.contains("chunked"));
}

#[tokio::test]
async fn headers_that_ask_for_an_answer_in_another_form_are_not_sent() {
    let names = [
        "Accept-Encoding",
        "Range",
        "If-None-Match",
        "If-Unmodified-Since",
        "Upgrade",
        "Connection",
        "Expect",
        "TE",
    ];
    let call = names.into_iter().fold(Call::new(1), |call, name| call.with_header(name, "x-odd"));
    let (head, body) = request_of(HttpConfig::default(), call).await;
    assert!(!head.contains("x-odd"), "{head}");
    // The plugin sees them as what they are: words of the caller.
    assert!(body.contains(r#""Range":"x-odd""#), "{body}");
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_is_named_and_its_value_is_not() {
    let service = connect::<Gross>("127.0.0.1:9");
    for (name, value) in [("X-Good", "secret\r\nX-Bad: 1"), ("X Bad", "secret"), ("", "secret")] {
        let result = service.clone().oneshot(Call::new(1).with_header(name, value)).await;
        let error = result.as_ref().unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
        assert_error(result, Kind::InvalidConfig, true, name);
    }
    let result = service.oneshot(Call::new(1).with_id("a\nb")).await;
    assert_error(result, Kind::InvalidConfig, true, "X-Request-Id");
}

#[tokio::test]
async fn more_headers_than_a_request_can_have_are_an_error_and_no_panic() {
    let headers = (0..40_000).map(|number| format!("x-{number}"));
    let call = headers.fold(Call::new(7), |call, name| call.with_header(name, "1"));
    let error = connect::<u8>("http://127.0.0.1:1").oneshot(call).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::InvalidConfig, true), "{error}");
    assert!(error.to_string().contains("too many headers"), "{error}");
}

#[tokio::test]
async fn an_address_that_needs_tls_or_a_socket_says_what_to_do() {
    for (address, part) in [
        ("https://a", "the feature `tls`"),
        ("unix:/run/tax.sock", "it speaks `http`, `https` and"),
        ("grpc://a:1", "or use `OriginLayer`"),
    ] {
        if address.starts_with("https") && cfg!(feature = "tls") {
            continue;
        }
        let result = connect::<Gross>(address).oneshot(Call::new(1)).await;
        assert_error(result, Kind::InvalidConfig, true, part);
    }
}

#[tokio::test]
async fn a_call_that_cannot_be_written_is_not_sent() {
    let bad = BTreeMap::from([((1, 2), 3)]);
    let service = connect_with::<_, Gross>(HttpConfig::default(), "127.0.0.1:9");
    assert_error(service.oneshot(Call::new(bad)).await, Kind::InvalidConfig, true, "JSON");
}

#[tokio::test]
async fn answers_are_read_as_leniently_as_go_reads_them() {
    for (body, gross) in [
        (r#"{"data":{"gross":5}}"#, 5),
        (r#"{"DATA":{"gross":5},"Unknown":[1,{}],"request_id":"another"}"#, 5),
        (r#"{"data":{"gross":1},"data":{"gross":5}}"#, 5),
        ("{\"data\":{\"gross\":5}}\n{\"data\":{\"gross\":6}} rubbish", 5),
        (r#"{"data":null,"error":null,"metadata":null}"#, 0),
        ("{}", 0),
    ] {
        assert_eq!(
            call(answering(ok(body)).await).await.unwrap().into_body(),
            Gross { gross },
            "{body}"
        );
    }
    let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{\"data\":{\"gross\":5}}";
    assert_eq!(call(answering(html).await).await.unwrap().body().gross, 5);
    let binary = b"HTTP/1.1 200 OK\r\n\r\n{\"data\":{\"gross\":5},\"request_id\":\"\xff\"}";
    assert_eq!(call(answering(*binary).await).await.unwrap().request_id(), "\u{fffd}");
    // Half of a character, of a text that was cut.
    let half = ok(r#"{"data":{"gross":5},"request_id":"\ud83d \ud83d\ude00"}"#);
    assert_eq!(call(answering(half).await).await.unwrap().request_id(), "\u{fffd} \u{1f600}");
}

#[tokio::test]
async fn the_plugins_own_error_is_one() {
    let address = answering(ok(r#"{"error":"unknown country","request_id":"r"}"#)).await;
    assert_error(call(address).await, Kind::Plugin, false, "plugin error: unknown country");
}

#[tokio::test]
async fn a_status_tells_the_kind_and_the_body_tells_more() {
    for (status, kind) in [
        (302, Kind::Transport),
        (400, Kind::Plugin),
        (404, Kind::Plugin),
        (429, Kind::RateLimited),
        (499, Kind::Plugin),
        (500, Kind::Transport),
        (501, Kind::Transport),
        (502, Kind::Transport),
        (503, Kind::Transport),
        (504, Kind::Transport),
        (599, Kind::Transport),
    ] {
        let answer = |body: &str| {
            format!(
                "HTTP/1.1 {status} X\r\nLocation: /\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let failed = format!("HTTP request failed with status {status}");
        let result = call(answering(answer(r#"{"error":"no rates"}"#)).await).await;
        let with_text = if status == 302 { failed.clone() } else { format!("{failed}: no rates") };
        assert_error(result, kind, false, &with_text);
        assert_error(call(answering(answer("")).await).await, kind, false, &failed);
        let result = call(answering(answer("<h1>no\nrates")).await).await;
        assert_error(
            result,
            kind,
            false,
            if status == 302 { "redirects" } else { r"<h1>no\nrates" },
        );
        let endless = format!("HTTP/1.1 {status} X\r\n\r\n{}", "x".repeat(1 << 20));
        assert_error(call(answering(endless).await).await, kind, false, &failed);
        let no_more = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nno");
        assert_error(call(answering(no_more).await).await, kind, false, &format!("{failed}: no"));
        let broken = format!("HTTP/1.1 {status} X\r\nContent-Length: 99\r\n\r\nhalf");
        assert_error(call(answering(broken).await).await, kind, false, &failed);
    }
}

#[tokio::test]
async fn an_endpoint_that_asks_to_be_left_alone_is_heard() {
    for (status, wait) in [(503, Some(7)), (429, Some(7)), (500, None)] {
        let answer = format!("HTTP/1.1 {status} X\r\nRetry-After: 7\r\n\r\n");
        let error = call(answering(answer).await).await.unwrap_err();
        let rounded = error.retry_after().map(|wait| (wait.as_secs_f64()).ceil() as u64);
        assert_eq!(rounded, wait, "{error}");
    }
}

#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    for (answer, kind, part) in [
        ("SSH-2.0-OpenSSH_9.6\r\n", Kind::Transport, "failed to decode response"),
        ("\0\u{1}\u{2}garbage\r\n\r\n", Kind::Transport, "failed to decode response"),
        ("HTTP/1.1 200 OK\r\n\r\n", Kind::Transport, "failed to decode response"),
        ("HTTP/1.1 204 No Content\r\n\r\n", Kind::Transport, "failed to decode response"),
        ("HTTP/1.1 200 OK\r\n\r\n<html>", Kind::Transport, "failed to decode response"),
        ("HTTP/1.1 200 OK\r\n\r\n{\"data\":", Kind::Transport, "failed to decode response"),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n{}", Kind::Transport, "`br`, not gzip"),
        (
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n{}",
            Kind::Transport,
            "failed to decode response",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            Kind::Transport,
            "failed to decode response",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"data\":", Kind::Connection, "broke off"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"d",
            Kind::Connection,
            "broke off",
        ),
        ("HTTP/1.1 200 OK\r\nX-He", Kind::Connection, "HTTP request failed"),
        ("", Kind::Connection, "HTTP request failed"),
    ] {
        assert_error(call(answering(answer).await).await, kind, false, part);
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_not_read() {
    let small = || config(|c| c.max_response_bytes = 100_000);
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n";
    let limit = "100000 bytes (`max_response_bytes`)";
    assert_error(call_with(small(), answering(answer).await).await, Kind::Transport, false, limit);

    let (result, written) = flooded("200 OK", small()).await;
    assert_error(result, Kind::Transport, false, limit);
    // What the two socket buffers hold.
    assert!(written < 12 << 20, "{written}");
    // Of an error only the start is read, whatever the limit.
    let (result, written) = flooded("500 X", HttpConfig::default()).await;
    assert_error(result, Kind::Transport, false, "status 500");
    assert!(written < 12 << 20, "{written}");
}

/// A call that is answered by a hundred MiB in chunks, and how many bytes of it could be written.
async fn flooded(status: &'static str, config: HttpConfig) -> (Result<Reply<Gross>, Error>, usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let flood = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        let head = format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
        let mut written = 0;
        while written < 100 << 20 && stream.write_all(&chunk).await.is_ok() {
            written += chunk.len();
        }
        written
    };
    let written = tokio::spawn(flood);
    let result = call_with(config, address).await;
    let written = timeout(PATIENCE, written).await.expect("it is still being read");
    (result, written.unwrap())
}

#[tokio::test]
async fn a_body_of_just_the_limit_is_read() {
    let body = r#"{"data":{"gross":5}}"#;
    for (limit, fits) in [(body.len(), true), (body.len() - 1, false)] {
        let config = config(|c| c.max_response_bytes = limit);
        assert_eq!(call_with(config, answering(ok(body)).await).await.is_ok(), fits);
    }
}

#[tokio::test]
async fn a_head_without_end_is_not_read() {
    let address = server(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        let line = format!("X-Long: {}\r\n", "x".repeat(1_000));
        while stream.write_all(line.as_bytes()).await.is_ok() {}
    })
    .await;
    let small = config(|c| c.max_header_bytes = 1);
    assert_error(
        call_with(small, address).await,
        Kind::Transport,
        false,
        "8192 bytes (`max_header_bytes`)",
    );
    assert_error(call(address).await, Kind::Transport, false, "65536 bytes (`max_header_bytes`)");
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let body = gzip(body);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

#[tokio::test]
async fn gzip_is_undone_and_a_bomb_does_not_go_off() {
    let answer = gzipped(br#"{"data":{"gross":5}}"#);
    assert_eq!(call(answering(answer).await).await.unwrap().body().gross, 5);
    let bomb = gzipped(&vec![b' '; 20 << 20]);
    assert!(bomb.len() < 100_000);
    let result = call(answering(bomb).await).await;
    assert_error(result, Kind::Transport, false, "16777216 bytes after decompression");
}

#[tokio::test]
async fn a_refused_connection_sends_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    // The second name has an empty label, so no server has to be asked.
    for address in [address.to_string(), "http://a..example:1".to_owned()] {
        let result = connect::<Gross>(address).oneshot(Call::new(7)).await;
        assert_error(result, Kind::Connection, true, "HTTP request failed: cannot connect: ");
    }
}

/// Accepts one request, tells so, and answers what `answer` says, but never all of it.
async fn stalling(
    answer: &'static str,
) -> (SocketAddr, oneshot::Receiver<()>, oneshot::Receiver<()>) {
    let ((begun, has_begun), (closed, is_closed)) = (oneshot::channel(), oneshot::channel());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = begun.send(());
        while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {}
        let _ = closed.send(());
    });
    (address, has_begun, is_closed)
}

#[tokio::test]
async fn an_answer_that_never_ends_runs_out_of_time() {
    for (answer, kind, part) in [
        ("", Kind::Timeout, "within 30s (`request_timeout`)"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"da", Kind::Timeout, "`request_timeout`"),
        ("HTTP/1.1 200 OK\r\nX-", Kind::Timeout, "`request_timeout`"),
        ("HTTP/1.1 500 X\r\nContent-Length: 99\r\n\r\nhalf", Kind::Transport, "status 500: half"),
    ] {
        let (address, begun, closed) = stalling(answer).await;
        let service = connect::<Gross>(address);
        let waiting = tokio::spawn(service.oneshot(Call::new(1)));
        timeout(PATIENCE, begun).await.unwrap().unwrap();
        tokio::time::pause();
        let result = waiting.await.unwrap();
        tokio::time::resume();
        assert_error(result, kind, false, part);
        timeout(PATIENCE, closed).await.expect("the exchange goes on").unwrap();
    }
}

#[tokio::test]
async fn the_deadline_of_the_call_bounds_it_too() {
    let (address, begun, _closed) = stalling("").await;
    let call = Call::new(1).with_timeout(Duration::from_secs(10));
    let waiting = tokio::spawn(connect::<Gross>(address).oneshot(call));
    timeout(PATIENCE, begun).await.unwrap().unwrap();
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let result = waiting.await.unwrap();
    assert!(start.elapsed() <= Duration::from_secs(11));
    assert_error(result, Kind::Timeout, false, "before the deadline of the call");

    let late = Call::new(1).with_timeout(Duration::ZERO);
    let result = connect::<Gross>(address).oneshot(late).await;
    assert_error(result, Kind::Timeout, true, "deadline of the call passed");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_in_time_is_never_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = config(|c| {
        c.request_timeout = Duration::from_secs(1);
        c.connect_timeout = Duration::from_secs(60);
    });
    let service = connect_with::<u8, Gross>(config, listener.local_addr().unwrap());
    let mut waiting = tokio_test::task::spawn(service.oneshot(Call::new(1)));
    assert!(waiting.poll().is_pending());
    tokio::time::advance(Duration::from_secs(2)).await;
    let std::task::Poll::Ready(result) = waiting.poll() else {
        panic!("it waits on");
    };
    assert_error(result, Kind::Timeout, true, "`request_timeout`");
    drop(waiting);
    let (mut stream, _) = listener.accept().await.unwrap();
    assert_eq!(stream.read(&mut [0; 64]).await.unwrap(), 0, "something was sent");
}

/// A host that does not answer, since its queue is full of those who wait to be let in.
async fn unanswering() -> (SocketAddr, tokio::net::TcpListener, Vec<TcpStream>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    (address, listener, waiting)
}

#[tokio::test]
async fn connecting_has_a_time_of_its_own() {
    let (address, _listener, _waiting) = unanswering().await;
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let result = connect::<Gross>(address).oneshot(Call::new(1)).await;
    assert_error(result, Kind::Timeout, true, "cannot connect within 5s (`connect_timeout`)");
    assert_eq!(start.elapsed().as_secs(), 5);
    // The other bounds hold while connecting too.
    let hasty = Call::new(1).with_timeout(Duration::from_secs(2));
    let result = connect::<Gross>(address).oneshot(hasty).await;
    assert_error(result, Kind::Timeout, true, "before the deadline of the call");
}

#[tokio::test]
async fn a_dropped_call_closes_its_exchange() {
    let (address, begun, closed) = stalling("").await;
    let waiting = tokio::spawn(connect::<Gross>(address).oneshot(Call::new(1)));
    timeout(PATIENCE, begun).await.unwrap().unwrap();
    waiting.abort();
    timeout(PATIENCE, closed).await.expect("the exchange goes on").unwrap();
    // Before its first poll it never was one.
    let mut service = connect::<Gross>(address);
    drop(tower::Service::call(&mut service, Call::new(1)));
}

/// A server that answers every call on its connection, and how many connections it got.
async fn keeping(answer: String) -> (SocketAddr, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let address = server(move |mut stream| {
        count.fetch_add(1, Ordering::Relaxed);
        let answer = answer.clone();
        async move {
            while !read_request(&mut stream).await.0.is_empty() {
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    (address.await, connections)
}

#[tokio::test]
async fn connections_are_used_again_by_all_clones_unless_none_is_kept() {
    for (keep, expected) in [(1, 1), (0, 3)] {
        let (address, connections) = keeping(ok("{}")).await;
        let service = connect_with::<u8, Gross>(config(|c| c.max_idle_connections = keep), address);
        for _ in 0..3 {
            service.clone().oneshot(Call::new(1)).await.unwrap();
            // The connection goes back to the pool in a task of its own.
            tokio::task::yield_now().await;
        }
        assert_eq!(connections.load(Ordering::Relaxed), expected);
    }
}

#[tokio::test]
async fn a_connection_is_not_used_once_the_endpoint_may_close_it() {
    for (told, after, expected) in [
        ("timeout=60", 40_000, 1),
        ("timeout=60, max=100", 59_500, 2),
        ("timeout=1", 600, 2),
        ("timeout=0", 0, 2),
        ("timeout=soon", 80_000, 1),
        // Not for longer than the settings say.
        ("timeout=500", 80_000, 1),
        ("timeout=500", 95_000, 2),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\nKeep-Alive: {told}\r\n");
        let (address, connections) = keeping(format!("{head}Content-Length: 2\r\n\r\n{{}}")).await;
        let service = connect::<Gross>(address);
        for wait in [after, 0] {
            service.clone().oneshot(Call::new(1)).await.unwrap();
            // The connection goes back to the pool in a task of its own.
            tokio::task::yield_now().await;
            tokio::time::pause();
            tokio::time::advance(Duration::from_millis(wait)).await;
            tokio::time::resume();
        }
        assert_eq!(connections.load(Ordering::Relaxed), expected, "{told}, {after} ms");
    }
}

/// A server that answers every `GET` with its path.
async fn echoing_paths(status: u16) -> SocketAddr {
    server(move |mut stream| async move {
        let (head, _) = read_request(&mut stream).await;
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let body = format!("{{\"message\":\"{path}\",\"status\":2,\"name\":\"{path}\"}}");
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert!(head.starts_with("GET "));
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await
}

#[tokio::test]
async fn health_is_asked_below_the_endpoint_or_where_the_config_says() {
    let address = echoing_paths(200).await;
    for (base, path, asked) in [
        ("", "", "/health"),
        ("/", "", "/health"),
        ("/rpc/tax/", "", "/rpc/tax/health"),
        ("/rpc/tax", "live", "/rpc/tax/live"),
        ("/rpc/tax", "/live", "/live"),
        ("/rpc/tax", "http://ADDRESS/elsewhere", "/elsewhere"),
    ] {
        let path = path.replace("ADDRESS", &address.to_string());
        let config = config(|c| c.health_path = path);
        let service = connect_with::<u8, Gross>(config, format!("http://{address}{base}"));
        let health = service.health().await;
        assert_eq!((health.status, health.message.as_str()), (PluginStatus::Degraded, asked));
        assert!(health.last_check.is_some() && health.response_time > Duration::ZERO);
        if path_is_default(&service) {
            let info = service.info().await.unwrap();
            assert_eq!(info.name, asked.replace("health", "info"));
        }
    }
}

fn path_is_default<Req, Res>(service: &HttpService<Req, Res>) -> bool {
    format!("{service:?}").contains("health_path: \"\"")
}

#[tokio::test]
async fn the_description_is_asked_for_once_by_all_clones_unless_there_was_none() {
    let (asked, go_on) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
    let (count, wait) = (asked.clone(), go_on.clone());
    let address = server(move |mut stream| {
        let (count, wait) = (count.clone(), wait.clone());
        async move {
            read_request(&mut stream).await;
            let answer = match count.fetch_add(1, Ordering::SeqCst) {
                0 => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
                _ => ok(r#"{"name":"tax","version":"2.1.0"}"#),
            };
            wait.notified().await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let service = connect::<Gross>(address);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let many = |service: &HttpService<u8, Gross>| {
        let info = |service: HttpService<u8, Gross>| async move { service.info().await };
        futures::future::join_all((0..20).map(|_| info(service.clone())))
    };
    go_on.notify_one();
    let absent = timeout(PATIENCE, many(&service)).await.expect("it hangs");
    for error in absent.into_iter().map(Result::unwrap_err) {
        assert_eq!((error.kind(), error.endpoint()), (Kind::Plugin, Some("tax-1")));
    }
    // One that has begun, and is not waited for, is nothing that others lose.
    let mut left = tokio_test::task::spawn(service.info());
    assert!(left.poll().is_pending());
    let others = tokio::spawn(many(&service));
    while asked.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
        let _ = left.poll();
    }
    drop(left);
    go_on.notify_one();
    let found = timeout(PATIENCE, others).await.expect("it hangs").unwrap();
    assert!(found.iter().all(|info| info.as_ref().is_ok_and(|info| info.name == "tax")));
    assert_eq!(service.info().await.unwrap().version, "2.1.0");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_user_name_in_the_health_path_is_refused_and_never_shown() {
    for path in
        ["http://user:hunter2@127.0.0.1:9/h", "ftp://user:hunter2@a/h", "http://u:hun/ter2@a"]
    {
        let config = config(|c| c.health_path = path.into());
        let transport = format!("{:?}", HttpTransport::<u8, u8>::with_config(config.clone()));
        let service = connect_with::<u8, u8>(config, "http://127.0.0.1:9");
        let health = service.health().await;
        assert!(!health.status.is_usable());
        let shown = format!("{service:?} {transport} {} {health:?}", health.message);
        assert!(!shown.contains("hun") && !shown.contains("ter2"), "{shown}");
        if path.ends_with("9/h") {
            assert!(health.message.contains("user name"), "{}", health.message);
        }
    }
}

#[tokio::test]
async fn ill_health_says_why() {
    let health = |address: SocketAddr| async move { connect::<Gross>(address).health().await };
    let healthy = health(answering("HTTP/1.1 204 X\r\n\r\n").await).await;
    assert_eq!((healthy.status, healthy.message.as_str()), (PluginStatus::Healthy, "OK"));
    let ill = health(answering("HTTP/1.1 503 X\r\n\r\n").await).await;
    assert_eq!(ill.message, "Health check failed with status 503");
    let ill = health(echoing_paths(503).await).await;
    assert_eq!(ill.status, PluginStatus::Unhealthy);
    assert_eq!(ill.message, "Health check failed with status 503: /health");
    let dead = connect::<Gross>("127.0.0.1:1").health().await;
    assert_eq!(dead.status, PluginStatus::Unhealthy);
    assert!(dead.message.starts_with("Health check request failed: "), "{}", dead.message);
    let unusable = connect::<Gross>("grpc://a").health().await;
    assert!(unusable.message.starts_with("Failed to create health check request: "));
    let error = connect::<Gross>(echoing_paths(404).await).info().await.unwrap_err();
    assert_eq!((error.kind(), error.endpoint()), (Kind::Plugin, Some("tax-1")));
}

#[test]
fn a_config_is_clamped_and_refuses_what_it_does_not_know() {
    let absurd = config(|c| {
        c.request_timeout = Duration::MAX;
        c.connect_timeout = Duration::ZERO;
        c.max_header_bytes = usize::MAX;
        c.max_response_bytes = 0;
    });
    let transport = HttpTransport::<u8, u8>::with_config(absurd);
    let used = transport.handle().config();
    assert_eq!(used.request_timeout, Duration::from_secs(86_400 * 365 * 30));
    assert_eq!(used.connect_timeout, Duration::from_secs(5));
    assert_eq!((used.max_header_bytes, used.max_response_bytes), (16 << 20, 16 << 20));

    let read = |text: &str| serde_json::from_str::<HttpConfig>(text);
    let config =
        read(r#"{"request_timeout":"1m30s","idle_timeout":1000000000,"disable_compression":true}"#)
            .unwrap();
    assert_eq!(config.request_timeout, Duration::from_secs(90));
    assert_eq!(config.idle_timeout, Duration::from_secs(1));
    assert!(config.disable_compression);
    let text = serde_json::to_string(&config).unwrap();
    assert!(text.contains(r#""request_timeout":"1m30s""#), "{text}");
    assert_eq!(read(&text).unwrap(), config);
    for bad in
        [r#"{"request_timout":1}"#, r#"{"request_timeout":-1}"#, r#"{"request_timeout":"90"}"#]
    {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn an_absurd_timeout_is_no_timeout() {
    let absurd = config(|c| {
        c.request_timeout = Duration::MAX;
        c.idle_timeout = Duration::MAX;
        c.connect_timeout = Duration::MAX;
        c.max_response_bytes = usize::MAX;
    });
    let call = Call::new(1).with_timeout(Duration::MAX);
    let service = connect_with::<u8, Gross>(absurd, answering(gzipped(b"{}")).await);
    assert!(service.oneshot(call).await.is_ok());
}

#[test]
fn without_a_runtime_there_is_an_error_not_a_panic() {
    let mut service = connect::<Gross>("127.0.0.1:9");
    let result = futures::executor::block_on(tower::Service::call(&mut service, Call::new(1)));
    assert_error(result, Kind::Unavailable, true, "runtime");
}

#[test]
fn services_and_futures_go_anywhere() {
    struct NotEvenDebug(#[allow(dead_code)] std::cell::Cell<u8>);
    fn is_fit<T: Clone + Send + Sync + std::fmt::Debug + 'static>() {}
    is_fit::<HttpTransport<NotEvenDebug, NotEvenDebug>>();
    is_fit::<HttpService<NotEvenDebug, NotEvenDebug>>();
    fn is_sendable<T: Send + 'static>() {}
    is_sendable::<tower_upstream::transport::HttpFuture<NotEvenDebug>>();
}
