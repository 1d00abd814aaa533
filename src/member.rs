//! An endpoint in a running set: what discovery says of it, and what we know of it.
//!
//! A [`Member`] lives in an `Arc` and survives every rebuild of the set, so counts, verdicts and
//! estimates are never lost to an update. Requests touch only the few words in [`Hot`].

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::task::AtomicWaker;

use crate::{
    endpoint::{Endpoint, Status},
    sync::lock,
    time::{self, Clock, Instant},
};

/// An endpoint in a running set.
///
/// A connector gets the member it connects for ([`Connect`](crate::Connect)), a strategy reads its
/// load through [`Candidate`](crate::balance::Candidate), and a guard takes a [`Veto`] on it.
///
/// # Example
/// ```
/// use tower_upstream::{Endpoint, Member, Reason};
///
/// let member = Member::new("http://10.0.0.1:8080".parse::<Endpoint>()?);
/// let veto = member.veto(Reason::Unhealthy);
/// veto.raise();
/// assert!(!member.is_eligible());
/// drop(veto);
/// assert!(member.is_eligible());
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[repr(C)]
pub struct Member {
    /// First, and so beside the counters of the `Arc`: a call that chooses this member touches
    /// both.
    hot: Hot,
    key: Arc<str>,
    endpoint: ArcSwap<Endpoint>,
    since: Instant,
    clock: Clock,
    /// The bits of `hot.word` that somebody holds.
    taken: AtomicU64,
    failures: AtomicU64,
    signal: Arc<Signal>,
}

struct Hot {
    /// Why this member is not eligible. Zero: it is.
    word: AtomicU64,
    /// Calls in flight in the low 24 bits, calls ever begun above: both with one addition.
    calls: AtomicU64,
    /// Peak EWMA: microseconds above, the millisecond of the sample below.
    latency: AtomicU64,
    /// A value reported by the endpoint itself, as the bits of a float.
    reported: AtomicU64,
    weight: AtomicU32,
    tier: AtomicU32,
}

const FLIGHT: u64 = (1 << 24) - 1;
const BEGUN: u64 = 1 << 24;

/// Time constant of the latency estimate, as in Finagle and tower.
const DECAY: Duration = Duration::from_secs(10);

/// What a failed call counts for in the latency estimate, at least: failing fast must not look
/// like being fast. The figure is linkerd's.
const FAILURE_PENALTY: Duration = Duration::from_secs(5);

impl Member {
    /// A member of no set. A balancer makes its own; this is for a test, or a balancer of yours.
    ///
    /// Nobody clears what is [raised until](Veto::raise_until) a time here.
    pub fn new(endpoint: Endpoint) -> Arc<Self> {
        Self::in_set(Arc::new(endpoint), Arc::default())
    }

    pub(crate) fn in_set(endpoint: Arc<Endpoint>, signal: Arc<Signal>) -> Arc<Self> {
        let clock = Clock::new();
        let member = Arc::new(Self {
            hot: Hot {
                word: AtomicU64::new(0),
                calls: AtomicU64::new(0),
                latency: AtomicU64::new(0),
                reported: AtomicU64::new(f64::NAN.to_bits()),
                weight: AtomicU32::new(1),
                tier: AtomicU32::new(0),
            },
            key: endpoint.shared_key().clone(),
            endpoint: ArcSwap::new(endpoint.clone()),
            since: time::now(),
            clock,
            taken: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            signal,
        });
        member.update(endpoint);
        member
    }

    /// Takes over what discovery says now. The address must be the same.
    pub(crate) fn update(&self, endpoint: Arc<Endpoint>) {
        // Relaxed: each is a value of its own, and the next snapshot publishes them all.
        self.hot.weight.store(endpoint.weight(), Ordering::Relaxed);
        let warned = u32::from(endpoint.status() == Status::Warning);
        let tier = endpoint.priority().saturating_mul(2).saturating_add(warned);
        self.hot.tier.store(tier, Ordering::Relaxed);
        self.set_bits(bit::DISCOVERED_CRITICAL, endpoint.status() == Status::Critical);
        self.set_bits(bit::DRAINING, endpoint.is_draining());
        self.endpoint.store(endpoint);
    }

    /// The identity.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn shared_key(&self) -> &Arc<str> {
        &self.key
    }

    /// What discovery says of it now. The address never changes; all else may.
    pub fn endpoint(&self) -> Arc<Endpoint> {
        self.endpoint.load_full()
    }

    /// How many calls are in flight.
    #[inline]
    pub fn in_flight(&self) -> u32 {
        // Relaxed: a load is an estimate by nature.
        (self.hot.calls.load(Ordering::Relaxed) & FLIGHT) as u32
    }

    /// How many calls were begun.
    pub fn calls(&self) -> u64 {
        self.hot.calls.load(Ordering::Relaxed) >> 24
    }

    /// How many calls ended in an error, refusals left out.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The estimate of its latency: an average over about ten seconds that follows a rise at once
    /// (peak EWMA, of Finagle). `None` before the first sample.
    pub fn latency(&self) -> Option<Duration> {
        let micros = self.hot.latency.load(Ordering::Relaxed) >> 32;
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    /// Its share of the load, relative to the others.
    #[inline]
    pub fn weight(&self) -> u32 {
        self.hot.weight.load(Ordering::Relaxed)
    }

    /// Which group it belongs to; the lowest that can be used is.
    #[inline]
    pub fn tier(&self) -> u32 {
        self.hot.tier.load(Ordering::Relaxed)
    }

    /// How long it has been in the set.
    pub fn age(&self) -> Duration {
        time::now().saturating_duration_since(self.since)
    }

    /// The value that the endpoint reported of itself, such as its utilisation.
    pub fn reported(&self) -> Option<f64> {
        let value = f64::from_bits(self.hot.reported.load(Ordering::Relaxed));
        (!value.is_nan()).then_some(value)
    }

    /// Notes a value that the endpoint reported of itself, for a strategy that reads it.
    pub fn report(&self, value: f64) {
        self.hot.reported.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Whether nothing bars it.
    #[inline]
    pub fn is_eligible(&self) -> bool {
        self.word() == 0
    }

    /// What bars it, each reason once.
    pub fn reasons(&self) -> impl Iterator<Item = Reason> + use<> {
        let word = self.word();
        Reason::ALL.into_iter().filter(move |reason| word & reason.bits() != 0)
    }

    #[inline]
    pub(crate) fn word(&self) -> u64 {
        // Relaxed: eligibility is advice. The guard itself decides again in `call`.
        self.hot.word.load(Ordering::Relaxed)
    }

    /// Takes a bit of the eligibility word, for one guard. Dropping the [`Veto`] clears it.
    pub fn veto(self: &Arc<Self>, reason: Reason) -> Veto {
        let mut bit = 0;
        // Relaxed: the bits that are given out are only counted here.
        let _ = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            let free = reason.bits() & !taken & !bit::DISCOVERED;
            bit = free & free.wrapping_neg();
            (bit != 0).then_some(taken | bit)
        });
        Veto { member: self.clone(), bit }
    }

    /// Counts a call as in flight until the guard drops.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.take_off();
        InFlight(self.clone())
    }

    /// Counts a call as in flight, until [`land`](Self::land).
    #[inline]
    pub(crate) fn take_off(&self) {
        // Relaxed: a count that others only estimate by.
        self.hot.calls.fetch_add(BEGUN + 1, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn land(&self) {
        self.hot.calls.fetch_sub(1, Ordering::Relaxed);
    }

    /// Nanoseconds since this member was made.
    #[inline]
    pub(crate) fn nanos(&self) -> u64 {
        self.clock.nanos()
    }

    /// Takes a sample of the latency of a call that went well.
    pub fn observe(&self, latency: Duration) {
        self.sample(latency, false);
    }

    /// Takes note of a call that failed after `latency`.
    pub(crate) fn observe_failure(&self, latency: Duration) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.sample(latency.max(FAILURE_PENALTY), false);
    }

    /// Takes note of a call that was given up after `latency`. It can worsen the estimate, never
    /// improve it.
    pub(crate) fn observe_abandoned(&self, latency: Duration) {
        self.sample(latency, true);
    }

    fn sample(&self, latency: Duration, only_worse: bool) {
        let micros = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        let now = (self.clock.nanos() / 1_000_000) as u32;
        // Relaxed: the word is whole by itself.
        let _ = self.hot.latency.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let (old, at) = ((word >> 32) as u32, word as u32);
            let new = peak_ewma(old, now.wrapping_sub(at), micros.max(1));
            (!only_worse || new > old).then_some(u64::from(new) << 32 | u64::from(now))
        });
    }

    fn set_bits(&self, bits: u64, on: bool) {
        // Release with the task's Acquire of `Signal::changed`: who sees the signal sees the bit.
        let before = if on {
            self.hot.word.fetch_or(bits, Ordering::Release)
        } else {
            self.hot.word.fetch_and(!bits, Ordering::Release)
        };
        let changed = if on { !before & bits } else { before & bits };
        if changed & bit::SLOW != 0 {
            self.signal.notify();
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("key", &self.key)
            .field("reasons", &self.reasons().collect::<Vec<_>>())
            .field("in_flight", &self.in_flight())
            .field("calls", &self.calls())
            .field("failures", &self.failures())
            .field("latency", &self.latency())
            .finish_non_exhaustive()
    }
}

/// A sample above the average replaces it; one below draws it down with the weight of the time
/// that passed: `w = e^(-t/τ)`, `ewma = old·w + sample·(1-w)`.
fn peak_ewma(old: u32, elapsed_millis: u32, sample: u32) -> u32 {
    if sample >= old {
        return sample;
    }
    let weight = (-f64::from(elapsed_millis) / (DECAY.as_millis() as f64)).exp();
    (f64::from(old) * weight + f64::from(sample) * (1.0 - weight)).round() as u32
}

/// Why a member is not eligible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A health check says so, or discovery does. Ignored in a panic.
    Unhealthy,
    /// A circuit breaker is open.
    CircuitOpen,
    /// A guard has no place free just now, such as for another probe. Seen by requests at once,
    /// without a new snapshot.
    Busy,
    /// It does much worse than the others. Ignored in a panic.
    Ejected,
    /// It finishes what it has and gets nothing new.
    Draining,
    /// Somebody switched it off.
    Disabled,
}

mod bit {
    //! The layout of the eligibility word.
    pub(super) const UNHEALTHY: u64 = 0xffff | DISCOVERED_CRITICAL;
    pub(super) const CIRCUIT_OPEN: u64 = 0xffff << 16;
    pub(super) const BUSY: u64 = 0xffff << 32;
    pub(super) const EJECTED: u64 = 0xf << 48;
    pub(super) const DISABLED: u64 = 0xf << 52;
    pub(super) const DRAINING: u64 = 1 << 56;
    pub(super) const DISCOVERED_CRITICAL: u64 = 1 << 57;
    /// Set from what discovery says, so nobody may take them.
    pub(super) const DISCOVERED: u64 = DISCOVERED_CRITICAL;
    /// A change of these makes a new snapshot.
    pub(super) const SLOW: u64 = !BUSY;
}

impl Reason {
    const ALL: [Self; 6] = [
        Self::Unhealthy,
        Self::CircuitOpen,
        Self::Busy,
        Self::Ejected,
        Self::Draining,
        Self::Disabled,
    ];

    /// What a panic overlooks.
    pub(crate) const OVERLOOKED_IN_PANIC: u64 = bit::UNHEALTHY | bit::EJECTED;

    /// What takes a member out of the snapshot, rather than only out of a choice.
    pub(crate) const IN_SNAPSHOT: u64 = bit::SLOW;

    pub(crate) const fn bits(self) -> u64 {
        match self {
            Self::Unhealthy => bit::UNHEALTHY,
            Self::CircuitOpen => bit::CIRCUIT_OPEN,
            Self::Busy => bit::BUSY,
            Self::Ejected => bit::EJECTED,
            Self::Draining => bit::DRAINING,
            Self::Disabled => bit::DISABLED,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unhealthy => "unhealthy",
            Self::CircuitOpen => "circuit open",
            Self::Busy => "busy",
            Self::Ejected => "ejected",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
        })
    }
}

/// The right of one guard to bar one member. Clear when made; dropping it clears it.
///
/// A member has 16 bits for health, circuits and places each, and fewer for the rest. A guard that
/// comes when all are taken gets a veto without effect: it must refuse in `call`, as guards do
/// anyway.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::{Endpoint, Member, Reason};
///
/// let member = Member::new("a:1".parse::<Endpoint>()?);
/// let veto = member.veto(Reason::Disabled);
/// veto.raise_until(tokio::time::Instant::now() + Duration::from_secs(5));
/// assert_eq!(member.reasons().collect::<Vec<_>>(), [Reason::Disabled]);
/// veto.clear();
/// assert!(member.is_eligible());
/// # Ok::<(), tower_upstream::Error>(())
/// ```
pub struct Veto {
    member: Arc<Member>,
    bit: u64,
}

impl Veto {
    /// Bars the member until [`clear`](Self::clear).
    pub fn raise(&self) {
        if self.bit != 0 {
            self.member.signal.forget(&self.member, self.bit);
            self.member.set_bits(self.bit, true);
        }
    }

    /// Bars the member until `at`, when the task of its set clears the bit.
    pub fn raise_until(&self, at: Instant) {
        if self.bit != 0 {
            self.member.signal.remember(&self.member, self.bit, at);
            self.member.set_bits(self.bit, true);
        }
    }

    /// Bars it no longer.
    pub fn clear(&self) {
        if self.bit != 0 {
            self.member.signal.forget(&self.member, self.bit);
            self.member.set_bits(self.bit, false);
        }
    }

    /// Whether it bars the member just now.
    #[inline]
    pub fn is_raised(&self) -> bool {
        self.member.word() & self.bit != 0
    }

    /// The member that this veto is about.
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }
}

impl Drop for Veto {
    fn drop(&mut self) {
        self.clear();
        self.member.taken.fetch_and(!self.bit, Ordering::Relaxed);
    }
}

impl fmt::Debug for Veto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Veto")
            .field("member", &self.member.key)
            .field("raised", &self.is_raised())
            .finish()
    }
}

/// A call in flight on a member, until this drops. Made by [`Member::begin`].
///
/// ```
/// use tower_upstream::{Endpoint, Member};
/// let member = Member::new("a:1".parse::<Endpoint>()?);
/// let call = member.begin();
/// assert_eq!(member.in_flight(), 1);
/// drop(call);
/// assert_eq!(member.in_flight(), 0);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
pub struct InFlight(Arc<Member>);

impl InFlight {
    /// Keeps counting a call that was begun already, when its first guard drops.
    #[cfg(feature = "http")]
    pub(crate) fn go_on(member: Arc<Member>) -> Self {
        // Relaxed: a count that others only estimate by.
        member.hot.calls.fetch_add(1, Ordering::Relaxed);
        Self(member)
    }

    /// The member.
    #[inline]
    pub fn member(&self) -> &Arc<Member> {
        &self.0
    }
}

impl Drop for InFlight {
    #[inline]
    fn drop(&mut self) {
        self.0.land();
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InFlight").field(&self.0.key).finish()
    }
}

/// What the members of a set tell the task of the set: that something changed, and which vetoes
/// end when.
#[derive(Default)]
pub(crate) struct Signal {
    changed: AtomicBool,
    task: AtomicWaker,
    due: Mutex<Dues>,
}

#[derive(Default)]
struct Dues {
    /// By member and bit, so that a veto raised again replaces its end.
    ends: HashMap<(usize, u64), Due>,
    /// The first end that the task knows of.
    known: Option<Instant>,
}

struct Due {
    member: Weak<Member>,
    at: Instant,
}

impl Signal {
    pub(crate) fn notify(&self) {
        // Release with the Acquire in `take`: the task sees what was changed before.
        self.changed.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Whether something changed since the last time this was asked.
    pub(crate) fn take(&self) -> bool {
        self.changed.swap(false, Ordering::Acquire)
    }

    /// Whom to wake on a change. Register before looking.
    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.task.register(waker);
    }

    fn remember(&self, member: &Arc<Member>, bit: u64, at: Instant) {
        let key = (Arc::as_ptr(member) as usize, bit);
        let due = Due { member: Arc::downgrade(member), at };
        let mut dues = lock(&self.due);
        dues.ends.insert(key, due);
        let is_first = dues.known.is_none_or(|known| at < known);
        drop(dues);
        if is_first {
            // The task sleeps until a later end.
            self.notify();
        }
    }

    fn forget(&self, member: &Arc<Member>, bit: u64) {
        lock(&self.due).ends.remove(&(Arc::as_ptr(member) as usize, bit));
    }

    /// Clears the vetoes that end by `now`, and tells when the next one does.
    pub(crate) fn clear_due(&self, now: Instant) -> Option<Instant> {
        let mut over = Vec::new();
        let mut next = None;
        let mut dues = lock(&self.due);
        dues.ends.retain(|&(_, bit), due| {
            if due.at <= now {
                // Under the lock: a veto that is raised anew just now is so after this.
                over.extend(due.member.upgrade().inspect(|m| m.set_bits(bit, false)));
                false
            } else {
                next = Some(next.map_or(due.at, |next: Instant| next.min(due.at)));
                due.member.strong_count() > 0
            }
        });
        dues.known = next;
        drop(dues);
        // Members are dropped without the lock.
        drop(over);
        next
    }

    /// When the first veto for `reason` ends.
    pub(crate) fn earliest(&self, reason: Reason) -> Option<Instant> {
        let dues = lock(&self.due);
        let of_reason = dues.ends.iter().filter(|((_, bit), _)| bit & reason.bits() != 0);
        of_reason.map(|(_, due)| due.at).min()
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal").field("changed", &self.changed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member() -> Arc<Member> {
        Member::new(Endpoint::new("a:1").unwrap())
    }

    #[test]
    fn guards_of_one_kind_do_not_clear_each_others_bit() {
        let member = member();
        let (one, two) = (member.veto(Reason::CircuitOpen), member.veto(Reason::CircuitOpen));
        one.raise();
        two.raise();
        one.clear();
        assert!(!member.is_eligible());
        drop(two);
        assert!(member.is_eligible());
    }

    #[test]
    fn a_veto_too_many_has_no_effect_and_a_place_given_back_is_given_again() {
        let member = member();
        let mut vetoes: Vec<_> = (0..16).map(|_| member.veto(Reason::Busy)).collect();
        let late = member.veto(Reason::Busy);
        late.raise();
        assert!(member.is_eligible());
        vetoes.pop();
        let veto = member.veto(Reason::Busy);
        veto.raise();
        assert_eq!(member.reasons().collect::<Vec<_>>(), [Reason::Busy]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_raised_until_a_time_ends_then_and_the_last_word_counts() {
        let member = member();
        let veto = member.veto(Reason::CircuitOpen);
        let start = time::now();
        veto.raise_until(start + Duration::from_secs(1));
        veto.raise_until(start + Duration::from_secs(3));
        let signal = &member.signal;
        assert_eq!(signal.clear_due(start + Duration::from_secs(2)), veto_end(start));
        assert!(veto.is_raised());
        assert_eq!(signal.earliest(Reason::CircuitOpen), veto_end(start));
        assert_eq!(signal.clear_due(start + Duration::from_secs(3)), None);
        assert!(!veto.is_raised());
        veto.raise_until(start + Duration::from_secs(4));
        veto.raise();
        signal.clear_due(start + Duration::from_secs(9));
        assert!(veto.is_raised(), "raised for good");
    }

    fn veto_end(start: Instant) -> Option<Instant> {
        Some(start + Duration::from_secs(3))
    }

    #[test]
    fn what_is_in_flight_and_what_was_begun_are_counted_apart() {
        let member = member();
        let (one, two) = (member.begin(), member.begin());
        assert_eq!((member.in_flight(), member.calls()), (2, 2));
        drop((one, two));
        assert_eq!((member.in_flight(), member.calls()), (0, 2));
    }

    #[test]
    fn the_estimate_rises_at_once_and_falls_slowly() {
        assert_eq!(peak_ewma(100, 0, 900), 900);
        assert_eq!(peak_ewma(900, 0, 100), 900);
        assert_eq!(peak_ewma(1_000, 10_000, 0), 368);
        assert_eq!(peak_ewma(1_000, u32::MAX, 100), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn an_abandoned_call_only_worsens_and_a_failure_is_slow() {
        let member = member();
        assert_eq!(member.latency(), None);
        member.observe(Duration::from_millis(20));
        tokio::time::advance(Duration::from_secs(60)).await;
        member.observe_abandoned(Duration::from_millis(1));
        assert_eq!(member.latency(), Some(Duration::from_millis(20)));
        member.observe_abandoned(Duration::from_millis(30));
        assert_eq!(member.latency(), Some(Duration::from_millis(30)));
        member.observe_failure(Duration::from_micros(10));
        assert_eq!(member.latency(), Some(FAILURE_PENALTY));
        assert_eq!(member.failures(), 1);
    }
}
