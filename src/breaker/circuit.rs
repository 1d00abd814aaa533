//! One circuit: the word that decides, and what follows from a transition.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    task::{Context, Wake, Waker},
};

use tokio::time::Sleep;

use super::{
    CircuitBreakerConfig, CircuitState,
    state::{Admission, Ticket, Word},
};
use crate::{
    error::{Error, Kind},
    guard::ByMember,
    member::{Member, Reason, Veto},
    sync::{self, Lease, Leases, WaitList, lock},
    time::{self, Instant},
};

/// A handle to a circuit, with counters for the thread.
pub(super) type Shared = Leases<Circuit, Counts>;

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) successes: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) ignored: AtomicU64,
    pub(super) refused: AtomicU64,
}

pub(super) struct Circuit {
    pub(super) word: AtomicU64,
    policy: Arc<Policy>,
    /// Where the circuit is one endpoint's.
    bound: Option<Bound>,
    /// When an open circuit becomes half-open, as a stamp.
    until: AtomicI64,
    alarm: Arc<Alarm>,
    last_probe: AtomicI64,
    pub(super) last_failure: AtomicI64,
    /// Calls that had finished when the current generation began.
    pub(super) finished_before: AtomicU64,
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

/// What ties a circuit to one member.
struct Bound {
    open: Veto,
    busy: Veto,
    /// A refusal that names the endpoint, made once.
    refusal: Error,
}

/// What the circuits of one layer value have in common.
pub(super) struct Policy {
    pub(super) config: CircuitBreakerConfig,
    members: ByMember<Lease<Circuit, Counts>>,
}

impl Policy {
    pub(super) fn new(config: CircuitBreakerConfig) -> Arc<Self> {
        Arc::new(Self { config: config.clamped(), members: ByMember::default() })
    }

    /// A circuit that stands alone.
    pub(super) fn circuit(self: &Arc<Self>) -> Shared {
        Shared::new(Circuit::new(self.clone(), None), sync::shards())
    }

    /// The circuit of `member`: the one it has, if its service is only connected anew.
    pub(super) fn circuit_of(self: &Arc<Self>, member: &Arc<Member>) -> Shared {
        // One lease: each call already touches the member, which all threads share.
        let lease = self.members.get_or_insert(
            member,
            |lease| lease.core().is_of(member),
            || Lease::single(Circuit::new(self.clone(), Some(member))),
        );
        Shared::of(lease)
    }

    pub(super) fn find(&self, key: &str) -> Option<Shared> {
        self.members.get(key).map(Shared::of)
    }
}

impl Circuit {
    fn new(policy: Arc<Policy>, member: Option<&Arc<Member>>) -> Self {
        let word = if policy.config.enabled { Word::closed() } else { Word::disabled() };
        let refusal = Error::refused(Kind::CircuitOpen);
        let bound = member.map(|member| Bound {
            open: member.veto(Reason::CircuitOpen),
            busy: member.veto(Reason::Busy),
            refusal: refusal.clone().at_endpoint(member.shared_key()),
        });
        Self {
            word: AtomicU64::new(word.0),
            bound,
            policy,
            until: AtomicI64::new(0),
            alarm: Arc::new(Alarm { rung: AtomicBool::new(true) }),
            last_probe: AtomicI64::new(0),
            last_failure: AtomicI64::new(i64::MIN),
            finished_before: AtomicU64::new(0),
            waiting: WaitList::default(),
            shown: Mutex::default(),
        }
    }

    pub(super) fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    fn is_of(&self, member: &Arc<Member>) -> bool {
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
        // Acquire with the Release of a transition: who sees it sees when it ends, too.
        Word(self.word.load(Ordering::Acquire))
    }

    /// Until when it is open.
    pub(super) fn until(&self) -> Instant {
        time::at_stamp(self.until.load(Ordering::Relaxed))
    }

    /// When the clock brings the next transition; `None` if only a call or a hand can.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.word().state() {
            CircuitState::Open => Some(self.until()),
            CircuitState::HalfOpen => Some(self.probes_end()),
            _ => None,
        }
    }

    /// Whether it has been open for long enough. Reads the clock only once the alarm has rung.
    #[inline]
    fn is_over(&self) -> bool {
        // Acquire with the Release of the alarm: the clock is read after it rang.
        self.alarm.rung.load(Ordering::Acquire) && time::now() >= self.until()
    }

    /// When the probe that began last is late.
    fn probes_end(&self) -> Instant {
        let last = time::at_stamp(self.last_probe.load(Ordering::Relaxed));
        time::later(last, self.policy.config.probe_timeout)
    }

    /// Says no. While open, it says when to come back.
    #[inline]
    pub(super) fn refusal(&self) -> Error {
        let refusal = match &self.bound {
            None => Error::refused(Kind::CircuitOpen),
            Some(bound) => bound.refusal.clone(),
        };
        match self.word().state() {
            CircuitState::Open => refusal.retry_at_stamp(self.until.load(Ordering::Relaxed)),
            _ => refusal,
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
        word.is_passing() || Self::is_passing_now(this, word)
    }

    #[cold]
    fn is_passing_now(this: &Shared, word: Word) -> bool {
        Self::catch_up(this, word);
        let circuit = this.core();
        !matches!(circuit.word().admit(circuit.policy.config.probes), Admission::Refuse)
    }

    /// A place for one call, or `None`.
    pub(super) fn admit(this: &Shared) -> Option<Ticket> {
        let word = this.core().word();
        match word.admit(0) {
            Admission::Pass(ticket) => Some(ticket),
            _ => Self::admit_probe(this, word),
        }
    }

    #[cold]
    fn admit_probe(this: &Shared, word: Word) -> Option<Ticket> {
        let circuit = this.core();
        Self::catch_up(this, word);
        loop {
            let word = circuit.word();
            match word.admit(circuit.policy.config.probes) {
                Admission::Pass(ticket) => return Some(ticket),
                Admission::Refuse => return None,
                Admission::Probe(next, ticket) => {
                    // Before the word: whoever finds all places taken takes them back past this.
                    let now = time::stamp(time::now());
                    circuit.last_probe.store(now, Ordering::Relaxed);
                    if circuit.replace(word, next) {
                        Self::show(this);
                        return Some(ticket);
                    }
                }
            }
        }
    }

    /// Does what the clock says is due. Nothing else does, for a circuit that stands alone.
    #[cold]
    fn catch_up(this: &Shared, word: Word) {
        let circuit = this.core();
        let is_full = || word.taken() >= u64::from(circuit.policy.config.probes);
        let (due, next) = match word.state() {
            CircuitState::Open => (circuit.is_over(), CircuitState::HalfOpen),
            // Probes that are not even polled any more: their own timers do not run.
            CircuitState::HalfOpen if is_full() => {
                (time::now() >= circuit.probes_end(), CircuitState::Open)
            }
            _ => return,
        };
        if due {
            Self::turn(this, word, word.forced(next));
        }
    }

    pub(super) fn replace(&self, old: Word, new: Word) -> bool {
        // AcqRel: publishes what was stored for the new state, and sees what the old one had.
        self.word.compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Goes from `old` to `new`, another generation, unless somebody was faster.
    pub(super) fn turn(this: &Shared, old: Word, new: Word) -> bool {
        let circuit = this.core();
        // Before the word: whoever sees it open finds until when. Of several that come at once all
        // mean the same moment.
        if new.state() == CircuitState::Open {
            let until = time::later(time::now(), circuit.policy.config.open_for);
            circuit.until.store(time::stamp(until), Ordering::Relaxed);
        }
        circuit.finished_before.store(Self::finished(this), Ordering::Relaxed);
        let turned = circuit.replace(old, new);
        if turned {
            tracing::debug!(endpoint = circuit.key(), from = %old.state(), to = %new.state(), "circuit breaker");
            Self::show(this);
        }
        turned
    }

    /// Makes vetoes and waiters follow the word. Whoever comes last shows the last word,
    /// in whatever order transitions got here.
    pub(super) fn show(this: &Shared) {
        let circuit = this.core();
        let mut shown = lock(&circuit.shown);
        let word = circuit.word();
        let turned = shown.generation != word.generation();
        shown.generation = word.generation();
        if let Some(bound) = &circuit.bound {
            match word.state() {
                CircuitState::Open if turned => bound.open.raise_until(circuit.until()),
                CircuitState::Open => {}
                CircuitState::ForcedOpen => bound.open.raise(),
                _ => bound.open.clear(),
            }
            let full = word.state() == CircuitState::HalfOpen
                && word.taken() >= u64::from(circuit.policy.config.probes);
            if full {
                // Not for good: nobody may poll the probes any more, and nobody asks a circuit
                // that is passed over.
                bound.busy.raise_until(circuit.probes_end())
            } else {
                bound.busy.clear()
            }
        } else if turned {
            shown.timer = match word.state() {
                CircuitState::Open => circuit.set_alarm(),
                _ => None,
            };
        }
        drop(shown);
        circuit.waiting.wake_all();
    }

    /// Without a runtime it has rung from the start.
    fn set_alarm(&self) -> Option<Pin<Box<Sleep>>> {
        let in_runtime = tokio::runtime::Handle::try_current().is_ok();
        self.alarm.rung.store(!in_runtime, Ordering::Release);
        in_runtime.then(|| {
            let mut timer = Box::pin(tokio::time::sleep_until(self.until()));
            let waker = Waker::from(self.alarm.clone());
            if timer.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                self.alarm.rung.store(true, Ordering::Release);
            }
            timer
        })
    }

    pub(super) fn force(this: &Shared, state: CircuitState) {
        // One that is switched off stays so, also when what was forced ends.
        let state = match state {
            CircuitState::Closed if !this.core().policy.config.enabled => {
                CircuitState::ForcedClosed
            }
            state => state,
        };
        while {
            let word = this.core().word();
            !Self::turn(this, word, word.forced(state))
        } {}
    }

    pub(super) fn state(this: &Shared) -> CircuitState {
        let word = this.core().word();
        let circuit = this.core();
        if word.state() == CircuitState::Open && time::now() >= circuit.until() {
            CircuitState::HalfOpen
        } else {
            word.state()
        }
    }

    pub(super) fn key(&self) -> Option<&str> {
        self.bound.as_ref().map(|bound| bound.open.member().key())
    }

    pub(super) fn last_failure(&self) -> Option<Instant> {
        let stamp = self.last_failure.load(Ordering::Relaxed);
        (stamp != i64::MIN).then(|| time::at_stamp(stamp))
    }

    pub(super) fn failures(this: &Shared) -> u64 {
        this.sum(|counts| counts.failures.load(Ordering::Relaxed))
    }

    pub(super) fn successes(this: &Shared) -> u64 {
        this.sum(|counts| counts.successes.load(Ordering::Relaxed))
    }

    pub(super) fn ignored(this: &Shared) -> u64 {
        this.sum(|counts| counts.ignored.load(Ordering::Relaxed))
    }

    pub(super) fn refused(this: &Shared) -> u64 {
        this.sum(|counts| counts.refused.load(Ordering::Relaxed))
    }

    pub(super) fn finished(this: &Shared) -> u64 {
        this.sum(Counts::finished)
    }
}

impl Counts {
    fn finished(&self) -> u64 {
        self.successes.load(Ordering::Relaxed)
            + self.failures.load(Ordering::Relaxed)
            + self.ignored.load(Ordering::Relaxed)
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
