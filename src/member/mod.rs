//! An endpoint in a running set: what discovery says of it, and what we know of it.
//!
//! A [`Member`] lives in an `Arc` and survives every rebuild of the set, so counts, verdicts and
//! estimates are never lost to an update. Requests touch only the few words in `Hot`.

mod ending;
mod signal;
mod veto;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

use self::veto::bit;
use crate::{
    endpoint::{Endpoint, Status},
    time::{self, Clock, Instant},
};

pub use self::veto::{Reason, Veto};
pub(crate) use self::{
    ending::{Ending, attempt_timed_out},
    signal::Signal,
};

/// An endpoint in a running set.
///
/// A connector gets the member it connects for ([`Connect`](crate::connect::Connect)), a strategy reads its
/// load through [`Candidate`](crate::balance::Candidate), and a guard takes a [`Veto`] on it.
///
/// # Example
/// ```
/// use tower_upstream::{Endpoint, member::{Member, Reason}};
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
    identity: Arc<str>,
    endpoint: ArcSwap<Endpoint>,
    since: Instant,
    clock: Clock,
    /// The bits of `hot.word` that somebody holds.
    taken: AtomicU64,
    failures: AtomicU64,
    /// Its service is a client that makes one request for each call.
    client: AtomicBool,
    /// The stamp of the last recovery, or `NEVER`.
    recovered: AtomicI64,
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

/// No recovery yet.
const NEVER: i64 = i64::MIN;

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
            identity: endpoint.identity().clone(),
            endpoint: ArcSwap::new(endpoint.clone()),
            since: time::now(),
            clock,
            taken: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            client: AtomicBool::new(false),
            recovered: AtomicI64::new(NEVER),
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

    /// The key of its endpoint, as it was when the member was made.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The same for all endpoints that are this member.
    pub(crate) fn identity(&self) -> &Arc<str> {
        &self.identity
    }

    /// Notes whether its service is a client that makes one request for each call, so that an error of
    /// that client tells whether the call was sent.
    pub(crate) fn set_client(&self, is_client: bool) {
        // Relaxed: the service that is made meanwhile is published with the next snapshot.
        self.client.store(is_client, Ordering::Relaxed);
    }

    pub(crate) fn is_client(&self) -> bool {
        self.client.load(Ordering::Relaxed)
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

    /// When a health check last found it well again after it was unhealthy: from then on a slow
    /// start ramps up. `None` if it never was unhealthy.
    pub fn recovered_at(&self) -> Option<Instant> {
        // Relaxed: the bit that is cleared afterwards publishes it.
        match self.recovered.load(Ordering::Relaxed) {
            NEVER => None,
            stamp => Some(time::at_stamp(stamp)),
        }
    }

    /// Notes that it is well again. Before the veto is cleared, so that whoever sees it eligible
    /// sees this too.
    pub(crate) fn recover(&self, now: Instant) {
        self.recovered.store(time::stamp(now).max(NEVER + 1), Ordering::Relaxed);
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

/// A call in flight on a member, until this drops. Made by [`Member::begin`].
///
/// ```
/// use tower_upstream::{Endpoint, member::Member};
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

#[cfg(test)]
mod tests {
    use super::*;

    fn member() -> Arc<Member> {
        Member::new(Endpoint::new("a:1").unwrap())
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
