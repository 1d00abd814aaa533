use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

use super::{
    ends::Ends,
    load::Load,
    reason::{Reason, bit},
    score::Score,
    signal::Signal,
    weight::Weighing,
};
use crate::{
    endpoint::{Endpoint, Status},
    sync::lock,
    time::{self, Clock, Instant},
};

/// An endpoint in a running set.
///
/// A connector gets the member that it connects for ([`Connect`](crate::connect::Connect)), a strategy
/// reads its load through [`Candidate`](crate::balance::Candidate), and a guard takes a
/// [`Veto`](super::Veto) on it.
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
    hot: Hot,
    key: Arc<str>,
    identity: Arc<str>,
    endpoint: ArcSwap<Endpoint>,
    since: Instant,
    clock: Clock,
    /// The bits of `hot.word` that a veto holds.
    pub(super) taken: AtomicU64,
    /// When the bits end that were raised until a time.
    pub(super) ends: Mutex<Vec<(u64, Instant)>>,
    pub(super) ended: Ends,
    pub(super) score: Score,
    pub(super) weighing: Mutex<Weighing>,
    /// Its service is a client that makes one request for each call.
    client: AtomicBool,
    /// The task knows that it failed so many times in a row.
    pub(super) is_told: AtomicBool,
    /// It is ejected, and a check that passes is to be told of.
    pub(super) awaits_check: AtomicBool,
    /// An operator ends its ejection.
    pub(super) unejected: AtomicBool,
    /// The task of its set is to look at it, and knows.
    is_noted: AtomicBool,
    /// The stamp of the last recovery, or `NEVER`.
    recovered: AtomicI64,
    /// The stamp until which a rate limit of it has no token, as far as a call was told; or `NEVER`.
    pub(super) spent_until: AtomicI64,
    pub(super) signal: Arc<Signal>,
}

/// What a choice reads and a call counts, in this order, on cache lines that nothing else is on.
#[repr(C, align(64))]
struct Hot {
    /// Why this member is not eligible. Zero: it is.
    word: AtomicU64,
    weight: AtomicU32,
    tier: AtomicU32,
    load: Load,
}

/// The stamp of what has not been yet.
pub(super) const NEVER: i64 = i64::MIN;

impl Member {
    /// Makes a member of no set, for a test or a balancer of your own.
    ///
    /// No task clears what is [raised until](super::Veto::raise_until) a time on such a member.
    ///
    /// ```
    /// use tower_upstream::{Endpoint, member::Member};
    /// let member = Member::new("a:1".parse::<Endpoint>()?);
    /// assert_eq!((member.key(), member.in_flight()), ("a:1", 0));
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn new(endpoint: Endpoint) -> Arc<Self> {
        Self::in_set(Arc::new(endpoint), Arc::default())
    }

    pub(crate) fn in_set(endpoint: Arc<Endpoint>, signal: Arc<Signal>) -> Arc<Self> {
        let clock = signal.clock();
        let member = Arc::new(Self {
            hot: Hot {
                word: AtomicU64::new(0),
                weight: AtomicU32::new(1),
                tier: AtomicU32::new(0),
                load: Load::new(),
            },
            key: endpoint.shared_key().clone(),
            identity: endpoint.identity().clone(),
            endpoint: ArcSwap::new(endpoint.clone()),
            since: time::now(),
            clock,
            taken: AtomicU64::new(0),
            ends: Mutex::default(),
            ended: Ends::default(),
            score: Score::default(),
            weighing: Mutex::default(),
            client: AtomicBool::new(false),
            is_told: AtomicBool::new(false),
            awaits_check: AtomicBool::new(false),
            unejected: AtomicBool::new(false),
            is_noted: AtomicBool::new(false),
            recovered: AtomicI64::new(NEVER),
            spent_until: AtomicI64::new(NEVER),
            signal,
        });
        member.update(endpoint);
        member
    }

    /// Takes over what discovery says now. The address must be the same.
    pub(crate) fn update(&self, endpoint: Arc<Endpoint>) {
        // Relaxed: each is a value of its own, and the next snapshot publishes them all.
        self.weigh(|of| of.discovered = endpoint.weight());
        let warned = u32::from(endpoint.status() == Status::Warning);
        let tier = endpoint.priority().saturating_mul(2).saturating_add(warned);
        self.hot.tier.store(tier, Ordering::Relaxed);
        self.set_bits(bit::DISCOVERED_CRITICAL, endpoint.status() == Status::Critical);
        self.set_bits(bit::DISCOVERED_DRAINING, endpoint.is_draining());
        self.endpoint.store(endpoint);
    }

    /// Returns the key of its endpoint, as it was when the member was made.
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

    /// Returns what discovery says of it now. Its address never changes.
    pub fn endpoint(&self) -> Arc<Endpoint> {
        self.endpoint.load_full()
    }

    /// Returns how many calls are in flight.
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.load().in_flight()
    }

    /// Returns how many calls were begun.
    pub fn calls(&self) -> u64 {
        self.load().begun().begun
    }

    /// Returns how many calls ended in an error. Refusals are not counted.
    pub fn failures(&self) -> u64 {
        self.ended.failures()
    }

    /// Returns its share of the load, relative to the other members.
    ///
    /// In a set with a slow start, 100 times that of discovery or an operator, and less while it warms up.
    #[inline]
    pub fn weight(&self) -> u32 {
        self.hot.weight.load(Ordering::Relaxed)
    }

    pub(super) fn weigh(&self, change: impl FnOnce(&mut Weighing)) {
        // Stored under the lock, so that of two changes none overwrites the other's.
        let mut weighing = lock(&self.weighing);
        change(&mut weighing);
        self.hot.weight.store(weighing.weight(), Ordering::Relaxed);
    }

    /// Weighs it in percent, by so many of them; 0 is not in percent.
    pub(crate) fn set_warmth(&self, percent: u32) {
        self.weigh(|of| of.warmth = percent);
    }

    /// Returns the group that it belongs to: twice its priority, and one more while discovery warns of it.
    /// The lowest comes first.
    #[inline]
    pub fn tier(&self) -> u32 {
        self.hot.tier.load(Ordering::Relaxed)
    }

    /// Returns how long it has been in the set.
    pub fn age(&self) -> Duration {
        time::now().saturating_duration_since(self.since)
    }

    /// Returns when a health check last found it healthy after it was unhealthy, or `None` if it never
    /// was unhealthy.
    pub fn recovered_at(&self) -> Option<Instant> {
        // Relaxed: the bit that is cleared afterwards publishes it.
        match self.recovered.load(Ordering::Relaxed) {
            NEVER => None,
            stamp => Some(time::at_stamp(stamp)),
        }
    }

    /// Notes that it is well again. Before the veto is cleared, so that a caller that sees it eligible
    /// sees this too.
    pub(crate) fn recover(&self, now: Instant) {
        self.recovered.store(time::stamp(now).max(NEVER + 1), Ordering::Relaxed);
    }

    /// Returns the value that the endpoint reported of itself, such as its utilisation.
    pub fn reported(&self) -> Option<f64> {
        self.load().reported()
    }

    /// Records a value that the endpoint reported of itself, for a strategy that reads it.
    pub fn report(&self, value: f64) {
        self.load().report(value);
    }

    /// Returns whether nothing bars it.
    #[inline]
    pub fn is_eligible(&self) -> bool {
        self.word() == 0
    }

    /// Returns what bars it, each reason once.
    pub fn reasons(&self) -> impl Iterator<Item = Reason> + use<> {
        let word = self.word();
        Reason::ALL.into_iter().filter(move |reason| word & reason.bits() != 0)
    }

    /// Whether `reason` bars it.
    pub(super) fn is_barred_by(&self, reason: Reason) -> bool {
        self.word() & reason.bits() != 0
    }

    #[inline]
    pub(crate) fn word(&self) -> u64 {
        // Relaxed: eligibility is advice. The guard itself decides again in `call`.
        self.hot.word.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn load(&self) -> &Load {
        &self.hot.load
    }

    /// The clock of its set.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Nanoseconds since the clock of its set was.
    #[inline]
    pub(super) fn nanos(&self) -> u64 {
        self.clock.nanos()
    }

    /// What the next call would cost there, in microseconds.
    #[cfg(feature = "tower")]
    pub(crate) fn cost(&self) -> u64 {
        self.load().cost(self.nanos())
    }

    /// The task of its set is to look at what changed of it: now, if that `is_news`.
    pub(crate) fn note(&self, is_news: bool) {
        self.signal.note(&self.identity, &self.is_noted, is_news);
    }

    /// The task looks at it: what changes from here on is to be noted again.
    pub(crate) fn look(&self) {
        if self.is_noted.load(Ordering::Acquire) {
            self.is_noted.swap(false, Ordering::AcqRel);
        }
    }

    pub(super) fn set_bits(&self, bits: u64, on: bool) {
        // Release with the task's Acquire in `look`: who sees the note sees the bit.
        let before = if on {
            self.hot.word.fetch_or(bits, Ordering::Release)
        } else {
            self.hot.word.fetch_and(!bits, Ordering::Release)
        };
        let changed = if on { !before & bits } else { before & bits };
        if changed & bit::SLOW != 0 {
            self.note(true);
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
