//! One circuit, and those of one layer value.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    config::{Cancelled, CircuitBreakerConfig},
    core::Core,
    in_flight::Alarm,
    machine::{
        Machine,
        counts::Counts,
        word::{Ticket, Word},
    },
    timer::Timer,
    transition::{Subject, Told},
};
use crate::{
    error::{Error, Kind},
    guard::Family,
    member::{Ending, Member, Reason, Veto},
    sync::{self, Lease, Leases, RandomSource, WaitList},
    time::{self, Clock, Instant},
};

/// A handle to a circuit, with counters for the thread.
pub(super) type Shared = Leases<Circuit, Counts>;

/// A circuit and the counters of a group of threads, without a handle.
pub(super) type Kept = Lease<Circuit, Counts>;

/// The circuits of one layer value.
pub(super) struct Circuits {
    pub(super) family: Family<Kept, CircuitBreakerConfig>,
    pub(super) told: Told,
    /// Of how long circuits are open.
    pub(super) random: RandomSource,
    /// Has circuits looked at when time brings them a transition. Only where there are events: else no
    /// transition is waited for.
    pub(super) timer: Option<Timer<Kept>>,
}

pub(super) struct Circuit {
    pub(super) core: Core,
    /// Nanoseconds after which a call is slow, or a dropped one has failed; `u64::MAX` for never.
    slow_after: AtomicU64,
    cancelled_after: AtomicU64,
    /// When an open circuit becomes half-open, as a stamp.
    pub(super) until: AtomicI64,
    pub(super) last_failure: AtomicI64,
    /// Up to when refusals need not ask the machine, by the clock of the circuit.
    pub(super) surely_open_until: AtomicU64,
    /// When a call that is on its way may be overdue, likewise. Set only where it matters.
    pub(super) alarm: Alarm,
    circuits: Arc<Circuits>,
    /// Where the circuit is one endpoint's.
    pub(super) bound: Option<Bound>,
    /// Where it is that of a key with a label.
    label: Option<Arc<str>>,
    /// A refusal, made once, with the names of the layer and the endpoint.
    refusal: Error,
    /// Whether there are any: else it need not be shared.
    has_names: bool,
    /// What the times of the machine count from, and the durations of calls.
    pub(super) base: Instant,
    pub(super) clock: Clock,
    pub(super) waiting: WaitList,
    pub(super) shown: Mutex<Shown>,
}

/// What ties a circuit to one member.
pub(super) struct Bound {
    pub(super) open: Veto,
    pub(super) busy: Veto,
}

/// What the world around was last told.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Of which the vetoes are.
    pub(super) generation: u64,
    /// The time that the timer has.
    pub(super) timer: Option<Instant>,
}

impl Circuits {
    pub(super) fn new(config: CircuitBreakerConfig, told: Told) -> Arc<Self> {
        let tick = |kept| Circuit::apply(&Shared::of(kept), Machine::tick);
        Arc::new(Self {
            family: Family::new(config.clamped()),
            random: RandomSource::of(told.seed),
            timer: told.events.clone().map(|events| Timer::new(events, tick)),
            told,
        })
    }

    /// The same settings, told of otherwise, with no circuits yet.
    pub(super) fn told(&self, told: Told) -> Arc<Self> {
        Self::new(self.config(), told)
    }

    pub(super) fn config(&self) -> CircuitBreakerConfig {
        CircuitBreakerConfig::clone(&self.family.settings())
    }

    /// A circuit that stands alone.
    pub(super) fn own(self: &Arc<Self>) -> Shared {
        let new = |config: &_| Kept::first(Circuit::new(self, config, None, None), sync::shards());
        Shared::of(self.family.own(new))
    }

    /// The circuit of `member`: the one it has, if its service is only connected anew.
    pub(super) fn of_member(self: &Arc<Self>, member: &Arc<Member>) -> Shared {
        // One lease: each call already touches the member, which all threads share.
        let new = |config: &_| Kept::single(Circuit::new(self, config, Some(member), None));
        Shared::of(self.family.of_member(member, new))
    }

    /// A circuit of a key, by these settings, which are the newest or were.
    pub(super) fn of_key(
        self: &Arc<Self>,
        config: &Arc<CircuitBreakerConfig>,
        label: Option<Arc<str>>,
    ) -> Arc<Kept> {
        Arc::new(Kept::single(Circuit::new(self, config, None, label)))
    }

    /// New settings for all circuits that there are, and those to come.
    pub(super) fn update(&self, config: &CircuitBreakerConfig) -> Result<(), Error> {
        config.validate()?;
        self.family.update(config.clone().clamped());
        Ok(())
    }
}

impl fmt::Debug for Circuits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Circuits")
            .field("family", &self.family)
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}

impl Circuit {
    fn new(
        circuits: &Arc<Circuits>,
        config: &Arc<CircuitBreakerConfig>,
        member: Option<&Arc<Member>>,
        label: Option<Arc<str>>,
    ) -> Self {
        let bound = member.map(|member| Bound {
            open: member.veto(Reason::CircuitOpen),
            busy: member.veto(Reason::Busy),
        });
        let name = circuits.told.name.as_ref();
        let refusal = Error::refused(Kind::CircuitOpen).by(name);
        let refusal = match member {
            Some(member) => refusal.at_endpoint(member.shared_key()),
            None => refusal,
        };
        let mut machine = Machine::new(config.clone());
        machine.random = circuits.random.fraction();
        let circuit = Self {
            slow_after: AtomicU64::new(0),
            cancelled_after: AtomicU64::new(0),
            until: AtomicI64::new(0),
            last_failure: AtomicI64::new(i64::MIN),
            surely_open_until: AtomicU64::new(0),
            alarm: Alarm::new(),
            bound,
            label,
            refusal,
            has_names: member.is_some() || name.is_some(),
            circuits: circuits.clone(),
            base: time::now(),
            clock: Clock::new(),
            waiting: WaitList::default(),
            shown: Mutex::default(),
            core: Core::new(machine),
        };
        circuit.set_times(config);
        circuit
    }

    /// What calls read of the settings.
    pub(super) fn set_times(&self, config: &CircuitBreakerConfig) {
        let slow_after = time::nanos(config.slow_after);
        let of_results = if config.slow_ratio.is_some() { slow_after } else { u64::MAX };
        let of_cancelled = match config.cancelled {
            Cancelled::Ignored => u64::MAX,
            Cancelled::Failure => 0,
            Cancelled::FailureIfSlow => slow_after,
        };
        // Relaxed: a call that begins meanwhile may go by either.
        self.slow_after.store(of_results, Ordering::Relaxed);
        self.cancelled_after.store(of_cancelled, Ordering::Relaxed);
    }

    pub(super) fn slow_after(&self) -> u64 {
        self.slow_after.load(Ordering::Relaxed)
    }

    pub(super) fn cancelled_after(&self) -> u64 {
        self.cancelled_after.load(Ordering::Relaxed)
    }

    /// By its clock, where it matters for how long a call that is dropped was on its way.
    pub(super) fn cancelled_since(&self) -> Option<u64> {
        let matters = !matches!(self.cancelled_after(), 0 | u64::MAX);
        matters.then(|| self.clock.nanos())
    }

    /// Whether little is lost with it.
    pub(super) fn is_forgettable(&self) -> bool {
        let now = time::nanos(time::now().saturating_duration_since(self.base));
        self.core.read(|machine| machine.is_forgettable(now))
    }

    /// Those that it is one of.
    pub(super) fn circuits(&self) -> &Arc<Circuits> {
        &self.circuits
    }

    /// Which end a call came to that is dropped just now.
    pub(super) fn ending(&self) -> Ending {
        match &self.bound {
            Some(bound) => Ending::at(bound.open.member()),
            None => Ending::above(),
        }
    }

    pub(super) fn is_bound(&self) -> bool {
        self.bound.is_some()
    }

    #[inline]
    pub(super) fn word(&self) -> Word {
        self.core.word()
    }

    pub(super) fn at(&self, nanos: u64) -> Instant {
        time::later(self.base, Duration::from_nanos(nanos))
    }

    /// When the clock brings the next transition; `None` if only a call or a handle can.
    pub(super) fn due(&self) -> Option<Instant> {
        self.core.read(Machine::due).map(|due| self.at(due))
    }

    /// Whether an open circuit may be due. A millisecond early, since two clocks never agree; then
    /// the machine is asked.
    #[inline]
    pub(super) fn may_be_over(&self) -> bool {
        self.clock.nanos() >= self.surely_open_until.load(Ordering::Relaxed)
    }

    /// Says no. While open, it says when to come back.
    #[inline]
    pub(super) fn refusal(&self) -> Error {
        let refusal =
            if self.has_names { self.refusal.clone() } else { Error::refused(Kind::CircuitOpen) };
        if self.word().is_open() {
            refusal.retry_at_stamp(self.until.load(Ordering::Relaxed))
        } else {
            refusal
        }
    }

    /// Whether calls pass, once what time has brought has had its effect.
    #[inline]
    pub(super) fn is_passing(this: &Shared) -> bool {
        let circuit = this.core();
        let word = circuit.word();
        if word.is_open() && !circuit.may_be_over() {
            return false;
        }
        word.is_passing() || Self::is_passing_now(this)
    }

    /// A place for one call, or `None`.
    #[inline]
    pub(super) fn admit(this: &Shared) -> Option<Ticket> {
        let word = this.core().word();
        if word.is_passing() {
            return Some(word.ticket());
        }
        if word.is_open() && !this.core().may_be_over() {
            return None;
        }
        Self::admit_now(this)
    }

    /// What no other circuit has while it lives.
    pub(super) fn number(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    pub(super) fn subject(&self) -> Subject<'_> {
        let endpoint = self.bound.as_ref().map(|bound| bound.open.member().shared_key());
        Subject { endpoint, key: self.label.as_ref() }
    }

    pub(super) fn last_failure(&self) -> Option<Instant> {
        let stamp = self.last_failure.load(Ordering::Relaxed);
        (stamp != i64::MIN).then(|| time::at_stamp(stamp))
    }
}

impl fmt::Debug for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subject { endpoint, key } = self.subject();
        f.debug_struct("Circuit")
            .field("endpoint", &endpoint)
            .field("key", &key)
            .field("word", &self.word())
            .finish_non_exhaustive()
    }
}
