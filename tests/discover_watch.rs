//! What a watch makes of a backend, whatever that does: on a paused clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::{
    collections::VecDeque,
    future::{Future, pending},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use support::{ms, secs, settle};
use tokio::{sync::Notify, time::Instant};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BalanceLayer, BoxError, Endpoint, LeastRequest, connect_fn,
    discover::{
        Discover, EndpointSet, Filtered, Observation, Source, WatchConfig, WatchHandle, Watched,
        Watches,
    },
    error::Kind,
};

/// What a backend does when it is observed.
#[derive(Debug, Clone)]
enum Does {
    Tells(&'static [&'static str]),
    TellsForSure(&'static [&'static str]),
    Same,
    Fails,
    Panics,
    Hangs,
}
use Does::*;

/// Does what it is told, and then the last thing again.
#[derive(Clone, Default)]
struct Backend {
    script: Arc<Mutex<VecDeque<Does>>>,
    /// Whether it announces changes, or has to be polled.
    poll: Option<Duration>,
    change: Arc<Notify>,
    /// When each observation began.
    observed: Arc<Mutex<Vec<Instant>>>,
    /// Observations that run, and states that are there.
    running: Arc<AtomicUsize>,
    states: Arc<AtomicUsize>,
    /// Suspension points of an observation before it does anything.
    steps: usize,
}

#[derive(Default)]
struct State {
    has_told: bool,
    counted: Option<Counted>,
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

fn set(addresses: &[&str]) -> EndpointSet {
    EndpointSet::new(addresses.iter().map(|of| Endpoint::new(of).unwrap()), "").unwrap()
}

impl Backend {
    fn polled(script: impl IntoIterator<Item = Does>) -> Self {
        let script = Arc::new(Mutex::new(script.into_iter().collect()));
        Self { script, poll: Some(secs(1)), ..Self::default() }
    }

    /// Answers once it is told so, but at once to an observation without state.
    fn announcing(script: impl IntoIterator<Item = Does>) -> Self {
        Self { poll: None, ..Self::polled(script) }
    }

    fn then(&self, does: Does) {
        let mut script = self.script.lock().unwrap();
        *script = VecDeque::from([does]);
        self.change.notify_one();
    }

    fn observations(&self) -> usize {
        self.observed.lock().unwrap().len()
    }

    fn is_idle(&self) -> bool {
        self.running.load(SeqCst) == 0 && self.states.load(SeqCst) == 0
    }
}

impl Source for Backend {
    type State = State;

    fn name(&self) -> String {
        "the backend".to_owned()
    }

    async fn observe(&self, state: &mut State) -> Result<Observation, BoxError> {
        self.observed.lock().unwrap().push(Instant::now());
        state.counted.get_or_insert_with(|| Counted::new(&self.states));
        let _running = Counted::new(&self.running);
        for _ in 0..self.steps {
            tokio::task::yield_now().await;
        }
        if self.poll.is_none() && state.has_told {
            self.change.notified().await;
        }
        let does = {
            let mut script = self.script.lock().unwrap();
            if script.len() > 1 { script.pop_front() } else { script.front().cloned() }
        };
        let observation = match does.unwrap() {
            Tells(addresses) => Observation::of(set(addresses)),
            TellsForSure(addresses) => Observation::of(set(addresses)).certain(),
            Same => Observation::unchanged(),
            Fails => return Err("no leader".into()),
            Panics => panic!("a bug of the backend"),
            Hangs => pending().await,
        };
        state.has_told = true;
        Ok(observation.again_after(self.poll.unwrap_or_default()))
    }
}

fn keys(set: Option<EndpointSet>) -> Vec<String> {
    set.unwrap().iter().map(|endpoint| endpoint.key().to_owned()).collect()
}

fn now_in(handle: &WatchHandle<Backend>) -> Vec<String> {
    keys(handle.set())
}

const FOUR: &[&str] = &["a:1", "b:1", "c:1", "d:1"];
const NONE: &[&str] = &[];

#[tokio::test(start_paused = true)]
async fn a_failing_backend_takes_nothing_away_and_no_call_fails() {
    let backend = Backend::polled([Tells(FOUR), Fails]);
    let endpoints = Watched::new(backend.clone());
    let handle = endpoints.handle();
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(endpoints, LeastRequest::new()))
        .service(connect_fn(|_: &Endpoint| service_fn(async |n: u32| Ok::<_, BoxError>(n))));
    for _ in 0..1_000 {
        assert_eq!(stack.clone().oneshot(7).await.unwrap(), 7);
        tokio::time::sleep(secs(1)).await;
    }
    assert!(handle.last_error().unwrap().to_string().contains("no leader"));
    assert!(handle.failures() > 30);
    assert!(handle.staleness().unwrap() >= secs(990));
    assert_eq!(now_in(&handle), FOUR);
    // Waits of up to 30 s, half of that on average.
    assert!((30..200).contains(&backend.observations()), "{}", backend.observations());

    backend.then(Tells(&["a:1", "b:1"]));
    tokio::time::sleep(secs(31)).await;
    assert_eq!(now_in(&handle), ["a:1", "b:1"]);
    assert!(handle.last_error().is_none() && handle.failures() == 0);
    drop(stack);
    settle().await;
    assert!(backend.is_idle() && !handle.is_running());
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_counts_after_its_grace() {
    let endpoints = Watched::new(Backend::polled([Tells(FOUR), Tells(NONE)]));
    let handle = endpoints.handle();
    let mut sets = endpoints.discover();
    assert_eq!(sets.next().await.unwrap().len(), 4);
    let start = Instant::now();
    assert!(sets.next().await.unwrap().is_empty());
    let waited = start.elapsed();
    // From the first empty answer on, which came with the second poll.
    assert!((secs(11)..ms(11_300)).contains(&waited), "{waited:?}");
    assert!(handle.doubt_until().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_answer_between_ends_the_doubt_and_an_error_does_not() {
    let mut script = vec![Tells(FOUR)];
    script.extend(vec![Tells(NONE); 9]);
    script.extend([Tells(FOUR), Tells(NONE), Fails, Tells(NONE)]);
    let endpoints = Watched::new(Backend::polled(script));
    let mut sets = endpoints.discover();
    assert_eq!(sets.next().await.unwrap().len(), 4);
    let start = Instant::now();
    assert!(sets.next().await.unwrap().is_empty());
    let waited = start.elapsed();
    assert!((secs(21)..secs(23)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_backend_is_sure_of_counts_at_once() {
    let endpoints = Watched::new(Backend::polled([Tells(FOUR), TellsForSure(NONE)]));
    let mut sets = endpoints.discover();
    assert_eq!(sets.next().await.unwrap().len(), 4);
    let start = Instant::now();
    assert!(sets.next().await.unwrap().is_empty());
    assert!(start.elapsed() < ms(1_200));
}

#[tokio::test(start_paused = true)]
async fn a_mass_removal_waits_for_a_second_look_and_what_is_new_does_not() {
    // It announces changes, so it would not answer again: the second look is one without state.
    let backend = Backend::announcing([Tells(FOUR)]);
    let endpoints = Watched::new(backend.clone());
    let handle = endpoints.handle();
    let mut sets = endpoints.discover();
    assert_eq!(sets.next().await.unwrap().len(), 4);
    tokio::time::sleep(secs(60)).await;
    assert_eq!(backend.observations(), 2, "it is idle");

    let start = Instant::now();
    backend.then(Tells(&["a:1", "e:1"]));
    let all = ["a:1", "b:1", "c:1", "d:1", "e:1"];
    assert_eq!(keys(sets.next().await), all);
    assert!(start.elapsed() < ms(10));
    assert_eq!(handle.doubt_until().unwrap() - Instant::now(), secs(5));
    assert_eq!(keys(sets.next().await), ["a:1", "e:1"]);
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(backend.observations(), 4);

    // Half may go at once.
    backend.then(Tells(&["e:1"]));
    assert_eq!(keys(sets.next().await), ["e:1"]);
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_hiccup_that_passes_removes_nothing() {
    let backend = Backend::announcing([Tells(FOUR)]);
    let endpoints = Watched::new(backend.clone());
    let mut sets = endpoints.discover();
    assert_eq!(sets.next().await.unwrap().len(), 4);
    settle().await;
    backend.then(Tells(&["a:1"]));
    tokio::time::sleep(secs(3)).await;
    backend.then(Tells(FOUR));
    tokio::time::sleep(secs(300)).await;
    assert!(sets.next().now_or_never().is_none());
    assert!(endpoints.handle().doubt_until().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_second_look_that_fails_confirms_nothing() {
    let backend = Backend::announcing([Tells(FOUR)]);
    let endpoints = Watched::new(backend.clone());
    let mut sets = endpoints.discover();
    assert_eq!(sets.next().await.unwrap().len(), 4);
    settle().await;
    backend.then(Tells(&["a:1"]));
    settle().await;
    backend.then(Fails);
    tokio::time::sleep(secs(600)).await;
    assert!(sets.next().now_or_never().is_none());
    backend.then(Tells(&["a:1"]));
    tokio::time::sleep(secs(40)).await;
    assert_eq!(keys(sets.next().await), ["a:1"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_removed_and_comes_back() {
    for does in [Fails, Hangs, Panics] {
        let backend = Backend::polled([Tells(FOUR), does]);
        let config = WatchConfig::default().with_max_stale(secs(60));
        let endpoints = Watched::with_config(backend.clone(), config);
        let mut sets = endpoints.discover();
        assert_eq!(sets.next().await.unwrap().len(), 4);
        let start = Instant::now();
        assert!(sets.next().await.unwrap().is_empty());
        assert_eq!(start.elapsed().as_secs(), 60);
        assert!(endpoints.handle().staleness().unwrap() >= secs(60));
        tokio::time::sleep(secs(600)).await;
        assert!(sets.next().now_or_never().is_none(), "once");
        // What hangs on stays until its user goes.
        if backend.running.load(SeqCst) == 0 {
            backend.then(Tells(&["a:1"]));
            assert_eq!(keys(sets.next().await), ["a:1"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_answer_keeps_a_set_fresh() {
    let config = WatchConfig::default().with_max_stale(secs(60));
    let endpoints = Watched::with_config(Backend::polled([Tells(FOUR), Same]), config);
    let mut sets = endpoints.discover();
    assert_eq!(sets.next().await.unwrap().len(), 4);
    tokio::time::sleep(secs(1_000)).await;
    assert!(sets.next().now_or_never().is_none());
    assert!(endpoints.handle().staleness().unwrap() < secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_backend_is_asked_anew_before_its_set_is_too_old() {
    let config = WatchConfig::default().with_max_stale(secs(60));
    // It announces changes, and there are none; or it has to be polled, and seldom.
    for poll in [None, Some(secs(600))] {
        let backend = Backend { poll, ..Backend::polled([Tells(FOUR)]) };
        let endpoints = Watched::with_config(backend.clone(), config.clone());
        let mut sets = endpoints.discover();
        assert_eq!(sets.next().await.unwrap().len(), 4);
        tokio::time::sleep(secs(1_000)).await;
        assert!(sets.next().now_or_never().is_none(), "{poll:?}");
        assert!(endpoints.handle().staleness().unwrap() <= secs(30));
        assert!((33..=68).contains(&backend.observations()), "{}", backend.observations());
        // If it fails then, the time is what it was.
        let answered = Instant::now() - endpoints.handle().staleness().unwrap();
        backend.script.lock().unwrap().push_back(Fails);
        backend.script.lock().unwrap().pop_front();
        assert!(sets.next().await.unwrap().is_empty());
        assert_eq!(answered.elapsed().as_secs(), 60);
    }
}

#[tokio::test(start_paused = true)]
async fn time_without_a_user_makes_nothing_too_old() {
    let config = WatchConfig::default().with_max_stale(secs(60));
    let backend = Backend::announcing([Tells(FOUR)]);
    let endpoints = Watched::with_config(backend.clone(), config);
    for does in [Tells(FOUR), Fails, Hangs] {
        backend.then(Tells(FOUR));
        let mut sets = endpoints.discover();
        while sets.next().await.unwrap().len() < 4 {}
        drop(sets);
        settle().await;
        assert!(backend.is_idle());
        tokio::time::sleep(secs(600)).await;
        // Only what is asked and does not answer is too old, within half of the time.
        backend.then(does.clone());
        let mut sets = endpoints.discover();
        let start = Instant::now();
        assert_eq!(sets.next().await.unwrap().len(), 4);
        let next = tokio::time::timeout(secs(100), sets.next()).await;
        let emptied =
            next.is_ok_and(|set| set.unwrap().is_empty()).then(|| start.elapsed().as_secs());
        let expected = match does {
            Fails => Some(0),
            Hangs => Some(30),
            _ => None,
        };
        assert_eq!(emptied, expected, "{does:?}");
        drop(sets);
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_spins_whatever_the_backend_does() {
    for does in [Tells(FOUR), Same, Fails, Panics, Tells(NONE), Hangs] {
        for first in [Tells(FOUR), does.clone()] {
            let backend = Backend::polled([first, does.clone()]);
            let backend = Backend { poll: Some(Duration::ZERO), ..backend };
            let endpoints = Watched::new(backend.clone());
            let mut sets = endpoints.discover();
            let watching = async { while sets.next().await.is_some() {} };
            let _ = tokio::time::timeout(secs(60), watching).await;
            assert!(backend.observations() <= 602, "{does:?}: {}", backend.observations());
            let mut at = backend.observed.lock().unwrap().clone();
            at.dedup_by(|next, last| *next - *last >= ms(100));
            assert_eq!(at.len(), 1, "{does:?}: closer than 100 ms");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_watch_is_asked_nothing() {
    let backend = Backend::announcing([Tells(FOUR)]);
    let endpoints = Watched::new(backend.clone());
    let mut sets = endpoints.discover();
    assert_eq!(sets.next().await.unwrap().len(), 4);
    tokio::time::sleep(secs(36_000)).await;
    assert_eq!(backend.observations(), 2);
}

#[tokio::test(start_paused = true)]
async fn all_balancers_share_one_watch_and_the_last_ends_it() {
    let backend = Backend::polled([Tells(FOUR)]);
    let watches = Watches::new(WatchConfig::default());
    let watch = || watches.watch("tax", || backend.clone());
    let mut all: Vec<_> = (0..20).map(|_| watch().discover()).collect();
    for sets in &mut all {
        assert_eq!(sets.next().await.unwrap().len(), 4);
    }
    assert_eq!(backend.observations(), 1);
    assert_eq!(backend.states.load(SeqCst), 1);
    tokio::time::sleep(ms(9_500)).await;
    let observations = backend.observations();
    assert!((9..=10).contains(&observations), "{observations}");
    all.truncate(1);
    settle().await;
    assert_eq!(backend.states.load(SeqCst), 1);
    all.clear();
    settle().await;
    assert!(backend.is_idle());
    tokio::time::sleep(secs(60)).await;
    assert_eq!(backend.observations(), observations);
    // Nothing is left of it, so this is another.
    let again = watch();
    assert!(again.handle().set().is_none());
    assert_eq!(watches.watch("tax", || unreachable!()).handle().staleness(), None);
    drop(watches.watch("other", || Backend::polled([Fails])));
}

#[tokio::test(start_paused = true)]
async fn sets_come_in_order_and_a_slow_user_skips() {
    let backend = Backend::announcing([Tells(FOUR)]);
    let endpoints = Watched::new(backend.clone());
    let (mut slow, mut fast) = (endpoints.discover(), endpoints.discover());
    assert_eq!(slow.next().await.unwrap().len(), 4);
    assert_eq!(fast.next().await.unwrap().len(), 4);
    for addresses in [&["a:1", "b:1", "c:1"][..], &["b:1", "c:1"], &["b:1", "c:1", "x:1"]] {
        let told = addresses.to_vec().leak();
        settle().await;
        backend.then(Tells(told));
        assert_eq!(keys(fast.next().await), addresses);
    }
    assert_eq!(keys(slow.next().await), ["b:1", "c:1", "x:1"]);
    assert!(slow.next().now_or_never().is_none());
    // The same set again is no news.
    backend.then(Tells(&["b:1", "c:1", "x:1"]));
    tokio::time::sleep(secs(1)).await;
    assert!(fast.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_first_snapshot_comes_or_its_absence_is_explained() {
    let late = Backend::polled([Fails, Fails, Tells(FOUR)]);
    let endpoints = Watched::new(late.clone());
    assert_eq!(endpoints.first_snapshot(secs(10)).await.unwrap().len(), 4);
    settle().await;
    assert!(late.is_idle(), "it was the only user");
    let at_once = endpoints.first_snapshot(Duration::ZERO).await;
    assert_eq!(at_once.unwrap().len(), 4);

    let start = Instant::now();
    let never = Watched::new(Backend::polled([Fails]));
    let error = never.first_snapshot(secs(10)).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed()), (Kind::Timeout, secs(10)));
    let text = error.to_string();
    assert!(text.contains("the backend has not") && text.contains("no leader"), "{text}");
    let error = Watched::new(Backend::polled([Hangs])).first_snapshot(secs(1)).await.unwrap_err();
    assert!(error.to_string().ends_with("within 1s"), "{error}");
}

#[test]
fn outside_a_runtime_nothing_starts_and_nothing_breaks() {
    let backend = Backend::polled([Tells(FOUR)]);
    let endpoints = Watched::new(backend.clone());
    let error = endpoints.first_snapshot(secs(1)).now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(endpoints.discover().next().now_or_never().is_none());
    assert_eq!(backend.observations(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_says_when_to_come_back_is_obeyed() {
    struct Busy {
        asked: Arc<Mutex<Vec<Instant>>>,
        limit: Mutex<Option<tower_upstream::Error>>,
    }

    impl Source for Busy {
        type State = ();

        fn name(&self) -> String {
            "busy".into()
        }

        async fn observe(&self, (): &mut ()) -> Result<Observation, BoxError> {
            self.asked.lock().unwrap().push(Instant::now());
            match self.limit.lock().unwrap().take() {
                Some(error) => Err(error.into()),
                None => Ok(Observation::of(set(FOUR)).again_after(secs(60))),
            }
        }
    }

    // A refusal of a limit, which says so.
    let quota = tower_upstream::Quota::per_minute(1);
    let limited = ServiceBuilder::new()
        .layer(tower_upstream::RateLimitLayer::new(quota))
        .service(service_fn(async |()| Ok::<_, BoxError>(())));
    limited.clone().oneshot(()).await.unwrap();
    let error = limited.oneshot(()).await.unwrap_err();
    assert!(error.retry_after().unwrap() > secs(50));

    let asked = Arc::<Mutex<Vec<Instant>>>::default();
    let busy = Busy { asked: asked.clone(), limit: Mutex::new(Some(error)) };
    Watched::new(busy).first_snapshot(secs(1_000)).await.unwrap();
    let asked = asked.lock().unwrap();
    assert_eq!((asked.len(), (asked[1] - asked[0]).as_secs()), (2, 60));
}

/// Polls `make`'s future so many times, then drops it; until one finishes.
async fn dropped_at_each_point<T, F: Future<Output = T>>(
    mut make: impl FnMut() -> F,
    mut check: impl AsyncFnMut(),
) -> usize {
    for points in 0..1_000 {
        let mut future = Box::pin(make());
        let mut polls = 0;
        let run = std::future::poll_fn(|cx| {
            let poll = future.as_mut().poll(cx);
            polls += 1;
            if poll.is_ready() || polls > points {
                std::task::Poll::Ready(poll.is_ready())
            } else {
                std::task::Poll::Pending
            }
        });
        let is_done = run.await;
        drop(future);
        check().await;
        if is_done {
            return points;
        }
    }
    panic!("it never finishes");
}

#[tokio::test(start_paused = true)]
async fn a_user_may_leave_at_any_point() {
    let backend = Backend { steps: 5, ..Backend::polled([Fails, Tells(FOUR)]) };
    let make = || {
        // A watch of its own each time, so that it starts from nothing.
        *backend.script.lock().unwrap() = VecDeque::from([Fails, Tells(FOUR)]);
        let endpoints = Watched::new(backend.clone());
        async move { endpoints.first_snapshot(secs(60)).await.unwrap() }
    };
    let check = async || {
        settle().await;
        assert!(backend.is_idle(), "something was left behind");
    };
    assert!(dropped_at_each_point(make, check).await >= 1);
}

#[test]
fn the_watch_goes_on_elsewhere_if_its_runtime_ends_at_any_point() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap()
    };
    for points in 0..40 {
        let backend = Backend { steps: 5, ..Backend::polled([Tells(FOUR), Fails, Tells(FOUR)]) };
        let endpoints = Watched::new(backend.clone());
        let mut sets = endpoints.discover();
        let (first, second) = (runtime(), runtime());
        first.block_on(async {
            let _ = sets.next().now_or_never();
            for _ in 0..points {
                tokio::task::yield_now().await;
            }
        });
        drop(first);
        assert!(backend.is_idle(), "after {points}");
        backend.then(Tells(&["a:1", "b:1"]));
        second.block_on(async {
            let watching = async { while keys(sets.next().await) != ["a:1", "b:1"] {} };
            tokio::time::timeout(secs(60), watching).await.expect("it goes on");
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_endpoint_says_what_its_source_failed_with() {
    let backend = Backend::polled([Fails]);
    let watched = Watched::new(backend.clone());
    let filtered = Filtered::tagged(watched.clone(), ["v1"]);
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(filtered, LeastRequest::new()))
        .service(connect_fn(|_: &Endpoint| service_fn(async |(): ()| Ok::<_, BoxError>(()))));
    // One that waits, and one that comes after a time without any.
    for _ in 0..2 {
        let error = service.clone().oneshot(()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NoEndpoints);
        assert!(error.to_string().ends_with("no leader"), "{error}");
        assert!(service.pick(&()).unwrap_err().to_string().contains("no leader"));
    }
    // There are none: that is no failure.
    backend.then(TellsForSure(NONE));
    settle().await;
    tokio::time::sleep(secs(60)).await;
    let error = service.oneshot(()).await.unwrap_err();
    assert!(!error.to_string().contains("no leader"), "{error}");
}
