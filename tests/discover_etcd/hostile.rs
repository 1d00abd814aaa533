//! Answers that no etcd gives.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tower_upstream::{discover::Discover, error::Kind};

use super::*;
use crate::messages::{Event, Header, KeyValue, WatchResponse};

fn event(key: &str, value: &str, mod_revision: i64) -> Event {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    Event { kind: 0, kv: Some(KeyValue { key, value, mod_revision, ..KeyValue::default() }) }
}

fn header() -> Option<Header> {
    Some(Header { cluster_id: 7, member_id: 1, revision: 100 })
}

#[tokio::test(start_paused = true)]
async fn an_answer_beyond_a_bound_is_refused_with_the_backend_and_the_limit() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    // It does not fit alone.
    cluster.put(&key("1"), "x".repeat(5 << 20));
    let tax = tax(&[&member]);
    assert!(tax.first_snapshot(secs(2)).await.is_err());
    let error = tax.handle().last_error().unwrap();
    let text = error.to_string();
    assert_eq!(error.kind(), Kind::Transport);
    assert!(text.contains("etcd at `http://127.0.0.1:") && text.contains("4194304"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn nonsense_on_the_stream_ends_it_and_loses_no_endpoint() {
    let many = WatchResponse { events: vec![Event::default(); 70_000], ..WatchResponse::default() };
    let huge = event(&key("x"), &"x".repeat(10 << 20), 100);
    let of =
        |events: Vec<Event>| WatchResponse { header: header(), events, ..WatchResponse::default() };
    let negative = Some(Header { revision: -5, ..header().unwrap() });
    for (told, problem) in [
        (many, "65536"),
        (of(vec![huge]), "4194304"),
        (of(vec![Event::default()]), "an event without a key"),
        (of(vec![event(&key("x"), "", -1)]), "an event without a revision"),
        (WatchResponse { header: negative, ..WatchResponse::default() }, "a negative revision"),
        (
            WatchResponse { compact_revision: -1, canceled: true, ..of(vec![]) },
            "a negative revision",
        ),
        (WatchResponse { created: true, ..of(vec![]) }, "a watch that was not asked for"),
        (
            WatchResponse {
                canceled: true,
                cancel_reason: "no reason at all".into(),
                ..of(vec![])
            },
            "ended the watch: no reason at all",
        ),
    ] {
        let cluster = Cluster::new();
        let member = cluster.member().await;
        add(&cluster, &["a", "b"]);
        let tax = tax(&[&member]);
        let mut sets = tax.discover();
        expect(&mut sets, &["a", "b"]).await;
        watched(&cluster).await;
        cluster.tell(told);
        // The next observation may be there already.
        let start = tokio::time::Instant::now();
        let mut error = None;
        while error.is_none() && start.elapsed() < secs(5) {
            tokio::time::sleep(Duration::from_micros(100)).await;
            error = tax.handle().last_error();
        }
        let error = error.expect(problem).to_string();
        assert!(error.contains(problem) && error.contains("etcd at `http://"), "{error}");
        add(&cluster, &["c"]);
        expect(&mut sets, &["a", "b", "c"]).await;
        assert!(cluster.asked("Watch") <= 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_told_of_a_watch_that_is_not_there_is_ignored() {
    let cluster = Cluster::new();
    let member = cluster.member().await;
    add(&cluster, &["a"]);
    let tax = tax(&[&member]);
    let mut sets = tax.discover();
    expect(&mut sets, &["a"]).await;
    watched(&cluster).await;
    let unknown = |events| WatchResponse {
        header: header(),
        watch_id: 99,
        events,
        ..WatchResponse::default()
    };
    cluster.tell(unknown(vec![event(&key("x"), &instance("x"), 50)]));
    cluster.tell(WatchResponse { canceled: true, ..unknown(vec![]) });
    cluster.tell(unknown(vec![]));
    // Of a revision that is known: it may come again.
    cluster
        .tell(WatchResponse { watch_id: 0, ..unknown(vec![event(&key("y"), &instance("y"), 1)]) });
    add(&cluster, &["b"]);
    expect(&mut sets, &["a", "b"]).await;
    assert_eq!(tax.handle().failures(), 0);
}

#[tokio::test(start_paused = true)]
async fn details_that_cannot_be_read_end_no_watch() {
    for in_head in [true, false] {
        let answer = move |_: Request<Incoming>| async move {
            let mut told = HeaderMap::new();
            told.insert("grpc-status", HeaderValue::from_static("14"));
            told.insert("grpc-message", HeaderValue::from_static("caf%E9"));
            told.insert("grpc-status-details-bin", HeaderValue::from_static("!!!"));
            let (head, trailers) =
                if in_head { (told, None) } else { (HeaderMap::new(), Some(Ok(told))) };
            let body = Empty::<Bytes>::new().with_trailers(async move { trailers });
            let mut response = Response::new(body);
            *response.headers_mut() = head;
            let kind = HeaderValue::from_static("application/grpc");
            response.headers_mut().insert("content-type", kind);
            Ok::<_, Infallible>(response)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = http2::Builder::new(TokioExecutor::new());
                let served = server.serve_connection(TokioIo::new(stream), service_fn(answer));
                tokio::spawn(served);
            }
        });
        let config = EtcdConfig::default().with_endpoints([url]);
        let tax = Etcd::new(config).unwrap().service("tax").unwrap();
        assert!(tax.first_snapshot(secs(30)).await.is_err());
        // It goes on asking, and knows why it has nothing.
        assert!(tax.handle().failures() > 1, "{:?}", tax.handle());
        let error = tax.handle().last_error().unwrap();
        assert!(error.to_string().contains("etcd at `http://127.0.0.1:"), "{error}");
    }
}
