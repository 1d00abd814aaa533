//! A balancer under load while endpoints join, change, drain and vanish, and the registry stops, is cut off
//! and comes back. The same story for every backend, on a paused clock or a real one.
#![allow(dead_code, unreachable_pub, async_fn_in_trait)]

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BalanceLayer, BoxError, Call, CircuitBreakerConfig, CircuitBreakerLayer, Endpoint, Error,
    balance::RoundRobin,
    connect_fn,
    discover::{EndpointSet, Instance, Kept, Registrar, Registration, Registry, Source, Watched},
    endpoint::Status,
    failover::{Attempts, FailoverLayer},
};

/// A registry, and what may happen to it.
pub trait Backend {
    type Registrar: Registrar;
    type Source: Source;

    /// What one process announces itself by.
    fn registrar(&self) -> Self::Registrar;
    fn watch(&self, service: &str) -> Watched<Self::Source>;

    /// Whether it keeps the weights and the tags of what is announced.
    fn has_weights_and_tags(&self) -> bool {
        true
    }

    /// It ends, and its connections break.
    async fn stop(&self);
    /// It runs again. What it knew may be lost.
    async fn restart(&self);
    /// Nothing that is sent to it or by it arrives, for processes and balancers alike.
    async fn partition(&self);
    async fn heal(&self);

    /// How soon a change that was written has to be in the set.
    fn hears_within(&self) -> Duration;
    /// How soon a process that was killed gets no calls any more.
    fn forgets_within(&self) -> Duration;
    /// How soon the set is right again after the registry is back.
    fn recovers_within(&self) -> Duration;
    /// For how long it is away.
    fn outage(&self) -> Duration;
}

/// What was seen, by the name of a step.
#[derive(Debug, Default)]
pub struct Figures {
    pub steps: Vec<(&'static str, Duration)>,
    pub calls: u64,
    /// Attempts that were sent to a process that was not there.
    pub to_dead: u64,
    pub failed: Vec<String>,
}

/// Dies with its process: whatever it is asked then never ends, and nothing reaches the registry.
struct Mortal<R> {
    inner: R,
    is_dead: Arc<AtomicBool>,
}

impl<R> Mortal<R> {
    async fn or_dead<T>(&self, call: impl Future<Output = T>) -> T {
        if self.is_dead.load(SeqCst) { pending().await } else { call.await }
    }
}

impl<R: Registrar> Registrar for Mortal<R> {
    type Session = R::Session;

    fn name(&self) -> String {
        self.inner.name()
    }

    fn keep_alive_every(&self) -> Option<Duration> {
        self.inner.keep_alive_every()
    }

    fn max_backoff(&self) -> Duration {
        self.inner.max_backoff()
    }

    fn timeout(&self) -> Duration {
        self.inner.timeout()
    }

    async fn put(&self, session: &mut R::Session, instance: &Instance) -> Result<(), BoxError> {
        self.or_dead(self.inner.put(session, instance)).await
    }

    async fn keep_alive(
        &self,
        session: &mut R::Session,
        instances: &[Instance],
    ) -> Result<Kept, BoxError> {
        self.or_dead(self.inner.keep_alive(session, instances)).await
    }

    async fn remove(&self, session: &mut R::Session, instance: &Instance) -> Result<(), BoxError> {
        self.or_dead(self.inner.remove(session, instance)).await
    }

    async fn end(&self, session: R::Session) -> Result<(), BoxError> {
        self.or_dead(self.inner.end(session)).await
    }
}

/// Which processes listen, by their ports, and how many calls each got.
#[derive(Default)]
struct Fleet {
    ports: Mutex<BTreeMap<u16, bool>>,
    calls: Mutex<BTreeMap<String, u64>>,
    to_dead: AtomicU64,
}

impl Fleet {
    fn listens(&self, port: u16, listens: bool) {
        self.ports.lock().unwrap().insert(port, listens);
    }

    fn is_up(&self, port: u16) -> bool {
        self.ports.lock().unwrap().get(&port) == Some(&true)
    }

    fn calls_of(&self, key: &str) -> u64 {
        self.calls.lock().unwrap().get(key).copied().unwrap_or(0)
    }

    /// One attempt.
    async fn answer(&self, key: &str, port: u16) -> Result<(), Error> {
        if !self.is_up(port) {
            self.to_dead.fetch_add(1, SeqCst);
            return Err(Error::unsent(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)));
        }
        *self.calls.lock().unwrap().entry(key.to_owned()).or_default() += 1;
        sleep(Duration::from_millis(2)).await;
        if !self.is_up(port) {
            return Err(Error::connection("reset by a process that was killed"));
        }
        Ok(())
    }
}

/// A process that serves.
struct Process<R: Registrar> {
    registration: Registration,
    registry: Registry<Mortal<R>>,
    is_dead: Arc<AtomicBool>,
    port: u16,
}

const SERVICE: &str = "story";
const WORKERS: u64 = 8;

struct Story<'a, B: Backend> {
    backend: &'a B,
    fleet: Arc<Fleet>,
    watched: Watched<B::Source>,
    steps: Vec<(&'static str, Duration)>,
}

impl<B: Backend> Story<'_, B> {
    async fn starts(&self, id: &str, port: u16) -> Process<B::Registrar> {
        self.fleet.listens(port, true);
        let is_dead = Arc::new(AtomicBool::new(false));
        let registrar = Mortal { inner: self.backend.registrar(), is_dead: is_dead.clone() };
        let registry = Registry::new(registrar);
        let endpoint = Endpoint::new(format!("127.0.0.1:{port}")).unwrap().with_key(id);
        let registration = registry.register(SERVICE, endpoint).unwrap();
        Process { registration, registry, is_dead, port }
    }

    fn set(&self) -> Option<EndpointSet> {
        self.watched.handle().set()
    }

    /// The keys of those that may get calls.
    fn usable(&self) -> BTreeSet<String> {
        let set = self.set();
        let all = set.iter().flat_map(|set| set.iter());
        let usable = all.filter(|of| !of.is_draining() && of.status() != Status::Critical);
        usable.map(|endpoint| endpoint.key().to_owned()).collect()
    }

    fn are_usable(&self, keys: &[&str]) -> bool {
        self.usable().iter().eq(keys)
    }

    /// Waits until it is so, for at most `bound`.
    async fn until(&mut self, step: &'static str, bound: Duration, is_so: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !is_so(self) {
            let health = self.watched.handle();
            assert!(
                start.elapsed() <= bound,
                "{step}: not within {bound:?}: {:?}, {:?}",
                self.set(),
                health.last_error()
            );
            sleep(Duration::from_millis(5)).await;
        }
        self.steps.push((step, start.elapsed()));
    }
}

/// Plays it. Every call succeeds, or its error is in the figures.
pub async fn play<B: Backend>(backend: &B) -> Figures {
    let fleet = Arc::new(Fleet::default());
    let watched = backend.watch(SERVICE);
    let mut story = Story { backend, fleet: fleet.clone(), watched, steps: Vec::new() };
    let (hears, recovers) = (backend.hears_within(), backend.recovers_within());

    let mut a = story.starts("a", 1).await;
    let b = story.starts("b", 2).await;
    let c = story.starts("c", 3).await;
    let d = story.starts("d", 4).await;

    let connect = {
        let fleet = fleet.clone();
        connect_fn(move |endpoint: &Endpoint| {
            let (fleet, key) = (fleet.clone(), endpoint.key().to_owned());
            let port = endpoint.address().port().unwrap();
            service_fn(move |_: Call<u64>| {
                let (fleet, key) = (fleet.clone(), key.clone());
                async move { fleet.answer(&key, port).await }
            })
        })
    };
    let service = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)))
        .layer(BalanceLayer::new(story.watched.clone(), RoundRobin::new()))
        .layer(CircuitBreakerLayer::new(CircuitBreakerConfig::default()))
        .service(connect);
    // So that it is watched from now on, and by one user at least.
    let _user = tower_upstream::discover::Discover::discover(&story.watched);
    story.watched.first_snapshot(hears).await.unwrap();
    story.until("first", hears, |story| story.are_usable(&["a", "b", "c", "d"])).await;

    let (calls, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
    let mut load = JoinSet::new();
    for worker in 0..WORKERS {
        let (service, calls, failed) = (service.clone(), calls.clone(), failed.clone());
        load.spawn(async move {
            loop {
                let call = Call::new(worker).idempotent();
                if let Err(error) = service.clone().oneshot(call).await {
                    failed.lock().unwrap().push(format!("{error:#}"));
                }
                calls.fetch_add(1, SeqCst);
                sleep(Duration::from_millis(15)).await;
            }
        });
    }

    let e = story.starts("e", 5).await;
    story.until("join", hears, |story| story.are_usable(&["a", "b", "c", "d", "e"])).await;
    story
        .until("the first call of what joined", hears, |story| story.fleet.calls_of("e") > 0)
        .await;

    b.registration.update(|endpoint| endpoint.with_weight(3).with_tag("v2")).unwrap();
    let changed = |story: &Story<'_, B>| {
        let set = story.set();
        set.iter().any(|set| set.get("b").is_some_and(|b| b.weight() == 3 && b.tags() == ["v2"]))
    };
    if backend.has_weights_and_tags() {
        story.until("a change of weight", hears, changed).await;
    }

    // It moves: the new one listens first, and the old one ends once that is known everywhere.
    story.fleet.listens(30, true);
    let moved = Endpoint::new("127.0.0.1:30").unwrap();
    c.registration.update(|_| moved.clone()).unwrap();
    let has_moved = |story: &Story<'_, B>| {
        let set = story.set();
        set.iter().any(|set| set.get("c").is_some_and(|c| c.address() == moved.address()))
    };
    story.until("a change of address", hears, has_moved).await;
    sleep(Duration::from_millis(100)).await;
    story.fleet.listens(3, false);

    d.registration.drain();
    story.until("drain", hears, |story| story.are_usable(&["a", "b", "c", "e"])).await;
    sleep(Duration::from_millis(100)).await;
    let before = story.fleet.calls_of("d");
    sleep(Duration::from_millis(200)).await;
    assert_eq!(story.fleet.calls_of("d"), before, "it drains, and gets calls");
    d.registration.deregister(hears).await.unwrap();
    story.fleet.listens(d.port, false);
    let is_gone = |story: &Story<'_, B>| story.set().is_some_and(|set| set.get("d").is_none());
    story.until("leave", hears, is_gone).await;

    // Killed: it says nothing to anything.
    a.is_dead.store(true, SeqCst);
    story.fleet.listens(a.port, false);
    let forgets = backend.forgets_within();
    story.until("a kill", forgets, |story| story.are_usable(&["b", "c", "e"])).await;
    a = story.starts("a", 1).await;
    story
        .until("a start after a kill", hears, |story| story.are_usable(&["a", "b", "c", "e"]))
        .await;

    backend.stop().await;
    sleep(backend.outage() / 2).await;
    // It starts while there is no registry.
    let f = story.starts("f", 6).await;
    sleep(backend.outage() / 2).await;
    assert!(story.usable().is_superset(&["b", "c", "e"].map(str::to_owned).into()));
    backend.restart().await;
    let all = &["a", "b", "c", "e", "f"];
    story.until("a restart of the registry", recovers, |story| story.are_usable(all)).await;

    backend.partition().await;
    sleep(backend.outage()).await;
    assert!(story.usable().is_superset(&["b", "c", "e", "f"].map(str::to_owned).into()));
    backend.heal().await;
    story
        .until("the end of a partition", recovers, |story| {
            story.are_usable(all) && story.watched.handle().last_error().is_none()
        })
        .await;

    load.abort_all();
    for process in [a, b, c, e, f] {
        process.registry.deregister_all(hears).await.unwrap();
    }
    let ends = hears + Duration::from_secs(30);
    story.until("the end", ends, |story| story.set().is_some_and(|set| set.is_empty())).await;
    let failed = failed.lock().unwrap().clone();
    let figures = Figures {
        steps: story.steps,
        calls: calls.load(SeqCst),
        to_dead: fleet.to_dead.load(SeqCst),
        failed,
    };
    println!("calls {}, attempts at dead processes {}", figures.calls, figures.to_dead);
    for (step, time) in &figures.steps {
        println!("  {step}: {time:?}");
    }
    assert_eq!(figures.failed, Vec::<String>::new());
    figures
}
