//! One circuit: its core, and what follows from a transition.

mod show;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use self::show::Shown;
use super::{
    Transition,
    config::{Cancelled, CircuitBreakerConfig},
    core::{Change, Core},
    in_flight::Alarm,
    machine::{
        Machine, Now,
        counts::Counts,
        word::{Ticket, Word},
    },
    policy::Policy,
};
use crate::{
    error::{Error, Kind},
    member::{Ending, Member, Reason, Veto},
    sync::{Leases, WaitList, random_fraction},
    time::{self, Clock, Instant},
};

/// A handle to a circuit, with counters for the thread.
pub(super) type Shared = Leases<Circuit, Counts>;

pub(super) struct Circuit {
    core: Core,
    /// Nanoseconds after which a call is slow, or a dropped one has failed; `u64::MAX` for never.
    slow_after: AtomicU64,
    cancelled_after: AtomicU64,
    /// When an open circuit becomes half-open, as a stamp.
    until: AtomicI64,
    pub(super) last_failure: AtomicI64,
    /// Up to when refusals need not ask the machine, by the clock of the circuit.
    surely_open_until: AtomicU64,
    /// When a call that is on its way may be overdue, likewise. Set only where it matters.
    pub(super) alarm: Alarm,
    policy: Arc<Policy>,
    /// Where the circuit is one endpoint's.
    bound: Option<Bound>,
    /// What the times of the machine count from, and the durations of calls.
    base: Instant,
    pub(super) clock: Clock,
    waiting: WaitList,
    shown: Mutex<Shown>,
}

/// In nanoseconds. See [`Circuit::may_be_over`].
const EARLY: u64 = 1_000_000;

/// What ties a circuit to one member.
struct Bound {
    open: Veto,
    busy: Veto,
    /// A refusal that names the endpoint, made once.
    refusal: Error,
}

impl Circuit {
    pub(super) fn new(policy: Arc<Policy>, member: Option<&Arc<Member>>) -> Self {
        let refusal = Error::refused(Kind::CircuitOpen);
        let bound = member.map(|member| Bound {
            open: member.veto(Reason::CircuitOpen),
            busy: member.veto(Reason::Busy),
            refusal: refusal.clone().at_endpoint(member.shared_key()),
        });
        let settings = policy.settings();
        let machine = Machine::new(settings.config.clone(), settings.version);
        let circuit = Self {
            slow_after: AtomicU64::new(0),
            cancelled_after: AtomicU64::new(0),
            until: AtomicI64::new(0),
            last_failure: AtomicI64::new(i64::MIN),
            surely_open_until: AtomicU64::new(0),
            alarm: Alarm::new(),
            bound,
            policy,
            base: time::now(),
            clock: Clock::new(),
            waiting: WaitList::default(),
            shown: Mutex::default(),
            core: Core::new(machine),
        };
        circuit.core.read(|machine| circuit.set_times(machine.config()));
        circuit
    }

    /// What calls read of the settings.
    fn set_times(&self, config: &CircuitBreakerConfig) {
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

    /// Whether little is lost with it.
    pub(super) fn is_forgettable(&self) -> bool {
        let now = time::nanos(time::now().saturating_duration_since(self.base));
        self.core.read(|machine| machine.is_forgettable(now))
    }

    /// Which settings it has.
    pub(super) fn version(&self) -> u64 {
        self.core.read(Machine::version)
    }

    pub(super) fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    pub(super) fn is_of(&self, member: &Arc<Member>) -> bool {
        self.bound.as_ref().is_some_and(|bound| Arc::ptr_eq(bound.open.member(), member))
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

    pub(super) fn waiting(&self) -> &WaitList {
        &self.waiting
    }

    #[inline]
    pub(super) fn word(&self) -> Word {
        self.core.word()
    }

    fn at(&self, nanos: u64) -> Instant {
        time::later(self.base, Duration::from_nanos(nanos))
    }

    /// When the clock brings the next transition; `None` if only a call or a hand can.
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
        let refusal = match &self.bound {
            None => Error::refused(Kind::CircuitOpen),
            Some(bound) => bound.refusal.clone(),
        };
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

    /// Runs a rule, and has the world follow: first the word, then vetoes and waiters, then whoever
    /// listens, outside of all locks.
    #[inline(never)]
    pub(super) fn apply<R>(this: &Shared, rule: impl FnOnce(&mut Machine, Now) -> R) -> R {
        let circuit = this.core();
        let now = |generation| Now {
            nanos: time::nanos(time::now().saturating_duration_since(circuit.base)),
            good: this.sum(Counts::good),
            generation,
            overdue: Self::overdue(this, generation),
            random: random_fraction,
        };
        let publish = |machine: &mut Machine, change: Change, now: Now| {
            if machine.begins_to_watch(now) {
                this.each(Counts::look_soon);
            }
            if change.turned {
                this.each(|counts| counts.turn(change.generation));
                let until = time::stamp(circuit.at(machine.until()));
                circuit.until.store(until, Ordering::Relaxed);
                let wait = machine.until().saturating_sub(now.nanos).saturating_sub(EARLY);
                let surely = circuit.clock.nanos().saturating_add(wait);
                circuit.surely_open_until.store(surely, Ordering::Relaxed);
            }
        };
        let note = |machine: &Machine, change: Change| {
            if change.from != change.to {
                let at = circuit.at(machine.turned_at());
                circuit.policy.events.note(Transition::new(circuit.key(), change, at));
            }
        };
        let (result, change) = circuit.core.apply(now, rule, publish, note);
        if change.shows() {
            Self::show(this);
        }
        if change.turned {
            circuit.log(change);
            circuit.policy.events.deliver();
        }
        result
    }

    /// What no other circuit has while it lives.
    fn number(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// New settings, from this moment on.
    pub(super) fn update(this: &Shared, config: &CircuitBreakerConfig, version: u64) {
        Self::apply(this, |machine, now| {
            machine.update(config.clone(), version, now);
            this.core().set_times(machine.config());
        });
        // All look at the clock with their next call, and find their stride anew; and what was no
        // reason to look may be one now.
        this.each(Counts::look_soon);
        this.core().alarm.set(0);
    }

    pub(super) fn key(&self) -> Option<&Arc<str>> {
        self.bound.as_ref().map(|bound| bound.open.member().shared_key())
    }

    pub(super) fn last_failure(&self) -> Option<Instant> {
        let stamp = self.last_failure.load(Ordering::Relaxed);
        (stamp != i64::MIN).then(|| time::at_stamp(stamp))
    }
}

impl Drop for Circuit {
    fn drop(&mut self) {
        let before = self.shown.get_mut().unwrap_or_else(PoisonError::into_inner).timer.take();
        if let (Some(timer), Some(_)) = (self.policy.timer(), before) {
            timer.set(self.number(), before, None);
        }
    }
}

impl fmt::Debug for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Circuit")
            .field("endpoint", &self.key())
            .field("word", &self.word())
            .finish_non_exhaustive()
    }
}
