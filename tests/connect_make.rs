//! What a connector promises that has to make its services first.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::future::join_all;
use support::{Answer, Ask, Inner, Probe, Readiness, counted, ms, secs, seen, settle};
use tokio::time::{Instant, sleep, timeout};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint, Error,
    FailoverLayer,
    balance::RoundRobin,
    breaker::CircuitState,
    connect::{Connect, Made, connect_make},
    discover,
    error::Kind,
    member::Member,
};

/// What a maker does.
#[derive(Debug, Clone, Copy)]
enum Make {
    Makes(Duration),
    Fails(Duration),
    /// With an error of ours.
    Refuses,
    Panics,
    Never,
}

/// A maker of [`Probe`]s for one endpoint.
#[derive(Clone)]
struct Maker {
    make: Arc<Mutex<Make>>,
    inner: Arc<Inner>,
    begun: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    ready: bool,
}

impl Maker {
    fn new(make: Make) -> Self {
        let count = Arc::<AtomicUsize>::default;
        let make = Arc::new(Mutex::new(make));
        let inner = Inner::new("a:1");
        Self { make, inner, begun: count(), running: count(), most: count(), ready: false }
    }

    fn does(&self, make: Make) {
        *self.make.lock().unwrap() = make;
    }

    fn begun(&self) -> usize {
        self.begun.load(SeqCst)
    }

    fn running(&self) -> usize {
        self.running.load(SeqCst)
    }
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Service<Arc<Endpoint>> for Maker {
    type Response = Probe;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Probe, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, endpoint: Arc<Endpoint>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready) && endpoint.key() == "a:1");
        self.begun.fetch_add(1, SeqCst);
        let running = self.running.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(running, SeqCst);
        let guard = Running(self.running.clone());
        let (make, inner) = (*self.make.lock().unwrap(), self.inner.clone());
        Box::pin(async move {
            let _guard = guard;
            match make {
                Make::Makes(after) => {
                    sleep(after).await;
                    Ok(inner.service())
                }
                Make::Fails(after) => {
                    sleep(after).await;
                    Err(io::Error::from(io::ErrorKind::ConnectionRefused).into())
                }
                Make::Refuses => {
                    let breaker = CircuitBreakerLayer::default();
                    breaker.handle().force_open();
                    breaker.layer(inner.service()).oneshot(Ask::new(0)).await?;
                    Err("the circuit is open".into())
                }
                Make::Panics => panic!("the maker of a user panics"),
                Make::Never => std::future::pending().await,
            }
        })
    }
}

fn member() -> Arc<Member> {
    Member::new("a:1".parse::<Endpoint>().unwrap())
}

fn made(make: Make) -> (Made<Probe>, Maker) {
    let maker = Maker::new(make);
    (connect_make(maker.clone()).connect(&member()), maker)
}

async fn send(service: &Made<Probe>) -> Result<String, Error> {
    service.clone().oneshot(Ask::new(1)).await
}

/// A service that was never sent anything says so.
fn assert_unmade(error: &Error, kind: Kind) {
    assert!(error.kind() == kind && error.is_unsent() && !error.is_refused(), "{error:?}");
}

const FAST: Make = Make::Makes(ms(10));

// Making.

#[tokio::test(start_paused = true)]
async fn nothing_is_made_before_the_first_call_wants_it() {
    let (service, maker) = made(FAST);
    sleep(secs(60)).await;
    assert_eq!((maker.begun(), maker.inner.services.load(SeqCst)), (0, 0));
    assert_eq!(send(&service).await.unwrap(), "a:1");
    assert_eq!(maker.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn callers_that_come_together_share_one_making_and_all_later_ones_its_service() {
    let (service, maker) = made(FAST);
    let start = Instant::now();
    let answers = join_all((0..100).map(|_| send(&service))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!((maker.begun(), start.elapsed()), (1, ms(10)));
    for _ in 0..100 {
        send(&service).await.unwrap();
    }
    assert_eq!((maker.begun(), maker.inner.calls(), start.elapsed()), (1, 200, ms(10)));
    assert_eq!(maker.inner.violations.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_polled_seldom() {
    let (service, _) = made(Make::Makes(secs(4)));
    let (call, polls) = counted(send(&service));
    call.await.unwrap();
    assert!(polls.load(SeqCst) <= 4, "{polls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_making_that_fails_fails_all_that_wait_and_the_next_call_tries_again() {
    let (service, maker) = made(Make::Fails(ms(10)));
    for round in 1..=3 {
        for error in join_all((0..10).map(|_| send(&service))).await {
            let error = error.unwrap_err();
            assert_unmade(&error, Kind::Connection);
            assert!(error.to_string().contains("refused"), "{error}");
        }
        assert_eq!(maker.begun(), round);
    }
    maker.does(FAST);
    send(&service).await.unwrap();
    assert_eq!((maker.begun(), maker.most.load(SeqCst)), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn readiness_never_fails_and_stays_until_the_call() {
    let (mut service, maker) = made(Make::Fails(ms(10)));
    for _ in 0..3 {
        service.ready().await.unwrap();
    }
    assert_eq!(maker.begun(), 1);
    assert_unmade(&service.call(Ask::new(1)).await.unwrap_err(), Kind::Connection);
    maker.does(FAST);
    service.ready().await.unwrap().call(Ask::new(1)).await.unwrap();
    // Called without: an error, and no panic.
    let (mut unready, _) = made(FAST);
    assert_eq!(unready.call(Ask::new(1)).await.unwrap_err().kind(), Kind::InvalidConfig);
}

#[tokio::test(start_paused = true)]
async fn one_that_waited_for_a_failure_takes_what_was_made_since() {
    let (service, maker) = made(Make::Fails(ms(10)));
    let first = tokio::spawn(service.clone().oneshot(Ask::new(1)));
    settle().await;
    // Waits for the first making, and is not polled until the second has ended.
    let mut late = task::spawn(service.clone());
    assert_pending!(late.enter(|cx, mut late| Service::<Ask>::poll_ready(&mut *late, cx)));
    first.await.unwrap().unwrap_err();
    maker.does(FAST);
    send(&service).await.unwrap();
    assert!(late.is_woken());
    assert_ready_ok!(late.enter(|cx, mut late| Service::<Ask>::poll_ready(&mut *late, cx)));
    late.call(Ask::new(1)).await.unwrap();
    assert_eq!(maker.begun(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_making_has_a_limit() {
    let maker = Maker::new(Make::Never);
    for (connector, limit) in [
        (connect_make(maker.clone()), secs(5)),
        (connect_make(maker.clone()).with_timeout(ms(20)), ms(20)),
        (connect_make(maker.clone()).with_timeout(Duration::ZERO), secs(5)),
    ] {
        let start = Instant::now();
        let error = send(&connector.connect(&member())).await.unwrap_err();
        assert_unmade(&error, Kind::Timeout);
        assert_eq!((start.elapsed(), maker.running()), (limit, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_ours_keeps_its_kind() {
    let (service, _) = made(Make::Refuses);
    let error = send(&service).await.unwrap_err();
    assert!(error.kind() == Kind::CircuitOpen && error.is_refused(), "{error:?}");
    // One that was sent in making the service was not for the call.
    let busy = service_fn(async |_: Arc<Endpoint>| {
        Err::<Probe, _>(Error::connection("reset while logging in"))
    });
    let error = send(&connect_make(busy).connect(&member())).await.unwrap_err();
    assert_unmade(&error, Kind::Connection);
}

#[tokio::test(start_paused = true)]
async fn a_maker_that_panics_has_failed() {
    let (service, maker) = made(Make::Panics);
    for _ in 0..3 {
        assert_unmade(&send(&service).await.unwrap_err(), Kind::Connection);
    }
    // Also one that panics before there is a future.
    let panics = |_: Arc<Endpoint>| -> std::future::Ready<Result<Probe, BoxError>> {
        panic!("the maker of a user panics")
    };
    let unlucky = connect_make(service_fn(panics)).connect(&member());
    assert_unmade(&send(&unlucky).await.unwrap_err(), Kind::Connection);
    maker.does(FAST);
    send(&service).await.unwrap();
}

// Leaving.

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_leaves_the_making_to_the_others() {
    // Whoever began it, and whoever joined.
    for leaves in [0, 1] {
        let (service, maker) = made(FAST);
        let mut calls: Vec<_> =
            (0..3).map(|_| tokio::spawn(service.clone().oneshot(Ask::new(1)))).collect();
        settle().await;
        calls.remove(leaves).abort();
        for call in calls {
            timeout(ms(20), call).await.expect("nobody woke it").unwrap().unwrap();
        }
        assert_eq!(maker.begun(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn if_all_leave_the_next_call_finds_what_was_made() {
    let (service, maker) = made(FAST);
    let call = tokio::spawn(service.clone().oneshot(Ask::new(1)));
    settle().await;
    call.abort();
    let _ = call.await;
    sleep(ms(20)).await;
    assert_eq!((maker.begun(), maker.running()), (1, 0));
    let start = Instant::now();
    send(&service).await.unwrap();
    assert_eq!((maker.begun(), start.elapsed()), (1, ms(0)));
}

#[tokio::test(start_paused = true)]
async fn dropped_at_any_point_it_leaves_nothing_behind() {
    let (service, maker) = made(FAST);
    for _ in 0..20 {
        // While it is made; ready; called and not polled; halfway.
        let mut waits = task::spawn(service.clone().oneshot(Ask::new(1)));
        assert_pending!(waits.poll());
        drop(waits);
        let mut ready = service.clone();
        ServiceExt::<Ask>::ready(&mut ready).await.unwrap();
        drop(ready);
        drop(service.clone().ready().await.unwrap().call(Ask::new(1)));
        maker.inner.answers(Answer::Never);
        let mut halfway = task::spawn(service.clone().oneshot(Ask::new(1)));
        assert_pending!(halfway.poll());
        drop(halfway);
        maker.inner.answers(Answer::Good);
        // One that finds it dead has it made anew, and leaves.
        maker.inner.is(Readiness::Dead);
        let mut finds = task::spawn(service.clone().oneshot(Ask::new(1)));
        assert_pending!(finds.poll());
        drop(finds);
        maker.inner.is(Readiness::Ready);
    }
    assert_eq!((maker.inner.running(), maker.inner.readied()), (0, 0));
    assert_eq!(maker.inner.violations.load(SeqCst), 0);
    drop(service);
    settle().await;
    assert_eq!((maker.running(), maker.inner.services.load(SeqCst)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_making_ends_with_the_last_that_could_want_it() {
    let (service, maker) = made(Make::Never);
    let call = tokio::spawn(service.clone().oneshot(Ask::new(1)));
    settle().await;
    assert_eq!(maker.running(), 1);
    call.abort();
    let _ = call.await;
    settle().await;
    assert_eq!(maker.running(), 1, "the next call may want it");
    drop(service);
    settle().await;
    assert_eq!(maker.running(), 0);
}

// What was made.

#[tokio::test(start_paused = true)]
async fn a_service_that_died_is_made_anew_for_the_call_that_finds_out() {
    let (service, maker) = made(FAST);
    let mut old = service.clone();
    old.ready().await.unwrap().call(Ask::new(1)).await.unwrap();
    let mut other = old.clone();
    other.ready().await.unwrap();
    // The connection of all is dead; the next is not.
    maker.inner.is(Readiness::Dead);
    let mut finds = task::spawn(old.clone().oneshot(Ask::new(1)));
    assert_pending!(finds.poll());
    maker.inner.is(Readiness::Ready);
    assert_eq!(finds.await.unwrap(), "a:1");
    assert_eq!(maker.begun(), 2);
    // A clone that has the old one goes on with it while it lives.
    other.call(Ask::new(1)).await.unwrap();
    assert_eq!(maker.begun(), 2);
    assert_eq!(maker.inner.violations.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_finds_the_old_one_dead_takes_the_new_one() {
    let made: Arc<[_]> = (0..3).map(|n| Inner::new(&format!("{n}"))).collect();
    let (all, count) = (made.clone(), Arc::new(AtomicUsize::new(0)));
    let makes = move |_: Arc<Endpoint>| {
        std::future::ready(Ok::<_, io::Error>(all[count.fetch_add(1, SeqCst)].service()))
    };
    let service = connect_make(service_fn(makes)).connect(&member());
    let mut holders = [service.clone(), service.clone(), service];
    for holder in &mut holders {
        assert_eq!(holder.ready().await.unwrap().call(Ask::new(1)).await.unwrap(), "0");
    }
    made[0].is(Readiness::Dead);
    for holder in &mut holders {
        assert_eq!(holder.ready().await.unwrap().call(Ask::new(1)).await.unwrap(), "1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_dead_each_time_it_is_made_fails_the_call() {
    let (service, maker) = made(FAST);
    maker.inner.is(Readiness::Dead);
    for round in 1..=3 {
        let error = timeout(secs(1), send(&service)).await.expect("it ends").unwrap_err();
        assert_unmade(&error, Kind::Connection);
        assert_eq!(maker.begun(), 2 * round);
    }
    maker.inner.is(Readiness::Ready);
    send(&service).await.unwrap();
    assert_eq!(maker.inner.violations.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_busy_is_waited_for() {
    let (service, maker) = made(FAST);
    maker.inner.is(Readiness::Pending);
    let call = tokio::spawn(service.clone().oneshot(Ask::new(1)));
    sleep(secs(1)).await;
    assert!(!call.is_finished());
    maker.inner.is(Readiness::Ready);
    timeout(ms(1), call).await.expect("nobody woke it").unwrap().unwrap();
    assert_eq!(maker.begun(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_call_is_the_services_own() {
    let (service, maker) = made(FAST);
    maker.inner.answers(Answer::Fails);
    let error = send(&service).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Service, false));
    assert_eq!(maker.begun(), 1);
}

// Runtimes.

#[test]
fn it_is_made_on_the_runtime_that_connected_it_and_elsewhere_once_that_has_ended() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    };
    let (one, other) = (runtime(), runtime());
    let maker = Maker::new(Make::Makes(ms(1)));
    let service = one.block_on(async { connect_make(maker.clone()).connect(&member()) });
    other.block_on(send(&service)).unwrap();
    // While it is made, the runtime ends: those that wait make it on theirs.
    maker.inner.is(Readiness::Dead);
    maker.does(Make::Never);
    let waits = other.spawn(service.clone().oneshot(Ask::new(1)));
    while maker.running() == 0 {
        std::thread::yield_now();
    }
    maker.inner.is(Readiness::Ready);
    maker.does(Make::Makes(ms(1)));
    drop(one);
    assert_eq!(other.block_on(waits).unwrap().unwrap(), "a:1");
    maker.inner.is(Readiness::Dead);
    // Without any there is no making, and nothing hangs.
    drop(other);
    let mut alone = service.clone();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(Service::<Ask>::poll_ready(&mut alone, &mut cx).is_ready());
    let call = alone.call(Ask::new(1));
    let error = futures::executor::block_on(call).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_many_threads_one_is_made_at_a_time_and_no_caller_hangs() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inner, rounds) = (Inner::new("a:1"), Arc::new(AtomicUsize::new(0)));
    let counts = (running.clone(), most.clone(), inner.clone());
    let makes = service_fn(move |_: Arc<Endpoint>| {
        let (running, most, inner) = counts.clone();
        let round = rounds.fetch_add(1, SeqCst);
        async move {
            most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::task::yield_now().await;
            running.fetch_sub(1, SeqCst);
            assert!(round % 7 != 0, "the maker of a user panics");
            if round % 3 == 0 { Err("refused") } else { Ok(inner.service()) }
        }
    });
    let service = connect_make(makes).connect(&member());
    let callers = (0..8).map(|caller| {
        let (service, inner) = (service.clone(), inner.clone());
        tokio::spawn(async move {
            for round in 0..500 {
                let call = tokio::spawn(service.clone().oneshot(Ask::new(1)));
                match (caller + round) % 5 {
                    0 => call.abort(),
                    1 => inner.is(Readiness::Dead),
                    _ => {}
                }
                if let Ok(Err(error)) = call.await {
                    assert!(error.is_unsent(), "{error:?}");
                }
                inner.is(Readiness::Ready);
            }
        })
    });
    let callers = timeout(secs(60), join_all(callers)).await.expect("a caller hangs");
    callers.into_iter().for_each(Result::unwrap);
    assert_eq!((most.load(SeqCst), running.load(SeqCst)), (1, 0));
}

// In a stack.

#[tokio::test(start_paused = true)]
async fn below_a_balancer_what_cannot_be_made_goes_elsewhere_and_opens_the_breaker() {
    let makes = service_fn(async |endpoint: Arc<Endpoint>| {
        sleep(ms(1)).await;
        if endpoint.key() == "bad:1" {
            return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
        }
        Ok(Inner::new(endpoint.key()).service())
    });
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(3));
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(2)))
        .layer(BalanceLayer::new(
            discover::fixed(["bad:1", "good:1"]).unwrap(),
            RoundRobin::starting_at(0),
        ))
        .layer(breaker.clone())
        .service(connect_make(makes));
    for _ in 0..20 {
        // Though none may be sent twice.
        assert_eq!(service.clone().oneshot(Ask::once(1)).await.unwrap(), "good:1");
    }
    let circuit = breaker.handle_for("bad:1").unwrap();
    assert_eq!((circuit.state(), seen(&circuit).failed), (CircuitState::Open, 3));
}

#[tokio::test(start_paused = true)]
async fn below_a_balancer_an_endpoint_that_is_slow_to_connect_holds_no_call_up() {
    let makes = service_fn(async |endpoint: Arc<Endpoint>| {
        let slow = endpoint.key() == "slow:1";
        sleep(if slow { secs(3) } else { ms(5) }).await;
        Ok::<_, io::Error>(Inner::new(endpoint.key()).service())
    });
    let endpoints = discover::fixed(["slow:1", "fast:1"]).unwrap();
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(endpoints, RoundRobin::starting_at(0)))
        .service(connect_make(makes));
    let start = Instant::now();
    assert_eq!(service.clone().oneshot(Ask::new(1)).await.unwrap(), "fast:1");
    assert!(start.elapsed() <= ms(16), "{:?}", start.elapsed());
    sleep(secs(3)).await;
    let mut keys = Vec::new();
    for _ in 0..4 {
        keys.push(service.clone().oneshot(Ask::new(1)).await.unwrap());
    }
    assert!(keys.contains(&"slow:1".to_owned()), "it was made meanwhile: {keys:?}");
}

#[tokio::test(start_paused = true)]
async fn a_limit_in_the_maker_bounds_how_many_are_made_at_once() {
    let running = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let counts = running.clone();
    let makes = service_fn(move |endpoint: Arc<Endpoint>| {
        let counts = counts.clone();
        async move {
            counts.1.fetch_max(counts.0.fetch_add(1, SeqCst) + 1, SeqCst);
            sleep(ms(10)).await;
            counts.0.fetch_sub(1, SeqCst);
            Ok::<_, io::Error>(Inner::new(endpoint.key()).service())
        }
    });
    let makes = tower::limit::ConcurrencyLimitLayer::new(2).layer(makes);
    let connector = connect_make(makes);
    let services = (1..=10).map(|port| {
        connector.connect(&Member::new(format!("a:{port}").parse::<Endpoint>().unwrap()))
    });
    let calls = services.map(|service| service.oneshot(Ask::new(1)));
    assert!(join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(running.1.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn it_shows_how_its_service_stands() {
    let (service, maker) = made(Make::Fails(ms(10)));
    let shown = || format!("{service:?}");
    assert!(shown().contains("a:1") && shown().contains("made: false"), "{}", shown());
    send(&service).await.unwrap_err();
    assert!(shown().contains("Connection"), "{}", shown());
    maker.does(FAST);
    send(&service).await.unwrap();
    assert!(shown().contains("made: true") && shown().contains("failure: None"), "{}", shown());
    assert!(format!("{:?}", connect_make(maker)).contains("Maker"));
    fn shareable<T: Clone + Send + Sync + 'static>(_: &T) {}
    shareable(&service);
}

// Makers of others.

#[cfg(feature = "http")]
mod others {
    use bytes::Bytes;
    use http::{Request, Response, Uri};
    use http_body_util::{BodyExt, Full};
    use hyper::{body::Incoming, client::conn::http2};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A server of HTTP/2 that says how many connections it has had.
    async fn server() -> (String, Arc<AtomicUsize>, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let task = tokio::spawn(async move {
            let mut all = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, SeqCst);
                let answer = hyper::service::service_fn(async |_: Request<Incoming>| {
                    Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from_static(
                        b"hello",
                    ))))
                });
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                all.spawn(async move {
                    let _ = server.serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        (address, connections, task)
    }

    /// A handshake of HTTP/2 by hand: what is made is a connection.
    async fn handshake(endpoint: Arc<Endpoint>) -> Result<Connection, BoxError> {
        let address = endpoint.address();
        let stream = TcpStream::connect((address.host(), address.port().unwrap_or(80))).await?;
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Connection(sender))
    }

    #[derive(Clone)]
    struct Connection(http2::SendRequest<Full<Bytes>>);

    impl Service<Request<Full<Bytes>>> for Connection {
        type Response = Response<Incoming>;
        type Error = hyper::Error;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
            self.0.poll_ready(cx)
        }

        fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
            Box::pin(self.0.send_request(request))
        }
    }

    fn get(address: &str) -> Request<Full<Bytes>> {
        Request::get(address).body(Full::default()).unwrap()
    }

    #[tokio::test]
    async fn a_connection_of_hyper_is_shared_and_made_anew_when_it_closes() {
        let (address, connections, server) = server().await;
        let endpoint = address.parse::<Endpoint>().unwrap();
        let connector = connect_make(service_fn(handshake));
        let service = connector.connect(&Member::new(endpoint));
        for _ in 0..5 {
            let calls = (0..5).map(|_| service.clone().oneshot(get(&address)));
            for response in join_all(calls).await {
                let body = response.unwrap().into_body().collect().await.unwrap();
                assert_eq!(body.to_bytes(), "hello");
            }
        }
        assert_eq!(connections.load(SeqCst), 1);
        // With the server go its connections: what is left cannot be reached.
        server.abort();
        let _ = server.await;
        let error = async {
            loop {
                if let Err(error) = service.clone().oneshot(get(&address)).await {
                    if error.is_unsent() {
                        break error;
                    }
                }
                tokio::task::yield_now().await;
            }
        };
        let error = timeout(secs(5), error).await.expect("its death is noticed");
        assert_unmade(&error, Kind::Connection);
    }

    #[tokio::test]
    async fn a_channel_of_tonic_that_connects_before_it_is_used() {
        let (address, connections, _server) = server().await;
        let makes = service_fn(async |endpoint: Arc<Endpoint>| {
            let uri: Uri = endpoint.address().as_str().parse()?;
            Ok::<_, BoxError>(tonic::transport::Channel::builder(uri).connect().await?)
        });
        let nowhere = "http://127.0.0.1:9";
        let service = ServiceBuilder::new()
            .layer(FailoverLayer::new(Attempts::up_to(2)))
            .layer(BalanceLayer::new(
                discover::fixed([nowhere, address.as_str()]).unwrap(),
                RoundRobin::starting_at(0),
            ))
            .layer(tower_upstream::connect::EachLayer::new(tower::util::MapRequestLayer::new(
                |request: Request<Full<Bytes>>| request.map(tonic::body::Body::new),
            )))
            .service(connect_make(makes));
        for _ in 0..6 {
            let request = Request::post("/").body(Full::default()).unwrap();
            assert_eq!(service.clone().oneshot(request).await.unwrap().status(), 200);
        }
        assert_eq!(connections.load(SeqCst), 1);
    }
}
