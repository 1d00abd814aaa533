//! A dead connection is no dead endpoint.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;
mod wire;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use support::seen;

use bytes::Bytes;
use futures::future::join_all;
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    sync::Barrier,
    time::{Instant, timeout},
};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_upstream::{
    Attempts, BalanceLayer, Call, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint, Error,
    FailoverLayer, LeastRequest, Reply,
    breaker::CircuitState,
    connect::Connect,
    connect_fn,
    dial::TcpConnector,
    discover,
    error::Kind,
    http::{HttpClassify, OriginLayer},
    member::Member,
    plugin::PluginStatus,
    transport::{HttpConfig, HttpTransport},
};

use self::wire::{Server, answer_all, header, ok, read_request, reset_on_use};

const ANSWER: &str = r#"{"data":7}"#;
const FAREWELL: &str =
    "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbye";

/// How the other side ends a connection once it is dead.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// At the first byte of the next request.
    Reset,
    /// After the next request, without a word.
    Close,
    /// With words that are no answer, once the next request has come.
    Farewell,
    /// In the body of the next answer.
    HalfAnAnswer,
}

/// A server of which `idle` connections can be made at once, that all die on their next use once
/// `dead` says so. Others work, unless `all` says that they die too.
struct Mortal {
    server: Server,
    dead: Arc<AtomicBool>,
    all: Arc<AtomicBool>,
}

impl Mortal {
    async fn new(idle: usize, death: Death) -> Self {
        let (dead, all) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (is_dead, are_all) = (dead.clone(), all.clone());
        let first = Arc::new(Barrier::new(idle));
        let server = Server::new(move |mut stream: TcpStream, number| {
            let (is_dead, are_all, first) = (is_dead.clone(), are_all.clone(), first.clone());
            async move {
                let is_old = number < idle;
                if is_old {
                    read_request(&mut stream).await.unwrap();
                    // So many connections as there are first calls.
                    first.wait().await;
                    stream.write_all(ok(ANSWER).as_bytes()).await.unwrap();
                }
                loop {
                    stream.readable().await.unwrap();
                    let dies = is_old && is_dead.load(SeqCst) || are_all.load(SeqCst);
                    if dies && matches!(death, Death::Reset) {
                        return reset_on_use(stream).await;
                    }
                    if read_request(&mut stream).await.is_none()
                        || dies && matches!(death, Death::Close)
                    {
                        return;
                    }
                    let answer = ok(ANSWER);
                    let answer = match death {
                        Death::Farewell if dies => FAREWELL,
                        _ if dies => &answer[..answer.len() - 2],
                        _ => &answer,
                    };
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    if dies {
                        return;
                    }
                }
            }
        })
        .await;
        Self { server, dead, all }
    }

    /// Fills the pool behind `service`, and kills what is in it.
    async fn kill_idle<S>(&self, service: &S, idle: usize)
    where
        S: Service<Call<u32>, Response = Reply<u32>, Error = Error> + Clone,
    {
        let calls = (0..idle).map(|_| service.clone().oneshot(Call::new(1)));
        assert!(join_all(calls).await.iter().all(Result::is_ok));
        assert_eq!(self.server.connections(), idle);
        self.dead.store(true, SeqCst);
    }
}

fn stack(
    address: &str,
    failures: u32,
) -> (impl Service<Call<u32>, Response = Reply<u32>, Error = Error> + Clone, CircuitBreakerLayer) {
    let breakers = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(failures));
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed([address]).unwrap(), LeastRequest::default()))
        .layer(breakers.clone())
        .service(HttpTransport::<u32, u32>::new());
    (stack, breakers)
}

#[tokio::test]
async fn idle_connections_that_died_fail_no_idempotent_call() {
    for death in [Death::Reset, Death::Close, Death::Farewell] {
        for at_once in [true, false] {
            let mortal = Mortal::new(40, death).await;
            let url = mortal.server.url();
            let (stack, breakers) = stack(&url, 1);
            mortal.kill_idle(&stack, 40).await;
            let calls = (0..30).map(|_| stack.clone().oneshot(Call::new(1).idempotent()));
            let mut replies = Vec::new();
            if at_once {
                replies = join_all(calls).await;
            } else {
                for call in calls {
                    replies.push(call.await);
                }
            }
            for reply in replies {
                assert_eq!(reply.unwrap().into_body(), 7, "{death:?}");
            }
            let stats = seen(&breakers.handle_for(&url).unwrap());
            assert_eq!((stats.state, stats.failed), (CircuitState::Closed, 0), "{death:?}");
            if !at_once {
                assert_eq!(mortal.server.connections(), 41, "one failure empties the pool");
            }
        }
    }
}

#[tokio::test]
async fn a_call_that_may_not_be_repeated_fails_without_blame_and_empties_the_pool() {
    for death in [Death::Reset, Death::Close, Death::Farewell] {
        let mortal = Mortal::new(40, death).await;
        let url = mortal.server.url();
        let (stack, breakers) = stack(&url, 1);
        mortal.kill_idle(&stack, 40).await;
        let error = stack.clone().oneshot(Call::new(1)).await.unwrap_err();
        assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, false), "{error}");
        assert_eq!(error.endpoint(), Some(&*url));
        for _ in 0..30 {
            stack.clone().oneshot(Call::new(1)).await.unwrap();
        }
        let stats = seen(&breakers.handle_for(&url).unwrap());
        assert_eq!((stats.state, stats.failed), (CircuitState::Closed, 0), "{death:?}");
    }
}

#[tokio::test]
async fn a_server_that_kills_every_connection_opens_the_circuit_after_its_number_of_failures() {
    for death in [Death::Reset, Death::Close, Death::HalfAnAnswer] {
        let mortal = Mortal::new(10, death).await;
        let url = mortal.server.url();
        let (stack, breakers) = stack(&url, 5);
        mortal.kill_idle(&stack, 10).await;
        mortal.all.store(true, SeqCst);
        let state = || breakers.handle_for(&url).unwrap().state();
        for _ in 0..5 {
            assert_eq!(state(), CircuitState::Closed, "{death:?}");
            let error = stack.clone().oneshot(Call::new(1).idempotent()).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Connection, "{death:?}");
        }
        assert_eq!(state(), CircuitState::Open, "{death:?}");
    }
}

#[tokio::test]
async fn a_408_is_no_answer_only_where_it_ends_a_connection_that_was_there_before() {
    let status = |head: &'static str, first: bool| async move {
        let server = Server::new(move |mut stream: TcpStream, number| async move {
            let mut is_first = first && number == 0;
            while read_request(&mut stream).await.is_some() {
                let answer = if is_first { ok(ANSWER) } else { format!("{head}\r\nbye") };
                is_first = false;
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        })
        .await;
        let mut transport = HttpTransport::<u32, u32>::new()
            .connect(&Member::new(Endpoint::new(server.url()).unwrap()));
        if first {
            transport.call(Call::new(1)).await.unwrap();
        }
        let error = transport.call(Call::new(1).idempotent()).await.unwrap_err();
        (error.kind(), server.connections(), error.to_string())
    };
    let close = "HTTP/1.1 408 X\r\nConnection: x, Close\r\nContent-Length: 3\r\n";
    let keep = "HTTP/1.1 408 X\r\nContent-Length: 3\r\n";
    let old = "HTTP/1.0 408 X\r\nContent-Length: 3\r\n";
    let old_keep = "HTTP/1.0 408 X\r\nConnection: keep-alive\r\nContent-Length: 3\r\n";
    for (head, first, connections) in [
        // Sent again, where it is the plugin's own word.
        (close, true, 2),
        (old, true, 2),
        (keep, true, 1),
        (old_keep, true, 1),
        (close, false, 1),
    ] {
        let (kind, seen, said) = status(head, first).await;
        assert_eq!((kind, seen), (Kind::Plugin, connections), "{head}: {said}");
        assert!(said.contains("408: bye"), "{said}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_on_a_kept_connection_is_the_endpoints_and_not_asked_for_again() {
    for call in [Call::new(1), Call::new(1).idempotent()] {
        let mortal = Mortal::new(3, Death::HalfAnAnswer).await;
        let url = mortal.server.url();
        let (stack, breakers) = stack(&url, 3);
        mortal.kill_idle(&stack, 3).await;
        for _ in 0..3 {
            let error = stack.clone().oneshot(call.clone()).await.unwrap_err();
            assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, false), "{error}");
            assert!(error.to_string().contains("broke off"), "{error}");
        }
        assert_eq!(breakers.handle_for(&url).unwrap().state(), CircuitState::Open);
        assert_eq!(mortal.server.connections(), 3, "sent once each");
    }
}

#[tokio::test]
async fn connections_that_died_at_once_are_one_event_for_calls_that_may_not_be_repeated() {
    let mortal = Mortal::new(20, Death::Close).await;
    let url = mortal.server.url();
    let (stack, breakers) = stack(&url, 1);
    mortal.kill_idle(&stack, 20).await;
    let replies = join_all((0..20).map(|_| stack.clone().oneshot(Call::new(1)))).await;
    assert!(replies.iter().all(Result::is_err));
    assert_eq!(seen(&breakers.handle_for(&url).unwrap()).failed, 0);
}

#[tokio::test(start_paused = true)]
async fn connections_that_die_soon_after_those_before_them_are_the_endpoints() {
    // Each connection dies with its second request.
    let server = Server::new(|mut stream, _| async move {
        read_request(&mut stream).await.unwrap();
        stream.write_all(ok(ANSWER).as_bytes()).await.unwrap();
        read_request(&mut stream).await;
    })
    .await;
    let url = server.url();
    let (stack, breakers) = stack(&url, u32::MAX);
    let failures = || seen(&breakers.handle_for(&url).unwrap()).failed;
    let pair = || async {
        stack.clone().oneshot(Call::new(1)).await.unwrap();
        stack.clone().oneshot(Call::new(1)).await.unwrap_err();
    };
    for evidence in 0..10 {
        pair().await;
        assert_eq!(failures(), evidence, "all but the first");
        tokio::time::sleep(Duration::from_millis(900)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    pair().await;
    assert_eq!(failures(), 9, "a second later it may have been idle");
}

/// What becomes of the second connection to a server whose first died.
#[derive(Clone, Copy, Debug)]
enum Next {
    Refused,
    /// Nobody lets it in.
    Unconnected,
    Unanswered,
}

/// A server with one connection, which answers a request and dies `late` after the next.
async fn one_connection(late: Duration, next: Next) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut waiting = Vec::new();
        if matches!(next, Next::Unconnected) {
            let wait = Duration::from_millis(10);
            while let Ok(stream) = timeout(wait, TcpStream::connect(address)).await {
                waiting.push(stream.unwrap());
            }
        }
        read_request(&mut stream).await.unwrap();
        stream.write_all(ok(ANSWER).as_bytes()).await.unwrap();
        read_request(&mut stream).await.unwrap();
        tokio::time::sleep(late).await;
        let _listener = (!matches!(next, Next::Refused)).then_some(listener);
        drop(stream);
        std::future::pending::<()>().await;
    });
    format!("http://{address}")
}

/// The error of a call whose connection died under it, and how long that took.
async fn error_of(
    late: Duration,
    next: Next,
    config: HttpConfig,
    call: impl FnOnce() -> Call<u32>,
) -> (Error, Duration) {
    let member = Member::new(Endpoint::new(one_connection(late, next).await).unwrap());
    let service = HttpTransport::<u32, u32>::with_config(config).connect(&member);
    service.clone().oneshot(Call::new(1)).await.unwrap();
    let start = Instant::now();
    let error = service.oneshot(call()).await.unwrap_err();
    (error, start.elapsed())
}

fn within(request_timeout: Duration) -> HttpConfig {
    let mut config = HttpConfig::default();
    config.request_timeout = request_timeout;
    config
}

const WHOLE: Duration = Duration::from_millis(400);

#[tokio::test(start_paused = true)]
async fn what_was_written_once_is_sent_though_the_second_connection_fails() {
    let call = || Call::new(1).idempotent();
    let default = HttpConfig::default;
    let (refused, _) = error_of(Duration::ZERO, Next::Refused, default(), call).await;
    assert_eq!((refused.kind(), refused.is_unsent()), (Kind::Connection, false), "{refused}");
    let (late, _) = error_of(Duration::ZERO, Next::Unconnected, within(WHOLE), call).await;
    assert_eq!((late.kind(), late.is_unsent()), (Kind::Timeout, false), "{late}");
    let hasty = || call().with_timeout(WHOLE);
    let (late, _) = error_of(Duration::ZERO, Next::Unconnected, default(), hasty).await;
    assert_eq!((late.kind(), late.is_unsent()), (Kind::Timeout, false), "{late}");
    let mut config = default();
    config.connect_timeout = WHOLE;
    let (late, _) = error_of(Duration::ZERO, Next::Unconnected, config, call).await;
    assert_eq!((late.kind(), late.is_unsent()), (Kind::Timeout, false), "{late}");
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_again_has_the_time_that_is_left() {
    let late = WHOLE * 3 / 4;
    for next in [Next::Unconnected, Next::Unanswered] {
        for of_call in [false, true] {
            // The time of a call begins when it is made, and its first connection takes some.
            let config = if of_call { HttpConfig::default() } else { within(WHOLE) };
            let call = move || {
                let call = Call::new(1).idempotent();
                if of_call { call.with_timeout(WHOLE) } else { call }
            };
            let (error, took) = error_of(late, next, config, call).await;
            assert_eq!(error.kind(), Kind::Timeout, "{error}");
            assert!(took >= WHOLE && took < WHOLE + late / 2, "{next:?}: {took:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_ran_out_of_time_was_in_vain_too() {
    // The first connection dies with its second request, the second does not answer, and the third is
    // as the first.
    let server = Server::new(|mut stream, number| async move {
        read_request(&mut stream).await.unwrap();
        if number != 1 {
            stream.write_all(ok(ANSWER).as_bytes()).await.unwrap();
        }
        read_request(&mut stream).await;
    })
    .await;
    let member = Member::new(Endpoint::new(server.url()).unwrap());
    let service = HttpTransport::<u32, u32>::with_config(within(WHOLE)).connect(&member);
    let call = || service.clone().oneshot(Call::new(1).idempotent());
    call().await.unwrap();
    assert_eq!(call().await.unwrap_err().kind(), Kind::Timeout);
    call().await.unwrap();
    assert_eq!(call().await.unwrap_err().kind(), Kind::Connection);
    assert_eq!(server.connections(), 3, "sent once");
    call().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    call().await.unwrap();
    assert_eq!(server.connections(), 5, "a second later it is sent again");
}

#[tokio::test]
async fn for_a_second_after_one_in_vain_nothing_is_sent_again() {
    let mortal = Mortal::new(10, Death::Close).await;
    let member = Member::new(Endpoint::new(mortal.server.url()).unwrap());
    let service = HttpTransport::<u32, u32>::new().connect(&member);
    mortal.kill_idle(&service, 10).await;
    mortal.all.store(true, SeqCst);
    let call = || service.clone().oneshot(Call::new(1).idempotent());
    assert_eq!(call().await.unwrap_err().kind(), Kind::Connection);
    assert_eq!(mortal.server.connections(), 11);
    // There is one to use again, and it dies.
    mortal.all.store(false, SeqCst);
    call().await.unwrap();
    mortal.all.store(true, SeqCst);
    call().await.unwrap_err();
    assert_eq!(mortal.server.connections(), 12, "sent once");
}

#[tokio::test]
async fn a_plugin_is_asked_again_how_it_does() {
    let mortal = Mortal::new(3, Death::Close).await;
    let member = Member::new(Endpoint::new(mortal.server.url()).unwrap());
    let service = HttpTransport::<u32, u32>::new().connect(&member);
    mortal.kill_idle(&service, 3).await;
    let health = service.health().await;
    assert_eq!(health.status, PluginStatus::Healthy, "{health:?}");
}

/// A client of one's own below an `OriginLayer`, and whether its circuit opened at the first call after
/// its only connection died.
async fn over_a_client<C>(connector: C, kind: Kind) -> CircuitState
where
    C: hyper_util::client::legacy::connect::Connect + Clone + Send + Sync + 'static,
{
    let server = Server::new(|mut stream, number| async move {
        if number == 0 {
            read_request(&mut stream).await.unwrap();
            stream.write_all(ok("").as_bytes()).await.unwrap();
            return reset_on_use(stream).await;
        }
        answer_all(&mut stream, &ok("")).await;
    })
    .await;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let url = server.url();
    let breakers = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(1));
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed([&*url]).unwrap(), LeastRequest::default()))
        .layer(breakers.clone())
        .layer(OriginLayer::new())
        .service(connect_fn(move |_: &Endpoint| client.clone()));
    let get = || stack.clone().oneshot(http::Request::get("/").body(Full::default()).unwrap());
    get().await.unwrap().into_body().collect().await.unwrap();
    let error = get().await.unwrap_err();
    assert_eq!((error.kind(), error.endpoint()), (kind, Some(&*url)), "{error}");
    assert!(!error.is_unsent());
    breakers.handle_for(&url).unwrap().state()
}

#[tokio::test]
async fn a_client_of_hyper_util_over_our_connector_tells_a_dead_connection_too() {
    let ours = over_a_client(TcpConnector::new(), Kind::Connection).await;
    assert_eq!(ours, CircuitState::Closed);
    // Another's does not say how old its connections are.
    let other = over_a_client(HttpConnector::new(), Kind::Service).await;
    assert_eq!(other, CircuitState::Open);
}

#[tokio::test]
async fn below_a_failover_it_fails_no_idempotent_request() {
    let mortal = Mortal::new(3, Death::Reset).await;
    let client: Client<_, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build(TcpConnector::new());
    let url = mortal.server.url();
    let breakers = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(1));
    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)).with_classify(HttpClassify))
        .layer(BalanceLayer::new(discover::fixed([&*url]).unwrap(), LeastRequest::default()))
        .layer(breakers.clone())
        .layer(OriginLayer::new())
        .service(connect_fn(move |_: &Endpoint| client.clone()));
    let get = || async {
        let request = http::Request::get("/").body(Full::default()).unwrap();
        let answer = stack.clone().oneshot(request).await?;
        Ok::<_, Error>(answer.into_body().collect().await.unwrap().to_bytes())
    };
    join_all((0..3).map(|_| get())).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    // One of the three, since only a client of ours can empty its pool.
    mortal.dead.store(true, SeqCst);
    assert_eq!(get().await.unwrap(), ANSWER);
    assert_eq!(seen(&breakers.handle_for(&url).unwrap()).failed, 0);
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_no_dead_connection() {
    let uploading = Server::new(|mut stream, _| async move {
        read_request(&mut stream).await.unwrap();
        let whole = ok("the whole upload");
        stream.write_all(&whole.as_bytes()[..whole.len() - 5]).await.unwrap();
    })
    .await;
    let server = Server::new(|mut stream, _| async move { answer_all(&mut stream, &ok("")).await });
    let server = server.await;
    let client: Client<_, UnsyncBoxBody<Bytes, hyper::Error>> =
        Client::builder(TokioExecutor::new()).build(TcpConnector::new());
    let service = ServiceBuilder::new()
        .layer(OriginLayer::new())
        .service(connect_fn(move |_: &Endpoint| client.clone()))
        .connect(&Member::new(Endpoint::new(server.url()).unwrap()));
    let empty = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let answer = service.clone().oneshot(http::Request::new(empty)).await.unwrap();
    answer.into_body().collect().await.unwrap();

    let source: Client<_, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build(TcpConnector::new());
    let upload = source.get(uploading.url().parse().unwrap()).await.unwrap().into_body();
    let request = http::Request::post("/").body(upload.boxed_unsync()).unwrap();
    let error = service.oneshot(request).await.unwrap_err();
    assert_eq!((error.kind(), server.connections()), (Kind::InvalidRequest, 1), "{error:?}");
}

#[tokio::test]
async fn a_fresh_connection_that_breaks_is_the_endpoints() {
    let server = Server::new(|stream, _| reset_on_use(stream)).await;
    let client: Client<_, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build(TcpConnector::new());
    let breakers = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(1));
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed([server.url()]).unwrap(), LeastRequest::default()))
        .layer(breakers.clone())
        .layer(OriginLayer::new())
        .service(connect_fn(move |_: &Endpoint| client.clone()));
    let get = http::Request::get("/").body(Full::default()).unwrap();
    stack.clone().oneshot(get).await.unwrap_err();
    assert_eq!(breakers.handle_for(&server.url()).unwrap().state(), CircuitState::Open);
}

#[tokio::test]
async fn what_is_sent_again_is_the_same() {
    let heads = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = heads.clone();
    let server = Server::new(move |mut stream, number| {
        let seen = seen.clone();
        async move {
            while let Some(head) = read_request(&mut stream).await {
                let mut lines: Vec<_> = head.lines().map(str::to_owned).collect();
                lines.sort();
                let nth = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(lines);
                    seen.len()
                };
                if number == 0 && nth == 2 {
                    return;
                }
                stream.write_all(ok(ANSWER).as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let member = Member::new(Endpoint::new(server.url()).unwrap());
    let service = HttpTransport::<String, u32>::new().connect(&member);
    let call = |id: &'static str| {
        let call = Call::new("x".repeat(100_000)).with_id(id).with_header("X-Tenant", "blue");
        service.clone().oneshot(call.idempotent())
    };
    call("first").await.unwrap();
    call("second").await.unwrap();
    let heads = heads.lock().unwrap();
    assert_eq!((heads.len(), server.connections()), (3, 2));
    assert_eq!(heads[1], heads[2]);
    assert!(header(&heads[2].join("\n"), "x-tenant").is_some_and(|value| value == "blue"));
}
