//! What handles and the listener ask and want.

use std::{mem, sync::Arc};

use super::{News, Roster, Run, State};
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
        let State { targets, task, rounds, news, .. } = &mut *state;
        (task.replan, news.fresh) = (true, true);
        if let Some(target) = targets.get_mut(&name) {
            rounds.unattended -= usize::from(target.is_owed());
            let is_off = !gate.config().enabled;
            let was_off = mem::replace(&mut target.off, is_off);
            // Switched on, it begins anew.
            target.attended = is_off || (target.attended && !was_off);
            rounds.unattended += usize::from(target.is_owed());
        }
        self.note_attended(&mut state);
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
        state.news = News { telling: state.news.telling, ..News::default() };
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
        !(state.task.running.is_some() && state.task.stopped || state.news.telling)
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

    /// The newest target of each key, in their order.
    pub(in crate::health) fn gates(&self) -> Vec<Arc<Gate>> {
        lock(&self.state).newest().map(|target| target.gate.clone()).collect()
    }

    /// What the listener is to be told, if it is news, and a token that it is being told.
    pub(in crate::health) fn news(self: &Arc<Self>, run: u64) -> Option<(HealthySet, Telling)> {
        let mut state = lock(&self.state);
        if state.task.run != run || !mem::take(&mut state.news.noted) {
            return None;
        }
        let set = state.healthy();
        if state.news.told.as_ref().is_some_and(|told| told.is_same(&set)) {
            return None;
        }
        (state.news.told, state.news.telling) = (Some(set.clone()), true);
        Some((set, Telling(self.clone())))
    }
}

/// Somebody runs the listener, until this drops.
pub(in crate::health) struct Telling(Arc<Roster>);

impl Drop for Telling {
    fn drop(&mut self) {
        lock(&self.0.state).news.telling = false;
        self.0.progress.notify_waiters();
    }
}
