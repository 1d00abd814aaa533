//! Hand-written lower bounds: the one mechanism that a layer cannot do without, and nothing else.

use std::{
    cell::Cell,
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use tower::Service;

#[repr(align(128))]
struct Padded<T>(T);

/// One atomic addition: the unit that the other figures of a machine are to be read in.
#[derive(Clone)]
pub(crate) struct Addition {
    count: Arc<Padded<AtomicU64>>,
}

impl Addition {
    pub(crate) fn new() -> Self {
        Self { count: Arc::new(Padded(AtomicU64::new(0))) }
    }
}

impl Service<u64> for Addition {
    type Response = u64;
    type Error = Infallible;
    type Future = Ready<Result<u64, Infallible>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: u64) -> Self::Future {
        self.count.0.fetch_add(1, Ordering::Relaxed);
        ready(Ok(request))
    }
}

/// A limit with one number for all: reads the time stamp counter, and moves the number on.
#[derive(Clone)]
pub(crate) struct SharedCas {
    shared: Arc<Shared>,
}

struct Shared {
    clock: quanta::Clock,
    start: u64,
    arrival: Padded<AtomicU64>,
}

impl SharedCas {
    pub(crate) fn new() -> Self {
        let clock = quanta::Clock::new();
        let (start, arrival) = (clock.raw(), Padded(AtomicU64::new(0)));
        let shared = Shared { clock, start, arrival };
        Self { shared: Arc::new(shared) }
    }
}

impl Service<u64> for SharedCas {
    type Response = u64;
    type Error = &'static str;
    type Future = Ready<Result<u64, &'static str>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: u64) -> Self::Future {
        let Shared { clock, start, arrival } = &*self.shared;
        let now = clock.delta_as_nanos(*start, clock.raw());
        let mut seen = arrival.0.load(Ordering::Relaxed);
        loop {
            let next = seen.max(now) + 1;
            if next > now + 1_000_000_000 {
                return ready(Err("spent"));
            }
            let moved =
                arrival.0.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed);
            match moved {
                Ok(_) => return ready(Ok(request)),
                Err(newer) => seen = newer,
            }
        }
    }
}

/// A call that takes an `Arc` along and counts itself when it is done, on one thread.
#[derive(Clone)]
pub(crate) struct HeldCount {
    count: Arc<Padded<AtomicU64>>,
}

impl HeldCount {
    pub(crate) fn new() -> Self {
        Self { count: Arc::new(Padded(AtomicU64::new(0))) }
    }
}

impl Service<u64> for HeldCount {
    type Response = u64;
    type Error = Infallible;
    type Future = Held;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: u64) -> Held {
        let count = self.count.clone();
        Held { count, request }
    }
}

pub(crate) struct Held {
    count: Arc<Padded<AtomicU64>>,
    request: u64,
}

impl Future for Held {
    type Output = Result<u64, Infallible>;

    #[inline]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.count.0.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(self.request))
    }
}

/// The less loaded of two that are drawn, with a counter of calls in flight for each.
#[derive(Clone)]
pub(crate) struct SharedTwoChoices {
    counters: Arc<[Arc<Padded<AtomicU32>>]>,
}

impl SharedTwoChoices {
    pub(crate) fn new(members: usize) -> Self {
        let counter = |_| Arc::new(Padded(AtomicU32::new(0)));
        Self { counters: (0..members).map(counter).collect() }
    }
}

impl Service<u64> for SharedTwoChoices {
    type Response = u64;
    type Error = Infallible;
    type Future = Counted;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: u64) -> Counted {
        let (counters, random) = (&self.counters, random());
        let draw = |random: u32, below: usize| ((u64::from(random) * below as u64) >> 32) as usize;
        let one = draw(random as u32, counters.len());
        let other = draw((random >> 32) as u32, counters.len() - 1);
        let two = other + usize::from(other >= one);
        let load = |index: usize| counters[index].0.load(Ordering::Relaxed);
        let counter = counters[if load(two) < load(one) { two } else { one }].clone();
        counter.0.fetch_add(1, Ordering::Relaxed);
        Counted { counter, request }
    }
}

/// In flight until it drops.
pub(crate) struct Counted {
    counter: Arc<Padded<AtomicU32>>,
    request: u64,
}

impl Future for Counted {
    type Output = Result<u64, Infallible>;

    #[inline]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(self.request))
    }
}

impl Drop for Counted {
    #[inline]
    fn drop(&mut self) {
        self.counter.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One of `members` that a random place of a table of `slots` names, with a counter of calls in flight: what a choice
/// by a key reads, whatever it does beside. A place takes two bytes.
#[cfg(feature = "hash")]
#[derive(Clone)]
pub(crate) struct SharedSlots {
    slots: Arc<[u16]>,
    counters: Arc<[Arc<Padded<AtomicU32>>]>,
}

#[cfg(feature = "hash")]
impl SharedSlots {
    pub(crate) fn new(slots: usize, members: u16) -> Self {
        let counter = |_| Arc::new(Padded(AtomicU32::new(0)));
        let slot = |_| (random() % u64::from(members)) as u16;
        Self {
            slots: (0..slots).map(slot).collect(),
            counters: (0..members).map(counter).collect(),
        }
    }
}

#[cfg(feature = "hash")]
impl Service<u64> for SharedSlots {
    type Response = u64;
    type Error = Infallible;
    type Future = Counted;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: u64) -> Counted {
        let at = (u128::from(random()) * self.slots.len() as u128) >> 64;
        let counter = self.counters[usize::from(self.slots[at as usize])].clone();
        counter.0.fetch_add(1, Ordering::Relaxed);
        Counted { counter, request }
    }
}

#[inline]
fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = const { Cell::new(0x9e37_79b9_7f4a_7c15) };
    }
    STATE.with(|state| {
        let next = state.get().wrapping_add(0xa076_1d64_78bd_642f);
        state.set(next);
        let product = u128::from(next) * u128::from(next ^ 0xe703_7ed1_a0b4_28db);
        (product >> 64) as u64 ^ product as u64
    })
}
