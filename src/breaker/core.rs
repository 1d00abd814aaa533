//! The machine behind a lock, and the word that calls read without one.

use super::{
    CircuitState,
    machine::{Machine, Now, word::Word},
};
use crate::sync::atomic::{AtomicU64, Mutex, Ordering, lock};

#[derive(Debug)]
pub(super) struct Core {
    word: AtomicU64,
    machine: Mutex<Machine>,
}

/// What a change means for the world around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: CircuitState,
    pub(super) to: CircuitState,
    pub(super) generation: u64,
    /// It is in another generation than before.
    pub(super) turned: bool,
}

impl Change {
    /// Whether vetoes and waiters may have to follow.
    pub(super) fn shows(&self) -> bool {
        self.turned || self.to == CircuitState::HalfOpen
    }
}

impl Core {
    pub(super) fn new(machine: Machine) -> Self {
        Self { word: AtomicU64::new(machine.word().0), machine: Mutex::new(machine) }
    }

    #[inline]
    pub(super) fn word(&self) -> Word {
        // Acquire with the Release of a change: who sees it sees what was stored before.
        Word(self.word.load(Ordering::Acquire))
    }

    /// Runs a rule, and lets everybody see what came of it before the lock is released.
    ///
    /// `now` is asked under the lock, so that the sums of good calls never go back from one rule to
    /// the next. So is `publish`, which stores what goes with the word, before it; and `note`, which
    /// tells of it, after it.
    pub(super) fn apply<R>(
        &self,
        now: impl FnOnce(u64) -> Now,
        rule: impl FnOnce(&mut Machine, Now) -> R,
        publish: impl FnOnce(&mut Machine, Change, Now),
        note: impl FnOnce(&Machine, Change),
    ) -> (R, Change) {
        let mut machine = lock(&self.machine);
        let (from, generation, word) = (machine.state(), machine.generation(), machine.word());
        let now = now(generation);
        let result = rule(&mut machine, now);
        let change = Change {
            from,
            to: machine.state(),
            generation: machine.generation(),
            turned: machine.generation() != generation,
        };
        publish(&mut machine, change, now);
        let after = machine.word();
        if after != word {
            self.word.store(after.0, Ordering::Release);
        }
        if change.turned {
            note(&machine, change);
        }
        (result, change)
    }

    /// A look that changes nothing.
    pub(super) fn read<R>(&self, look: impl FnOnce(&Machine) -> R) -> R {
        look(&lock(&self.machine))
    }
}

#[cfg(all(test, upstream_loom))]
mod loom_models {
    use std::sync::Arc;

    use loom::thread;

    use super::*;
    use crate::breaker::{
        CircuitBreakerConfig,
        machine::{
            Ended,
            counts::{Counted, Counts},
            word::Ticket,
        },
    };

    struct Shared {
        core: Core,
        counts: Counts,
    }

    impl Shared {
        fn new(config: CircuitBreakerConfig) -> Arc<Self> {
            let core = Core::new(Machine::new(config, 0));
            Arc::new(Self { core, counts: Counts::default() })
        }

        fn apply<R>(&self, nanos: u64, rule: impl FnOnce(&mut Machine, Now) -> R) -> R {
            let now = |generation| Now {
                nanos,
                good: self.counts.good(),
                generation,
                overdue: 0,
                random: || 0.5,
            };
            let publish = |machine: &mut Machine, change: Change, _| {
                if change.turned {
                    self.counts.turn(machine.generation());
                }
            };
            self.core.apply(now, rule, publish, |_, _| {}).0
        }

        fn fails(&self, ticket: Ticket, nanos: u64) -> bool {
            let ended = Ended { failed: true, slow: false, retry_after: None };
            self.apply(nanos, |machine, now| machine.settle(ticket, Some(ended), now))
        }
    }

    fn config() -> CircuitBreakerConfig {
        CircuitBreakerConfig::consecutive(2).with_probes(1).with_successes(1).with_open_jitter(0.0)
    }

    /// Of two that fail at once both count, whoever is first, and one of them opens it.
    #[test]
    fn loom_no_failure_is_lost() {
        loom::model(|| {
            let shared = Shared::new(config());
            let ticket = shared.core.word().ticket();
            let other = shared.clone();
            let fails = thread::spawn(move || other.fails(ticket, 1));
            let counted = shared.fails(ticket, 1);
            assert!(fails.join().unwrap() && counted);
            assert_eq!(shared.core.word().state(), CircuitState::Open);
            assert_eq!(shared.core.word().generation(), 1);
        });
    }

    /// A good call that was let through before a trip is in no later window, wherever it ends; and
    /// one that was let through after it is in its own.
    #[test]
    fn loom_a_late_success_is_in_no_later_window() {
        loom::model(|| {
            let shared = Shared::new(config().with_failure_ratio(1.0));
            let ticket = shared.core.word().ticket();
            let other = shared.clone();
            let ends = thread::spawn(move || {
                let late = other.counts.count_good(ticket) == Counted::No;
                let next = other.core.word();
                let again = other.counts.count_good(next.ticket());
                (late, next.generation(), again != Counted::No)
            });
            shared.apply(1, Machine::reset);
            let (late, generation, counted) = ends.join().unwrap();
            let held = shared.apply(2, |machine, now| machine.tally(now).calls);
            // Who is let through by the word of a generation is counted in it, or is late.
            assert!(counted || generation == 0);
            assert_eq!(held, u64::from(generation == 1 && counted));
            // Nothing is lost from the totals but what was told to be late.
            let all = 2 - u64::from(late) - u64::from(!counted);
            assert_eq!(shared.counts.all_good(), all);
        });
    }

    /// One place, two that want it, and one of them gives it back: it is never held twice.
    #[test]
    fn loom_a_place_is_held_once() {
        loom::model(|| {
            let shared = Shared::new(config());
            let ticket = shared.core.word().ticket();
            shared.fails(ticket, 0);
            shared.fails(ticket, 0);
            let later = 10_000_000_000;
            let held = Arc::new(AtomicU64::new(0));
            let tries = move |shared: Arc<Shared>, held: Arc<AtomicU64>| {
                if let Some(probe) = shared.apply(later, |machine, now| machine.admit(now)) {
                    assert_eq!(held.fetch_add(1, Ordering::SeqCst), 0);
                    held.fetch_sub(1, Ordering::SeqCst);
                    shared.apply(later, |machine, now| machine.settle(probe, None, now));
                }
            };
            let (other, other_held) = (shared.clone(), held.clone());
            let thread = thread::spawn(move || tries(other, other_held));
            tries(shared.clone(), held);
            thread.join().unwrap();
            assert!(shared.apply(later, |machine, now| machine.would_admit(now)));
        });
    }
}
