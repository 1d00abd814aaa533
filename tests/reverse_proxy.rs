//! The reverse proxy of the examples, as a process between clients and upstreams that are killed.
#![cfg(all(feature = "http", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod proxied;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, channel::mpsc, future::join_all};
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use self::proxied::{Client, Proxy, Upstream, client, h2_client, streamed};

/// No test waits longer.
const PATIENCE: Duration = Duration::from_secs(60);
const MB: usize = 1 << 20;

/// What the processes run that are upstreams: see [`Upstream`].
#[test]
fn upstream() {
    proxied::serve_if_asked();
}

async fn get(client: &Client, url: String) -> Result<(StatusCode, Bytes), String> {
    let request = Request::get(url).body(streamed([])).unwrap();
    answer(client, request).await
}

async fn answer(
    client: &Client,
    request: Request<proxied::Streamed>,
) -> Result<(StatusCode, Bytes), String> {
    let call = async {
        let response = client.request(request).await.map_err(|error| format!("{error:?}"))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| format!("{error:?}"))?;
        Ok((status, body.to_bytes()))
    };
    timeout(PATIENCE, call).await.map_err(|_| "no answer".to_owned())?
}

/// Sends the start of an upload, and leaves.
async fn leave_an_upload(proxy: &Proxy) {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let head = "PUT /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 10000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[b'x'; 100_000]).await.unwrap();
    sleep(Duration::from_millis(5)).await;
}

/// Reads the start of a long answer, and leaves.
async fn leave_a_download(proxy: &Proxy) {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(b"GET /download HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    stream.read_exact(&mut [0; 1_000]).await.unwrap();
}

/// Asks, and leaves before the answer.
async fn leave_a_question(proxy: &Proxy) {
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_fails_while_upstreams_are_killed_and_callers_leave() {
    let mut upstreams = vec![Upstream::start(), Upstream::start(), Upstream::start()];
    let proxy = Proxy::start(&upstreams);
    let over = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));

    let callers = (0..8).map(|number| {
        let (over, answered, url) = (over.clone(), answered.clone(), proxy.url());
        let client = if number % 2 == 0 { client() } else { h2_client() };
        tokio::spawn(async move {
            let mut failed = Vec::new();
            while !over.load(SeqCst) {
                let result = match number % 4 {
                    0 | 1 => get(&client, format!("{url}/name")).await,
                    _ => {
                        let body = streamed([Bytes::from(vec![b'x'; 8_000])]);
                        let request = Request::put(format!("{url}/upload")).body(body).unwrap();
                        answer(&client, request).await
                    }
                };
                match result {
                    Ok((StatusCode::OK, _)) => answered.fetch_add(1, SeqCst),
                    other => {
                        failed.push(format!("{other:?}"));
                        0
                    }
                };
                sleep(Duration::from_millis(2)).await;
            }
            failed
        })
    });
    let callers: Vec<_> = callers.collect();

    let proxy = Arc::new(proxy);
    let leavers = (0..3).map(|number| {
        let (over, proxy) = (over.clone(), proxy.clone());
        tokio::spawn(async move {
            while !over.load(SeqCst) {
                // Whatever upstream it was on may have been killed.
                let left = async {
                    match number {
                        0 => leave_an_upload(&proxy).await,
                        1 => leave_a_download(&proxy).await,
                        _ => leave_a_question(&proxy).await,
                    }
                };
                let _ = timeout(Duration::from_secs(1), left).await;
            }
        })
    });
    let leavers: Vec<_> = leavers.collect();

    let mut warm = 0;
    for round in 0..9 {
        let upstream = &mut upstreams[round % 3];
        upstream.kill();
        sleep(Duration::from_millis(300)).await;
        upstream.restart();
        sleep(Duration::from_millis(300)).await;
        if round == 2 {
            warm = proxy.resident();
        }
    }
    over.store(true, SeqCst);
    let failed: Vec<_> =
        join_all(callers).await.into_iter().flat_map(|failed| failed.unwrap()).collect();
    join_all(leavers).await;
    let (answered, grown) = (answered.load(SeqCst), proxy.resident().saturating_sub(warm));
    println!("{answered} answered, {} failed, grown by {grown} bytes", failed.len());
    assert!(failed.is_empty(), "{} of {answered} failed: {failed:#?}", failed.len());
    assert!(answered > 500, "{answered}");
    assert!(grown < 16 * MB, "grown by {grown} bytes from {warm}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_upstream_is_avoided_because_callers_left() {
    let upstreams = [Upstream::start(), Upstream::start()];
    let proxy = Proxy::start(&upstreams);
    for _ in 0..10 {
        let few = 0..4;
        join_all(few.clone().map(|_| leave_an_upload(&proxy))).await;
        join_all(few.clone().map(|_| leave_a_download(&proxy))).await;
        join_all(few.map(|_| leave_a_question(&proxy))).await;
    }
    let client = client();
    let mut names = Vec::new();
    for _ in 0..400 {
        let (status, name) = get(&client, format!("{}/name", proxy.url())).await.unwrap();
        assert_eq!(status, StatusCode::OK);
        names.push(name);
    }
    for upstream in &upstreams {
        let share = names.iter().filter(|name| **name == upstream.address.to_string()).count();
        assert!(share >= 140, "{share} of 400");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_megabytes_go_up_and_down_in_little_memory() {
    let upstreams = [Upstream::start()];
    let proxy = Proxy::start(&upstreams);
    for client in [client(), h2_client()] {
        get(&client, format!("{}/name", proxy.url())).await.unwrap();
        let before = proxy.resident();
        let chunk = Bytes::from(vec![b'x'; MB]);
        let request = Request::post(format!("{}/upload", proxy.url()))
            .body(streamed(std::iter::repeat_n(chunk, 50)))
            .unwrap();
        let (status, counted) = answer(&client, request).await.unwrap();
        assert_eq!((status, &*counted), (StatusCode::OK, (50 * MB).to_string().as_bytes()));
        let (status, body) = get(&client, format!("{}/download", proxy.url())).await.unwrap();
        assert_eq!((status, body.len()), (StatusCode::OK, 50 * MB));
        let grown = proxy.resident().saturating_sub(before);
        assert!(grown < 20 * MB, "grown by {grown} bytes from {before}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_stream_at_once() {
    let upstreams = [Upstream::start()];
    let proxy = Proxy::start(&upstreams);
    for client in [client(), h2_client()] {
        let (mut say, said) = mpsc::channel(1);
        let body = StreamBody::new(said.map(|text: &'static str| {
            Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(text.as_bytes())))
        }));
        let request =
            Request::post(format!("{}/echo", proxy.url())).body(BodyExt::boxed(body)).unwrap();
        let talk = async {
            let mut echo = client.request(request).await.unwrap().into_body();
            for text in ["one", "two", "three"] {
                say.try_send(text).unwrap();
                let heard = echo.frame().await.unwrap().unwrap().into_data().unwrap();
                assert_eq!(heard, text.as_bytes());
            }
            drop(say);
            assert!(echo.collect().await.unwrap().to_bytes().is_empty());
        };
        timeout(PATIENCE, talk).await.expect("what is said comes back at once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_one_by_one() {
    let upstreams = [Upstream::start()];
    let proxy = Proxy::start(&upstreams);
    let client = client();
    let listen = Request::get(format!("{}/events", proxy.url())).body(streamed([])).unwrap();
    let events = async {
        let response = client.request(listen).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut events = response.into_body();
        for number in 0..5 {
            // The next event is sent when it is asked for.
            get(&client, format!("{}/event", proxy.url())).await.unwrap();
            let event = events.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(event, format!("data: {number}\n\n").as_bytes());
        }
    };
    timeout(PATIENCE, events).await.expect("each event arrives");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgraded_connection_talks_both_ways_and_ends_on_both_sides() {
    let upstreams = [Upstream::start()];
    let proxy = Proxy::start(&upstreams);
    let client = client();
    let open = async || {
        let (_, open) = get(&client, format!("{}/upgraded", proxy.url())).await.unwrap();
        String::from_utf8(open.to_vec()).unwrap()
    };
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    let ask = "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\n\
               upgrade: h2c, WebSocket, other\r\nsec-websocket-key: x\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    for field in ["connection: upgrade", "upgrade: websocket", "sec-websocket-accept: x"] {
        assert!(head.contains(&format!("\r\n{field}\r\n")), "{head}");
    }
    for text in [&b"ping"[..], &[7; 100_000]] {
        let mut heard = vec![0; text.len()];
        let (mut read, mut write) = stream.split();
        let (wrote, was_read) = tokio::join!(write.write_all(text), read.read_exact(&mut heard));
        assert!(wrote.is_ok() && was_read.is_ok() && heard == text);
    }
    assert_eq!(open().await, "1");
    drop(stream);
    let closed = async {
        while open().await != "0" {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, closed).await.expect("the upstream's side closes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upstream_is_told_of_the_client_and_not_of_the_connection() {
    let upstreams = [Upstream::start()];
    let proxy = Proxy::start(&upstreams);
    for (client, version) in [(client(), "HTTP/1.1"), (h2_client(), "HTTP/2.0")] {
        let request = Request::get(format!("{}/headers", proxy.url()))
            .header("x-forwarded-for", "1.1.1.1")
            .header("te", "trailers")
            .body(streamed([]))
            .unwrap();
        let response = client.request(request).await.unwrap();
        assert_eq!(format!("{:?}", response.version()), version);
        let fields = response.into_body().collect().await.unwrap().to_bytes();
        let fields = String::from_utf8(fields.to_vec()).unwrap();
        let host = proxy.address;
        for field in [
            "x-forwarded-for: 127.0.0.1".to_owned(),
            format!("x-forwarded-host: {host}"),
            "x-forwarded-proto: http".to_owned(),
            format!("forwarded: for=127.0.0.1;host=\"{host}\";proto=http"),
            format!("host: {host}"),
            "te: trailers".to_owned(),
        ] {
            assert!(fields.lines().any(|line| line == field), "{field}: {fields}");
        }
        assert!(!fields.contains("connection:"), "{fields}");
    }
}

#[test]
fn it_says_how_to_call_it() {
    let output = Proxy::command().args(["--listen", "127.0.0.1:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("usage: reverse_proxy"));
}
