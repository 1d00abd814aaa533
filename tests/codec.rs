//! Bodies that are encoded already: the same bytes on the wire, one stack for plugins of several types.
#![cfg(all(feature = "http", unix))]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod socket;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use axum::Router;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use socket::{Connection, Plugin, answer, new_path, new_unix};
use tokio::{io::AsyncReadExt, net::TcpListener};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, Call, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint,
    Error, FailoverLayer, LeastRequest, Reply,
    breaker::CircuitState,
    codec::CodecLayer,
    connect::Connect,
    connect_fn, discover,
    error::{Code, Kind},
    member::Member,
    plugin::Encoded,
    serve,
    transport::{HttpTransport, SocketTransport},
};

#[derive(Clone, Serialize, Deserialize)]
struct Tax {
    net: u64,
    country: String,
}

fn tax() -> Tax {
    Tax { net: 1_200, country: "<IT>".to_owned() }
}

/// The context of every call.
fn call<T>(body: T) -> Call<T> {
    Call::new(body).with_id("r-7").with_header("X-Tenant", "blue").with_metadata("trace", "t-9")
}

fn member(address: &str) -> Arc<Member> {
    Member::new(address.parse::<Endpoint>().unwrap())
}

fn encoded(text: &str) -> Encoded {
    Encoded::json(text).unwrap()
}

/// What a plugin at the socket is sent by one call.
async fn sent_over_a_socket<T, F>(of: F) -> String
where
    F: AsyncFnOnce(Arc<Member>) -> Result<T, Error>,
{
    let seen = Arc::new(Mutex::new(String::new()));
    let lines = seen.clone();
    let plugin = Plugin::at(&new_unix(), move |mut connection: Connection| {
        let lines = lines.clone();
        async move {
            while let Some(line) = connection.next().await {
                let right = answer(&line);
                *lines.lock().unwrap() = line;
                connection.send(&right).await;
            }
        }
    })
    .await;
    of(member(&plugin.address)).await.unwrap();
    std::mem::take(&mut seen.lock().unwrap())
}

/// What an HTTP plugin is sent by one call.
async fn sent_over_http<T, F>(of: F) -> String
where
    F: AsyncFnOnce(Arc<Member>) -> Result<T, Error>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let member = member(&format!("http://{}", listener.local_addr().unwrap()));
    let reading = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"}") {
            stream.read_buf(&mut bytes).await.unwrap();
        }
        String::from_utf8(bytes).unwrap().split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    tokio::select! {
        text = reading => text,
        _ = of(member) => panic!("an answer that nobody gave"),
    }
}

#[tokio::test]
async fn what_is_encoded_already_is_sent_as_it_would_have_been() {
    let typed = sent_over_a_socket(async |member| {
        SocketTransport::<Tax, u64>::new().connect(&member).oneshot(call(tax())).await
    });
    let encoded = sent_over_a_socket(async |member| {
        let body = Encoded::encode(&tax()).unwrap();
        SocketTransport::<Encoded, u64>::new().connect(&member).oneshot(call(body)).await
    });
    let (typed, encoded) = (typed.await, encoded.await);
    assert_eq!(typed, encoded);
    let data = r#""data":{"net":1200,"country":"\u003cIT\u003e"},"headers""#;
    assert!(typed.contains(data), "{typed}");

    let typed = sent_over_http(async |member| {
        HttpTransport::<Tax, u64>::new().connect(&member).oneshot(call(tax())).await
    });
    let encoded = sent_over_http(async |member| {
        let body = Encoded::encode(&tax()).unwrap();
        HttpTransport::<Encoded, u64>::new().connect(&member).oneshot(call(body)).await
    });
    let (typed, encoded) = (typed.await, encoded.await);
    assert_eq!(typed, encoded);
    assert!(typed.starts_with(r#"{"data":{"net":1200,"country":"\u003cIT\u003e"},"request_id""#));
}

#[tokio::test]
async fn what_is_written_over_lines_is_one_line_whatever_it_was() {
    let line = sent_over_a_socket(async |member| {
        let body = encoded("{\n  \"net\": 1.50,\r\n  \"note\": \"a\\nb\"\n}");
        SocketTransport::<Encoded, u64>::new().connect(&member).oneshot(call(body)).await
    });
    let data = r#""data":{   "net": 1.50,    "note": "a\nb" },"#;
    assert!(line.await.contains(data));
}

#[tokio::test]
async fn a_message_that_is_no_json_is_not_sent_as_json() {
    let member = member("http://127.0.0.1:1");
    let http = HttpTransport::<Encoded, Encoded>::new().connect(&member);
    let error = http.oneshot(Call::new(Encoded::protobuf(vec![8, 1]))).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::InvalidConfig, Code::RPC_2005), "{error}");
    assert!(error.is_unsent() && error.to_string().contains("protobuf"), "{error}");
}

/// A plugin that passes on what it gets, with the context.
async fn echo(call: Call<Encoded>) -> Result<Reply<Encoded>, BoxError> {
    let told = call.metadata()["trace"].clone();
    Ok(Reply::new(call.into_body()).with_metadata("told", told))
}

/// Served by both servers of ours.
async fn echoes() -> [String; 3] {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback_service(serve::http(service_fn(echo)));
    tokio::spawn(async { axum::serve(listener, app).await });
    let tcp = serve::tcp(service_fn(echo), "127.0.0.1:0").listen().await.unwrap();
    let unix = serve::unix(service_fn(echo), new_path().display().to_string());
    let unix = unix.listen().await.unwrap();
    let addresses = [http, tcp.address(), unix.address()];
    tokio::spawn(tcp.run());
    tokio::spawn(unix.run());
    addresses
}

#[tokio::test]
async fn both_ends_pass_on_what_is_encoded_and_its_context() {
    let text = r#"{"b":1.50,"a":[1e3,"\u00e9"]}"#;
    for address in echoes().await {
        let reply = match address.split_once(':').unwrap().0 {
            "http" => {
                let http = HttpTransport::<Encoded, Encoded>::new().connect(&member(&address));
                http.oneshot(call(encoded(text))).await
            }
            _ => {
                let socket = SocketTransport::<Encoded, Encoded>::new().connect(&member(&address));
                socket.oneshot(call(encoded(text))).await
            }
        };
        let reply = reply.unwrap();
        assert_eq!(reply.body().as_bytes(), text.as_bytes(), "{address}");
        assert_eq!((reply.request_id(), &*reply.metadata()["told"]), ("r-7", "t-9"), "{address}");
        assert_eq!(reply.endpoint(), Some(&*address));
    }
}

#[tokio::test]
async fn types_share_connections_and_breakers_and_one_that_is_wrong_hurts_no_other() {
    let plugin = Plugin::good().await;
    let breakers = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(2));
    let endpoints = discover::fixed([plugin.address.as_str()]).unwrap();
    let shared = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)))
        .layer(BalanceLayer::new(endpoints, LeastRequest::new()))
        .layer(breakers.clone())
        .service(SocketTransport::<Encoded, Encoded>::new());
    let numbers = CodecLayer::<u64, u64>::new().layer(shared.clone());
    let values = CodecLayer::<Value, Value>::new().layer(shared.clone());
    let wrong = CodecLayer::<u64, BTreeMap<String, u8>>::new().layer(shared);
    for _ in 0..5 {
        assert_eq!(numbers.clone().oneshot(Call::new(4)).await.unwrap().into_body(), 8);
        assert_eq!(
            values.clone().oneshot(Call::new(json!(4))).await.unwrap().into_body(),
            json!(8)
        );
        let error = wrong.clone().oneshot(Call::new(4).idempotent()).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Transport, Code::RPC_2005), "{error}");
        assert_eq!((error.endpoint(), error.is_unsent()), (Some(&*plugin.address), false));
    }
    assert_eq!(plugin.connections(), 1);
    let breaker = breakers.handle_for(&plugin.address).unwrap();
    assert_eq!(breaker.state(), CircuitState::Closed);
}

/// Answers with a text, and counts the calls.
fn texts(
    calls: &Arc<AtomicUsize>,
) -> impl Connect<
    Service: Service<Call<Encoded>, Response = Reply<Encoded>, Error = BoxError, Future: Send>
                 + Clone
                 + Send
                 + Sync
                 + 'static,
> + Send
+ Sync
+ 'static {
    let calls = calls.clone();
    connect_fn(move |_: &Endpoint| {
        let calls = calls.clone();
        service_fn(move |_: Call<Encoded>| {
            calls.fetch_add(1, SeqCst);
            std::future::ready(Ok::<_, BoxError>(Reply::new(encoded("\"a text\""))))
        })
    })
}

#[tokio::test]
async fn the_type_is_that_of_the_endpoint_below_a_balancer_and_of_the_caller_above() {
    let layers = || {
        let endpoints = discover::fixed(["a:1", "b:1"]).unwrap();
        let balance = BalanceLayer::new(endpoints, LeastRequest::new());
        let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(1));
        (FailoverLayer::new(Attempts::up_to(2)), balance, breaker, Arc::new(AtomicUsize::new(0)))
    };
    let (failover, balance, breakers, calls) = layers();
    let below = ServiceBuilder::new()
        .layer(failover)
        .layer(balance)
        .layer(breakers.clone())
        .layer(CodecLayer::<u64, u64>::new())
        .service(texts(&calls));
    let error = below.oneshot(Call::new(1).idempotent()).await.unwrap_err();
    assert_eq!((error.history().len(), calls.load(SeqCst)), (2, 2), "{error}");
    assert!(error.history().iter().all(|error| error.code() == Code::RPC_2005), "{error}");
    for endpoint in ["a:1", "b:1"] {
        assert_eq!(breakers.handle_for(endpoint).unwrap().state(), CircuitState::Open);
    }

    let (failover, balance, breaker, calls) = layers();
    let above = ServiceBuilder::new()
        .layer(breaker.clone())
        .layer(failover)
        .layer(CodecLayer::<u64, u64>::new())
        .layer(balance)
        .service(texts(&calls));
    let error = above.oneshot(Call::new(1).idempotent()).await.unwrap_err();
    assert_eq!((error.code(), calls.load(SeqCst)), (Code::RPC_2005, 1), "{error}");
    assert_eq!(breaker.handle().state(), CircuitState::Closed);
}

#[tokio::test]
async fn a_failover_above_a_codec_goes_on_to_another_endpoint() {
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(2)))
        .layer(CodecLayer::<u64, u64>::new())
        .layer(BalanceLayer::new(discover::fixed(["a:1", "b:1"]).unwrap(), LeastRequest::new()))
        .service(connect_fn(|endpoint: &Endpoint| {
            let is_good = endpoint.key() == "b:1";
            service_fn(move |call: Call<Encoded>| async move {
                if is_good { Ok(Reply::new(call.into_body())) } else { Err(BoxError::from("no")) }
            })
        }));
    for _ in 0..8 {
        let reply = stack.clone().oneshot(Call::new(7).idempotent()).await.unwrap();
        assert_eq!(reply.into_body(), 7);
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_written_reaches_nobody() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let inner = service_fn(move |_: Call<Encoded>| {
        count.fetch_add(1, SeqCst);
        async { Ok::<_, BoxError>(Reply::new(encoded("1"))) }
    });
    let codec = CodecLayer::<BTreeMap<(u8, u8), u8>, u8>::new().layer(inner);
    let error = codec.oneshot(Call::new(BTreeMap::from([((1, 2), 3)]))).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::InvalidConfig, Code::RPC_2005), "{error}");
    assert!(error.is_unsent() && calls.load(SeqCst) == 0);
}
