//! An inner service that breaks when it is used against the contract, and a farm of such.
#![allow(dead_code, unreachable_pub)]

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, Sleep},
};
use tower::Service;
use tower_upstream::{
    BoxError, Error,
    breaker::{CircuitHandle, CircuitState, WindowStats},
    connect::Connect,
    deadline::HasDeadline,
    member::Member,
    replay::Replay,
};

/// All that there is to see of a circuit.
#[derive(Debug)]
pub struct Seen {
    pub admitted: u64,
    pub refused: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub ignored: u64,
    pub slow: u64,
    pub state: CircuitState,
    pub window: WindowStats,
    pub failures_in_a_row: u32,
    pub opened: u64,
    pub would_have_opened: u64,
    pub last_failure: Option<Instant>,
    pub next_transition: Option<Instant>,
}

pub fn seen(circuit: &CircuitHandle) -> Seen {
    let stats = circuit.stats();
    Seen {
        admitted: stats.admitted.unwrap(),
        refused: stats.refused.unwrap(),
        succeeded: stats.succeeded.unwrap(),
        failed: stats.failed.unwrap(),
        ignored: stats.ignored.unwrap(),
        slow: stats.slow.unwrap(),
        state: circuit.state(),
        window: circuit.window(),
        failures_in_a_row: circuit.failures_in_a_row(),
        opened: circuit.opened(),
        would_have_opened: circuit.would_have_opened(),
        last_failure: circuit.last_failure(),
        next_transition: circuit.next_transition(),
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    pub number: u32,
    pub idempotent: bool,
    pub deadline: Option<Instant>,
    pub attempt: u32,
}

impl Ask {
    pub fn new(number: u32) -> Self {
        Self { number, idempotent: true, deadline: None, attempt: 0 }
    }

    /// May only be sent once.
    pub fn once(number: u32) -> Self {
        Self { idempotent: false, ..Self::new(number) }
    }

    pub fn until(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

impl HasDeadline for Ask {
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

impl Replay for Ask {
    fn replay(&self) -> Option<Self> {
        Some(self.clone())
    }

    fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    fn begin_attempt(&mut self, number: u32) {
        self.attempt = number;
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Readiness {
    Ready,
    /// Pending, with a waker kept.
    Pending,
    /// `Err`; polled again the same value panics.
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answer {
    /// The key, at once.
    Good,
    Fails,
    /// For what the caller did.
    CallersFault,
    Panics,
    Never,
    GoodAfter(Duration),
    FailsAfter(Duration),
    /// As [`Inner::finish`] says, in any order.
    ByHand,
}

/// What all clones and connections of one endpoint's service share.
pub struct Inner {
    pub key: String,
    state: Mutex<State>,
    pub polls: AtomicUsize,
    pub calls: AtomicUsize,
    pub connects: AtomicUsize,
    /// Futures that are there, finished or not.
    pub running: AtomicUsize,
    pub most_running: AtomicUsize,
    /// Futures dropped before they were done.
    pub abandoned: AtomicUsize,
    /// Services that are there.
    pub services: AtomicUsize,
    /// Services that said they are ready, and were neither called nor dropped since.
    pub readied: AtomicUsize,
    /// Uses against the contract. Also panics, but a panic in a task may be swallowed.
    pub violations: AtomicUsize,
}

struct State {
    readiness: Readiness,
    answer: Answer,
    wakers: Vec<Waker>,
    by_hand: Vec<Option<oneshot::Sender<bool>>>,
    asks: Vec<Ask>,
}

impl Inner {
    pub fn new(key: &str) -> Arc<Self> {
        Arc::new(Self {
            key: key.to_owned(),
            state: Mutex::new(State {
                readiness: Readiness::Ready,
                answer: Answer::Good,
                wakers: Vec::new(),
                by_hand: Vec::new(),
                asks: Vec::new(),
            }),
            polls: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            connects: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
            services: AtomicUsize::new(0),
            readied: AtomicUsize::new(0),
            violations: AtomicUsize::new(0),
        })
    }

    pub fn service(self: &Arc<Self>) -> Probe {
        self.services.fetch_add(1, SeqCst);
        Probe { inner: self.clone(), ready: false, dead: false }
    }

    pub fn answers(&self, answer: Answer) {
        self.state.lock().unwrap().answer = answer;
    }

    pub fn is(&self, readiness: Readiness) {
        let wakers = {
            let mut state = self.state.lock().unwrap();
            state.readiness = readiness;
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends the `index`th call, well or not.
    pub fn finish(&self, index: usize, good: bool) {
        let sender = self.state.lock().unwrap().by_hand[index].take();
        let _ = sender.expect("finished twice").send(good);
    }

    pub fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    pub fn polls(&self) -> usize {
        self.polls.load(SeqCst)
    }

    pub fn connects(&self) -> usize {
        self.connects.load(SeqCst)
    }

    pub fn running(&self) -> usize {
        self.running.load(SeqCst)
    }

    pub fn readied(&self) -> usize {
        self.readied.load(SeqCst)
    }

    pub fn asks(&self) -> Vec<Ask> {
        self.state.lock().unwrap().asks.clone()
    }

    fn violated(&self, how: &str) -> ! {
        self.violations.fetch_add(1, SeqCst);
        panic!("{}: {how}", self.key);
    }
}

/// The service under test. It panics when it is called unready, which each clone is at first.
pub struct Probe {
    inner: Arc<Inner>,
    ready: bool,
    dead: bool,
}

impl Clone for Probe {
    fn clone(&self) -> Self {
        self.inner.service()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.inner.readied.fetch_sub(self.ready.into(), SeqCst);
        self.inner.services.fetch_sub(1, SeqCst);
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}

impl Service<Ask> for Probe {
    type Response = String;
    type Error = BoxError;
    type Future = Running;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.polls.fetch_add(1, SeqCst);
        if self.dead {
            self.inner.violated("polled after it was dead");
        }
        let mut state = self.inner.state.lock().unwrap();
        match state.readiness {
            Readiness::Ready => {
                self.inner.readied.fetch_add((!self.ready).into(), SeqCst);
                self.ready = true;
                Poll::Ready(Ok(()))
            }
            Readiness::Pending => {
                if !state.wakers.iter().any(|w| w.will_wake(cx.waker())) {
                    state.wakers.push(cx.waker().clone());
                }
                Poll::Pending
            }
            Readiness::Dead => {
                self.dead = true;
                Poll::Ready(Err("dead".into()))
            }
        }
    }

    fn call(&mut self, ask: Ask) -> Running {
        if !std::mem::take(&mut self.ready) {
            self.inner.violated("called without readiness");
        }
        self.inner.readied.fetch_sub(1, SeqCst);
        self.inner.calls.fetch_add(1, SeqCst);
        let running = self.inner.running.fetch_add(1, SeqCst) + 1;
        self.inner.most_running.fetch_max(running, SeqCst);
        let mut state = self.inner.state.lock().unwrap();
        state.asks.push(ask);
        let end = match state.answer {
            Answer::Good => End::Now(true),
            Answer::Fails => End::Now(false),
            Answer::CallersFault => End::CallersFault,
            Answer::Panics => End::Panic,
            Answer::Never => End::Never,
            Answer::GoodAfter(after) => End::After(Box::pin(tokio::time::sleep(after)), true),
            Answer::FailsAfter(after) => End::After(Box::pin(tokio::time::sleep(after)), false),
            Answer::ByHand => {
                let (sender, receiver) = oneshot::channel();
                state.by_hand.push(Some(sender));
                End::ByHand(receiver)
            }
        };
        if !matches!(state.answer, Answer::ByHand) {
            state.by_hand.push(None);
        }
        Running { inner: self.inner.clone(), end, done: false }
    }
}

/// A call of a [`Probe`].
pub struct Running {
    inner: Arc<Inner>,
    end: End,
    done: bool,
}

enum End {
    Now(bool),
    CallersFault,
    Panic,
    Never,
    After(Pin<Box<Sleep>>, bool),
    ByHand(oneshot::Receiver<bool>),
}

impl Future for Running {
    type Output = Result<String, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.done {
            self.inner.violated("a response was polled after it was done");
        }
        let good = match &mut self.end {
            End::Now(good) => *good,
            End::CallersFault => {
                self.done = true;
                return Poll::Ready(Err(Error::caller("the upload was aborted").into()));
            }
            End::Panic => panic!("the service of a user panics"),
            End::Never => return Poll::Pending,
            End::After(sleep, good) => {
                let good = *good;
                std::task::ready!(sleep.as_mut().poll(cx));
                good
            }
            End::ByHand(receiver) => match std::task::ready!(Pin::new(receiver).poll(cx)) {
                Ok(good) => good,
                Err(_) => return Poll::Pending,
            },
        };
        self.done = true;
        Poll::Ready(if good { Ok(self.inner.key.clone()) } else { Err("broken".into()) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.inner.running.fetch_sub(1, SeqCst);
        if !self.done {
            self.inner.abandoned.fetch_add(1, SeqCst);
        }
    }
}

/// A connector to [`Probe`]s, one [`Inner`] for each key.
#[derive(Clone, Default)]
pub struct Farm {
    by_key: Arc<Mutex<BTreeMap<String, Arc<Inner>>>>,
}

impl Farm {
    pub fn get(&self, key: &str) -> Arc<Inner> {
        let mut by_key = self.by_key.lock().unwrap();
        by_key.entry(key.to_owned()).or_insert_with(|| Inner::new(key)).clone()
    }

    pub fn all(&self) -> Vec<Arc<Inner>> {
        self.by_key.lock().unwrap().values().cloned().collect()
    }

    pub fn calls(&self) -> usize {
        self.all().iter().map(|inner| inner.calls()).sum()
    }

    pub fn polls(&self) -> usize {
        self.all().iter().map(|inner| inner.polls()).sum()
    }

    pub fn connects(&self) -> usize {
        self.all().iter().map(|inner| inner.connects()).sum()
    }

    pub fn running(&self) -> usize {
        self.all().iter().map(|inner| inner.running()).sum()
    }

    pub fn readied(&self) -> usize {
        self.all().iter().map(|inner| inner.readied()).sum()
    }

    pub fn services(&self) -> usize {
        self.all().iter().map(|inner| inner.services.load(SeqCst)).sum()
    }

    pub fn violations(&self) -> usize {
        self.all().iter().map(|inner| inner.violations.load(SeqCst)).sum()
    }

    pub fn answers(&self, answer: Answer) {
        self.all().iter().for_each(|inner| inner.answers(answer));
    }

    pub fn is(&self, readiness: Readiness) {
        self.all().iter().for_each(|inner| inner.is(readiness));
    }
}

impl Connect for Farm {
    type Service = Probe;

    fn connect(&self, member: &Arc<Member>) -> Probe {
        tokio::runtime::Handle::try_current().expect("connect runs inside a runtime");
        let inner = self.get(member.key());
        inner.connects.fetch_add(1, SeqCst);
        inner.service()
    }
}

impl fmt::Debug for Farm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Farm").finish_non_exhaustive()
    }
}

/// Counts how often a future is polled.
pub struct Counted<F> {
    future: Pin<Box<F>>,
    pub polls: Arc<AtomicUsize>,
}

pub fn counted<F: Future>(future: F) -> (Counted<F>, Arc<AtomicUsize>) {
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Counted { future: Box::pin(future), polls: polls.clone() };
    (counted, polls)
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.polls.fetch_add(1, SeqCst);
        self.future.as_mut().poll(cx)
    }
}

/// Virtual time for tasks to do what they have to do.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
