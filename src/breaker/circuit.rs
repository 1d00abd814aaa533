//! One circuit: its core, and what follows from a transition.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use tokio::time::Sleep;

use super::{
    CircuitState, Transition,
    config::{Cancelled, CircuitBreakerConfig},
    core::Core,
    counts::Counts,
    machine::{Machine, Now},
    policy::Policy,
    word::{Ticket, Word},
};
use crate::{
    error::{Error, Kind},
    member::{Member, Reason, Veto},
    sync::{Leases, WaitList, lock, random_fraction},
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
    alarm: Arc<Alarm>,
    policy: Arc<Policy>,
    /// Where the circuit is one endpoint's.
    bound: Option<Bound>,
    /// What the times of the machine count from, and the durations of calls.
    base: Instant,
    pub(super) clock: Clock,
    waiting: WaitList,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    /// Which generation the vetoes and the alarm are of.
    generation: u64,
    /// What rings the alarm of a circuit that stands alone.
    timer: Option<Pin<Box<Sleep>>>,
}

/// Rings when an open circuit may be due, so that refusals before need not look at the clock.
///
/// It is the very waker of the timer, not a task that is woken: whoever slept until the same moment
/// finds that it has rung. It may ring early, and does when its runtime ends; the clock decides.
struct Alarm {
    rung: AtomicBool,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::Release);
    }
}

const TIMER_GRAIN: Duration = Duration::from_millis(1);

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
        let machine = Machine::new((**policy.config.load()).clone(), 0);
        let circuit = Self {
            slow_after: AtomicU64::new(0),
            cancelled_after: AtomicU64::new(0),
            until: AtomicI64::new(0),
            last_failure: AtomicI64::new(i64::MIN),
            alarm: Arc::new(Alarm { rung: AtomicBool::new(true) }),
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

    /// Closed: nothing is lost with it but counts.
    pub(super) fn is_forgettable(&self) -> bool {
        self.word().state() == CircuitState::Closed
    }

    pub(super) fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    pub(super) fn is_of(&self, member: &Arc<Member>) -> bool {
        self.bound.as_ref().is_some_and(|bound| Arc::ptr_eq(bound.open.member(), member))
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

    fn until(&self) -> Instant {
        time::at_stamp(self.until.load(Ordering::Relaxed))
    }

    fn at(&self, nanos: u64) -> Instant {
        time::later(self.base, Duration::from_nanos(nanos))
    }

    /// When the clock brings the next transition; `None` if only a call or a hand can.
    pub(super) fn due(&self) -> Option<Instant> {
        self.core.read(Machine::due).map(|due| self.at(due))
    }

    /// Whether it has been open for long enough. Reads the clock only once the alarm has rung.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        // Acquire with the Release of the alarm: the clock is read after it rang.
        self.alarm.rung.load(Ordering::Acquire) && time::now() >= self.until()
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

    /// Whether calls pass, once those whose time has come have had their effect.
    #[inline]
    pub(super) fn is_passing(this: &Shared) -> bool {
        let circuit = this.core();
        let word = circuit.word();
        if word.is_open() && !circuit.is_over() {
            return false;
        }
        word.is_passing() || Self::apply(this, Machine::would_admit)
    }

    /// A place for one call, or `None`.
    #[inline]
    pub(super) fn admit(this: &Shared) -> Option<Ticket> {
        let word = this.core().word();
        if word.is_passing() {
            return Some(word.ticket());
        }
        if word.is_open() && !this.core().is_over() {
            return None;
        }
        Self::apply(this, Machine::admit)
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
            random: random_fraction(),
        };
        let (result, change) = circuit.core.apply(now, rule, |machine, change, now| {
            if machine.begins_to_watch(now) {
                this.each(Counts::look_soon);
            }
            if change.turned {
                this.each(|counts| counts.turn(change.generation));
                let until = time::stamp(circuit.at(machine.until()));
                circuit.until.store(until, Ordering::Relaxed);
                if change.from != change.to {
                    circuit.policy.events.note(Transition::new(circuit.key(), change));
                }
            }
        });
        if change.shows() {
            Self::show(this);
        }
        if change.turned {
            tracing::debug!(
                endpoint = circuit.key().map(|key| &**key),
                from = %change.from,
                to = %change.to,
                "circuit breaker"
            );
            circuit.policy.events.deliver();
        }
        result
    }

    /// Makes vetoes and waiters follow. Whoever comes last shows the last state, in whatever order
    /// transitions got here.
    fn show(this: &Shared) {
        let circuit = this.core();
        let mut shown = lock(&circuit.shown);
        let (state, generation, is_full, due) = circuit.core.read(|machine| {
            (machine.state(), machine.generation(), machine.is_full(), machine.due())
        });
        let turned = shown.generation != generation;
        shown.generation = generation;
        let due = due.map(|due| circuit.at(due));
        if let Some(bound) = &circuit.bound {
            match (state, due) {
                (CircuitState::Open, Some(until)) if turned => bound.open.raise_until(until),
                (CircuitState::Open, _) => {}
                (CircuitState::ForcedOpen, _) => bound.open.raise(),
                _ => bound.open.clear(),
            }
            match due.filter(|_| state == CircuitState::HalfOpen && is_full) {
                // Not for good: nobody may poll the probes any more, and nobody asks a circuit
                // that is passed over.
                Some(end) => bound.busy.raise_until(end),
                None => bound.busy.clear(),
            }
        } else if turned {
            shown.timer = match due.filter(|_| state == CircuitState::Open) {
                Some(until) => circuit.set_alarm(until),
                None => None,
            };
        }
        drop(shown);
        // Who waits and asks once more in vain shall not wake itself by that.
        if turned || !is_full {
            circuit.waiting.wake_all();
        }
    }

    /// Without a runtime it has rung from the start.
    fn set_alarm(&self, until: Instant) -> Option<Pin<Box<Sleep>>> {
        let in_runtime = tokio::runtime::Handle::try_current().is_ok();
        self.alarm.rung.store(!in_runtime, Ordering::Release);
        in_runtime.then(|| {
            // Timers are a millisecond coarse, and who comes at that very moment shall find that it
            // has rung.
            let early = until.checked_sub(TIMER_GRAIN).unwrap_or(until);
            let mut timer = Box::pin(tokio::time::sleep_until(early));
            let waker = Waker::from(self.alarm.clone());
            if timer.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                self.alarm.rung.store(true, Ordering::Release);
            }
            timer
        })
    }

    /// New settings, from this moment on.
    pub(super) fn update(this: &Shared, config: &CircuitBreakerConfig) {
        Self::apply(this, |machine, now| machine.update(config.clone(), now));
        this.core().set_times(config);
        // All look at the clock with their next call, and find their stride anew.
        this.each(Counts::look_soon);
    }

    pub(super) fn key(&self) -> Option<&Arc<str>> {
        self.bound.as_ref().map(|bound| bound.open.member().shared_key())
    }

    pub(super) fn last_failure(&self) -> Option<Instant> {
        let stamp = self.last_failure.load(Ordering::Relaxed);
        (stamp != i64::MIN).then(|| time::at_stamp(stamp))
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
