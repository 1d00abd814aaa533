//! What handles and the listener ask and want.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use super::{News, Roster, Run, State};
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
            let was_off = std::mem::replace(&mut target.off, is_off);
            let was_attended = target.attended;
            // Switched on, it begins anew.
            target.attended = is_off || (was_attended && !was_off);
            if target.watch.is_some() {
                rounds.unattended += usize::from(was_attended);
                rounds.unattended -= usize::from(target.attended);
            }
        }
        self.note_attended(&mut state);
        self.wake.notify_one();
    }

    /// Lets checks run. `Some`: a task is to be spawned for this run.
    pub(in crate::health) fn start(&self) -> Option<Run> {
        let mut state = lock(&self.state);
        let was_stopped = std::mem::take(&mut state.task.stopped);
        let any = state.targets.values().any(|target| target.watch.is_some());
        if !was_stopped || state.task.running.is_some() || !any {
            return None;
        }
        Some(state.task.begin())
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
            target.off = !target.record.config().enabled;
            target.attended = target.off;
            rounds.unattended += usize::from(target.watch.is_some() && !target.attended);
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

    /// The same, but at most for `limit` of the real clock: for who has no runtime with a timer.
    pub(in crate::health) async fn still_within(self: &Arc<Self>, limit: Duration) {
        if self.is_still() {
            return;
        }
        let late = Arc::new(AtomicBool::new(false));
        // Who waits keeps the sender, so the thread ends with whatever comes first.
        let (_waits, ends) = mpsc::channel::<()>();
        let (roster, is_late) = (self.clone(), late.clone());
        let watchdog = thread::Builder::new().spawn(move || {
            if ends.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                is_late.store(true, Ordering::Release);
                roster.progress.notify_waiters();
            }
        });
        if watchdog.is_ok() {
            let is_over = || late.load(Ordering::Acquire) || self.is_still();
            self.until(|| is_over().then_some(())).await;
        }
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
