//! The machine behind a lock, and the word that calls read without one.

use super::{
    machine::{Machine, Now, word::Word},
    transition::Change,
};
use crate::sync::atomic::{AtomicU64, Mutex, Ordering, lock};

#[derive(Debug)]
pub(super) struct Core {
    word: AtomicU64,
    machine: Mutex<Machine>,
}

/// What is around a machine. All of it is asked under the lock.
pub(super) trait World {
    /// What a rule is told, in this generation: so the sums of good calls never go back from one rule to
    /// the next.
    fn now(&self, generation: u64) -> Now;

    /// Stores what goes with the word, before that is stored.
    fn publish(&self, machine: &mut Machine, change: Change, now: Now);

    /// Notes that a generation began, after that.
    fn note(&self, machine: &Machine, change: Change);
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

    /// Runs a rule, and shows the world what came of it before the lock is released.
    pub(super) fn apply<R>(
        &self,
        world: &impl World,
        rule: impl FnOnce(&mut Machine, Now) -> R,
    ) -> (R, Change) {
        let mut machine = lock(&self.machine);
        let (from, generation, word) = (machine.state(), machine.generation(), machine.word());
        let now = world.now(generation);
        let result = rule(&mut machine, now);
        let change = Change {
            from,
            to: machine.state(),
            generation: machine.generation(),
            turned: machine.generation() != generation,
        };
        world.publish(&mut machine, change, now);
        let after = machine.word();
        if after != word {
            self.word.store(after.0, Ordering::Release);
        }
        if change.turned {
            world.note(&machine, change);
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
        CircuitBreakerConfig, CircuitState,
        machine::{
            counts::{Counted, Counts},
            rules::Ended,
            word::Ticket,
        },
    };

    struct Shared {
        core: Core,
        counts: Counts,
    }

    impl Shared {
        fn new(config: CircuitBreakerConfig) -> Arc<Self> {
            let core = Core::new(Machine::new(config));
            Arc::new(Self { core, counts: Counts::default() })
        }

        fn apply<R>(&self, nanos: u64, rule: impl FnOnce(&mut Machine, Now) -> R) -> R {
            self.core.apply(&At(self, nanos), rule).0
        }

        fn fails(&self, ticket: Ticket, nanos: u64) -> bool {
            let ended = Ended { failed: true, slow: false, retry_after: None };
            self.apply(nanos, |machine, now| machine.settle(ticket, Some(ended), now))
        }
    }

    /// At so many nanoseconds.
    struct At<'a>(&'a Shared, u64);

    impl World for At<'_> {
        fn now(&self, generation: u64) -> Now {
            let (nanos, good) = (self.1, self.0.counts.good());
            Now { nanos, good, generation, overdue: 0 }
        }

        fn publish(&self, machine: &mut Machine, change: Change, _: Now) {
            if change.turned {
                self.0.counts.turn(machine.generation());
            }
        }

        fn note(&self, _: &Machine, _: Change) {}
    }

    fn config() -> CircuitBreakerConfig {
        CircuitBreakerConfig::consecutive(2).with_probes(1).with_successes(1).with_open_jitter(0.0)
    }

    /// Of two that fail at once both count, in either order, and one of them opens it.
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
