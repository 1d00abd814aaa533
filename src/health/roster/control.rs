//! What handles ask and want.

use std::{mem, sync::Arc};

use super::{Roster, Run, State};
use crate::{
    guard::{Configured, Newest},
    health::{
        config::HealthConfig,
        gate::Gate,
        report::{HealthRound, HealthySet},
    },
    sync::lock,
};

/// For what the settings say of all targets together.
impl Configured<HealthConfig> for Roster {
    fn apply(self: Arc<Self>, newest: &Newest<HealthConfig>) {
        lock(&self.state).config = newest.get();
    }
}

impl Roster {
    /// Notes that one target goes by other settings. The task hears of it when it is woken.
    pub(in crate::health) fn follow(&self, gate: &Gate) {
        let mut state = lock(&self.state);
        let Some(name) = state.name_of(gate) else {
            return;
        };
        let State { targets, task, rounds, .. } = &mut *state;
        task.replan = true;
        if let Some(target) = targets.get_mut(&name) {
            rounds.unattended -= usize::from(target.is_owed());
            let is_off = !gate.config().enabled;
            let was_off = mem::replace(&mut target.off, is_off);
            // Switched on, it begins anew.
            target.attended = is_off || (target.attended && !was_off);
            rounds.unattended += usize::from(target.is_owed());
        }
        self.note_attended(&mut state);
        self.progress.notify_waiters();
    }

    pub(in crate::health) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Lets checks run. `Some`: a task is to be spawned for this run.
    pub(in crate::health) fn start(&self) -> Option<Run> {
        let mut state = lock(&self.state);
        state.task.stopped = false;
        state.enlist_members();
        self.muster(&mut state)
    }

    /// Ends the run. What is of it still goes on for a moment: see [`still`](Self::still).
    pub(in crate::health) fn stop(&self) {
        let mut state = lock(&self.state);
        if state.task.stopped {
            return;
        }
        state.task.stopped = true;
        state.task.run += 1;
        let State { targets, rounds, .. } = &mut *state;
        (rounds.first_done, rounds.unattended) = (false, 0);
        for target in targets.values_mut() {
            target.off = !target.gate.config().enabled;
            target.attended = target.off;
            rounds.unattended += usize::from(target.is_owed());
        }
        self.progress.notify_waiters();
        self.wake.notify_one();
    }

    pub(in crate::health) fn is_running(&self) -> bool {
        let state = lock(&self.state);
        state.task.running.is_some() && !state.task.stopped
    }

    /// Whether nothing runs of what was before `stop`.
    fn is_still(&self) -> bool {
        let state = lock(&self.state);
        state.task.running.is_none() || !state.task.stopped
    }

    pub(in crate::health) async fn still(&self) {
        self.until(|| self.is_still().then_some(())).await;
    }

    /// Asks for a round that begins from now on; its number, and its run.
    pub(in crate::health) fn want_round(&self) -> Option<(u64, Run)> {
        let mut state = lock(&self.state);
        let run = state.task.current().filter(|_| !state.task.stopped)?;
        state.rounds.wanted = state.rounds.begun + 1;
        self.wake.notify_one();
        Some((state.rounds.wanted, run))
    }

    /// What that round found; `None` if the run ended before.
    pub(in crate::health) async fn round(&self, number: u64, run: Run) -> Option<HealthRound> {
        self.until(|| {
            let state = lock(&self.state);
            if state.task.current() != Some(run) {
                return Some(None);
            }
            (state.rounds.done >= number).then(|| state.rounds.last.clone())
        })
        .await
    }

    pub(in crate::health) async fn first_round(&self) {
        self.until(|| lock(&self.state).is_attended().then_some(())).await;
    }

    /// Looks again whenever there is progress.
    async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        loop {
            let mut progress = std::pin::pin!(self.progress.notified());
            progress.as_mut().enable();
            if let Some(found) = look() {
                return found;
            }
            progress.await;
        }
    }

    /// Which are healthy now.
    pub(in crate::health) fn healthy_set(&self) -> HealthySet {
        lock(&self.state).healthy()
    }

    /// Which are healthy, as soon as that is not `known`. Before the first round is done, half of them
    /// were not asked yet.
    pub(in crate::health) async fn changed(&self, known: Option<&HealthySet>) -> HealthySet {
        self.until(|| {
            let state = lock(&self.state);
            let set = state.rounds.first_done.then(|| state.healthy());
            set.filter(|set| !known.is_some_and(|known| known.is_same(set)))
        })
        .await
    }

    /// The newest target of each key, in their order.
    pub(in crate::health) fn gates(&self) -> Vec<Arc<Gate>> {
        lock(&self.state).newest().map(|target| target.gate.clone()).collect()
    }
}
