//! The simulated servers, and the queue of what they finish when.
//!
//! A server is a plain tower service. What it answers, and when, is known when it is called: it begins a
//! request when a worker is free, and works at the speed of that moment. tokio's timers count whole
//! milliseconds, so servers use none: they tell the [`World`] when to wake their answers, and the driver
//! moves tokio's paused clock from one such moment to the next, exact to the nanosecond.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    error::Error,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::Instant;
use tower::Service;

use crate::{
    cache::Known,
    scenario::{Condition, Request, Scenario},
};

pub(crate) struct World {
    scenario: Scenario,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    alarms: BinaryHeap<Alarm>,
    /// Alarms ever set.
    turns: u64,
    /// When each worker of each server is free; empty where their number has no limit.
    workers: Vec<BinaryHeap<Reverse<Duration>>>,
    /// What each server remembers, if that matters.
    known: Vec<Known>,
    /// What became of each request, by its number.
    served: Vec<Option<Served>>,
}

/// Which server got a request, and whether it had to learn the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served {
    pub(crate) server: usize,
    pub(crate) missed: bool,
}

impl World {
    /// Begins now.
    pub(crate) fn new(scenario: &Scenario) -> Arc<Self> {
        let free = || (0..scenario.workers.unwrap_or(0)).map(|_| Reverse(Duration::ZERO)).collect();
        let workers = (0..scenario.servers).map(|_| free()).collect();
        let known = (0..scenario.servers).map(|_| Known::default()).collect();
        let state = Mutex::new(State { workers, known, ..State::default() });
        Arc::new(Self { scenario: scenario.clone(), began: Instant::now(), state })
    }

    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The moment of the next answer.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.state().alarms.peek().map(|alarm| alarm.at)
    }

    /// How many answers are waited for.
    pub(crate) fn alarms(&self) -> usize {
        self.state().alarms.len()
    }

    /// Wakes what is done by now.
    pub(crate) fn wake_due(&self) {
        let now = self.now();
        let mut state = self.state();
        while state.alarms.peek().is_some_and(|alarm| alarm.at <= now) {
            if let Some(alarm) = state.alarms.pop() {
                alarm.waker.wake();
            }
        }
    }

    pub(crate) fn served(&self, request: usize) -> Option<Served> {
        self.state().served.get(request).copied().flatten()
    }

    fn accept(&self, server: usize, request: &Request) -> (Duration, Result<(), Broken>) {
        let now = self.now();
        let mut state = self.state();
        let free_at = state.workers[server].pop().map(|Reverse(free_at)| free_at);
        let begins_at = free_at.unwrap_or(now).max(now);
        let (took, result) = match (self.scenario.condition)(&self.scenario, server, begins_at) {
            Condition::Speed(speed) => (request.work.div_f64(speed), Ok(())),
            Condition::FailsAfter(took) => (took, Err(Broken)),
        };
        let miss = self
            .scenario
            .cache
            .as_ref()
            .and_then(|cache| state.known[server].miss(cache, request.key, begins_at));
        if state.served.len() <= request.number {
            state.served.resize(request.number + 1, None);
        }
        state.served[request.number] = Some(Served { server, missed: miss.is_some() });
        let ends_at = begins_at + miss.map_or(took, |miss| miss.max(took));
        if free_at.is_some() {
            state.workers[server].push(Reverse(ends_at));
        }
        (ends_at, result)
    }

    fn wake_at(&self, at: Duration, waker: &Waker) {
        let mut state = self.state();
        state.turns += 1;
        let turn = state.turns;
        state.alarms.push(Alarm { at, turn, waker: waker.clone() });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the servers.
#[derive(Clone)]
pub(crate) struct Server {
    world: Arc<World>,
    number: usize,
}

impl Server {
    pub(crate) fn new(world: Arc<World>, number: usize) -> Self {
        Self { world, number }
    }
}

impl Service<Request> for Server {
    type Response = ();
    type Error = Broken;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Answer {
        let (at, result) = self.world.accept(self.number, &request);
        Answer { world: self.world.clone(), at, result }
    }
}

pub(crate) struct Answer {
    world: Arc<World>,
    at: Duration,
    result: Result<(), Broken>,
}

impl Future for Answer {
    type Output = Result<(), Broken>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.world.now() >= self.at {
            return Poll::Ready(self.result);
        }
        self.world.wake_at(self.at, cx.waker());
        Poll::Pending
    }
}

/// What a server answers that fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server is broken")
    }
}

impl Error for Broken {}

struct Alarm {
    at: Duration,
    turn: u64,
    waker: Waker,
}

/// The greatest is the earliest, and of one moment the first that was set.
impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.turn).cmp(&(self.at, self.turn))
    }
}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Alarm {}
