//! Whether a set has an endpoint to choose, and whether its snapshot is still the one that was seen.

use crate::sync::atomic::{AtomicU64, Ordering};

/// Whether there is an endpoint to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Availability {
    /// There is none yet, or has not been for long.
    Waiting,
    Up,
    /// There has been none for so long that calls fail at once.
    FailFast,
    /// Up, and calls are explained.
    Explains,
}

/// An availability, and how many were set before it. Each snapshot brings one of its own, so a reader that finds
/// the same state again has the snapshot that it saw then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State(u64);

const AVAILABILITY: u64 = 3;
const UP: u64 = Availability::Up as u64 & Availability::Explains as u64;
const NEXT: u64 = AVAILABILITY + 1;

impl State {
    #[inline]
    pub(super) fn is_up(self) -> bool {
        self.0 & UP != 0
    }

    /// Whether it is up, and calls are not explained.
    #[inline]
    pub(super) fn is_plain(self) -> bool {
        self.0 & AVAILABILITY == Availability::Up as u64
    }

    pub(super) fn explains(self) -> bool {
        self.0 & AVAILABILITY == Availability::Explains as u64
    }

    pub(super) fn is_failing_fast(self) -> bool {
        self.0 & AVAILABILITY == Availability::FailFast as u64
    }

    fn then(self, availability: Availability) -> Self {
        Self((self.0 & !AVAILABILITY).wrapping_add(NEXT) | availability as u64)
    }
}

#[derive(Debug, Default)]
pub(super) struct SharedState(AtomicU64);

impl SharedState {
    #[inline]
    pub(super) fn load(&self) -> State {
        // Acquire with the Release in `set`: a reader that sees it up finds the snapshot, or a later one.
        State(self.0.load(Ordering::Acquire))
    }

    /// Sets it, after the snapshot that it tells of.
    pub(super) fn set(&self, availability: Availability) {
        let next = |state| Some(State(state).then(availability).0);
        let _ = self.0.fetch_update(Ordering::Release, Ordering::Relaxed, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_state_comes_twice() {
        let shared = SharedState::default();
        assert!(!shared.load().is_up() && !shared.load().is_failing_fast());
        let mut seen = vec![shared.load()];
        for availability in [Availability::Up, Availability::Up, Availability::FailFast] {
            shared.set(availability);
            assert!(!seen.contains(&shared.load()));
            seen.push(shared.load());
        }
        assert!(seen[1].is_up() && seen[2].is_up() && seen[3].is_failing_fast());
        shared.set(Availability::Explains);
        assert!(shared.load().is_up() && shared.load().explains() && !shared.load().is_plain());
        assert!(seen.iter().all(|state| state.is_plain() == state.is_up() && !state.explains()));
    }
}

#[cfg(all(test, upstream_loom))]
mod loom_models {
    use std::sync::Arc;

    use loom::{sync::atomic::AtomicUsize, thread};

    use super::*;

    /// A reader that finds the same state again has no older snapshot than that of this state.
    #[test]
    fn loom_a_state_that_is_seen_again_has_the_snapshot_of_then() {
        loom::model(|| {
            // The number of the snapshot stands for it.
            let shared = Arc::new((SharedState::default(), AtomicUsize::new(0)));
            let of_task = shared.clone();
            let task = thread::spawn(move || {
                for number in 1..=2 {
                    of_task.1.store(number, Ordering::Relaxed);
                    of_task.0.set(Availability::Up);
                }
            });
            let see = || (shared.0.load(), shared.1.load(Ordering::Relaxed));
            let (state, kept) = see();
            let (again, newest) = see();
            let told = (state.0 / NEXT) as usize;
            assert!(kept >= told, "the snapshot of state {told} is {kept}");
            if again == state && state.is_up() {
                assert!(newest >= kept);
            }
            task.join().unwrap();
            let (last, newest) = see();
            assert!(last.0 / NEXT == 2 && newest == 2);
            assert!(last != state || kept == 2, "kept {kept} for good");
        });
    }
}
