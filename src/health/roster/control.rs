//! What handles and the listener ask and want.

use std::sync::Arc;

use super::{News, Roster, State};
use crate::{
    health::{config::HealthConfig, monitor::HealthRound, record::Record, tell::HealthySet},
    sync::lock,
};

impl Roster {
    pub(in crate::health) fn config(&self) -> Arc<HealthConfig> {
        lock(&self.state).config.clone()
    }

    /// Sets the config of all that are there, of `alone`, and of those to come.
    pub(in crate::health) fn set_config(
        &self,
        config: Arc<HealthConfig>,
        alone: &Arc<Record>,
    ) -> Vec<Arc<Record>> {
        let mut state = lock(&self.state);
        state.config = config.clone();
        let records: Vec<_> = state.targets.values().map(|target| target.record.clone()).collect();
        for record in records.iter().chain([alone]) {
            record.set_config(config.clone());
        }
        records
    }

    /// Lets the task follow what was changed in records.
    pub(in crate::health) fn replan(&self) {
        let mut state = lock(&self.state);
        state.task.replan = true;
        let State { targets, rounds, news, .. } = &mut *state;
        for target in targets.values_mut() {
            target.note_open(news);
            let is_off = !target.record.config().enabled;
            if is_off && target.watch.is_some() && !std::mem::replace(&mut target.attended, true) {
                rounds.unattended -= 1;
            }
        }
        self.end_first_round(&mut state);
        self.wake.notify_one();
    }

    /// Lets checks run. `Some`: a task is to be spawned for this run.
    pub(in crate::health) fn start(&self) -> Option<u64> {
        let mut state = lock(&self.state);
        let was_stopped = std::mem::take(&mut state.task.stopped);
        let any = state.targets.values().any(|target| target.watch.is_some());
        if !was_stopped || state.task.running || !any {
            return None;
        }
        state.task.running = true;
        Some(state.task.run)
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
            target.attended = !target.record.config().enabled;
            rounds.unattended += usize::from(target.watch.is_some() && !target.attended);
        }
        self.progress.notify_waiters();
        self.wake.notify_one();
    }

    pub(in crate::health) fn is_running(&self) -> bool {
        let state = lock(&self.state);
        state.task.running && !state.task.stopped
    }

    /// Whether nothing runs of what was before `stop`.
    fn is_still(&self) -> bool {
        let state = lock(&self.state);
        !(state.task.running && state.task.stopped || state.news.telling)
    }

    pub(in crate::health) async fn still(&self) {
        self.until(|| self.is_still().then_some(())).await;
    }

    /// Asks for a round that begins from now on; its number, and that of the run.
    pub(in crate::health) fn want_round(&self) -> Option<(u64, u64)> {
        let mut state = lock(&self.state);
        if !state.task.running || state.task.stopped {
            return None;
        }
        state.rounds.wanted = state.rounds.begun + 1;
        self.wake.notify_one();
        Some((state.rounds.wanted, state.task.run))
    }

    /// What that round found; `None` if the run ended before.
    pub(in crate::health) async fn round(&self, number: u64, run: u64) -> Option<HealthRound> {
        self.until(|| {
            let state = lock(&self.state);
            if state.task.run != run || !state.task.running {
                return Some(None);
            }
            (state.rounds.done >= number).then(|| state.rounds.last.clone())
        })
        .await
    }

    pub(in crate::health) async fn first_round(&self) {
        self.until(|| lock(&self.state).rounds.first_done.then_some(())).await;
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

    /// Who is healthy now.
    pub(in crate::health) fn healthy_set(&self) -> HealthySet {
        lock(&self.state).set(|target| target.open)
    }

    /// The newest target of each key, in their order.
    pub(in crate::health) fn records(&self) -> Vec<Arc<Record>> {
        lock(&self.state).newest().map(|target| target.record.clone()).collect()
    }

    /// What the listener is to be told, if it is news, and a token that it is being told.
    pub(in crate::health) fn news(self: &Arc<Self>, run: u64) -> Option<(HealthySet, Telling)> {
        let mut state = lock(&self.state);
        if state.task.run != run || !std::mem::take(&mut state.news.noted) {
            return None;
        }
        let set = state.set(|target| target.open);
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
