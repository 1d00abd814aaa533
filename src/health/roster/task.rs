//! What the task hears and says.

use std::sync::Weak;

use super::{Name, Roster, State, Target};
use crate::{
    health::{monitor::HealthRound, watch::Watch},
    sync::lock,
};

/// What the task is to do next.
pub(in crate::health) enum Orders {
    GoOn {
        arrivals: Vec<(u64, Weak<Watch>)>,
        departures: Vec<u64>,
        replan: bool,
        round: bool,
        /// There is something to tell.
        news: bool,
        /// So many checks at once.
        parallel: usize,
    },
    /// The run is over: give up what is being checked, and say so.
    Stop,
    /// Nobody is left.
    End { news: bool },
}

impl Roster {
    /// All that are to be checked, for a task that begins.
    pub(in crate::health) fn enlisted(&self) -> Vec<(u64, Weak<Watch>)> {
        let mut state = lock(&self.state);
        state.task.arrivals.clear();
        state.task.departures.clear();
        let named = |(name, target): (&Name, &Target)| Some((name.1, target.watch.clone()?));
        state.targets.iter().filter_map(named).collect()
    }

    /// What the task of `run` is to do next.
    pub(in crate::health) fn orders(&self, run: u64) -> Orders {
        let mut state = lock(&self.state);
        let state = &mut *state;
        if state.task.run != run {
            return Orders::Stop;
        }
        // Before the first round is done, half of them were not asked yet.
        let news = state.rounds.first_done && std::mem::take(&mut state.news.fresh);
        state.news.noted |= news;
        if state.targets.is_empty() {
            state.task.running = false;
            self.progress.notify_waiters();
            return Orders::End { news };
        }
        let rounds = &mut state.rounds;
        let round = rounds.wanted > rounds.begun && rounds.begun == rounds.done;
        rounds.begun += u64::from(round);
        Orders::GoOn {
            arrivals: std::mem::take(&mut state.task.arrivals),
            departures: std::mem::take(&mut state.task.departures),
            replan: std::mem::take(&mut state.task.replan),
            round,
            news,
            parallel: state.config.parallel,
        }
    }

    /// Resolves when there may be other orders.
    pub(in crate::health) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Notes that a target was checked, or that its record changed.
    pub(in crate::health) fn attended(&self, name: &Name) {
        let mut state = lock(&self.state);
        let State { targets, rounds, news, .. } = &mut *state;
        if let Some(target) = targets.get_mut(name) {
            target.note_open(news);
            if target.watch.is_some() && !std::mem::replace(&mut target.attended, true) {
                rounds.unattended -= 1;
                self.end_first_round(&mut state);
            }
        }
    }

    pub(in crate::health) fn end_round(&self, changed: usize) {
        let mut state = lock(&self.state);
        let set = state.set(|target| target.open);
        let (total, healthy) = (set.total, set.healthy);
        let unhealthy = total - healthy;
        state.rounds.last = Some(HealthRound { total, healthy, unhealthy, changed });
        state.rounds.done = state.rounds.begun;
        self.progress.notify_waiters();
    }

    /// The task has given up the run that was stopped. `Some`: it goes on with this one, because
    /// checks were started again meanwhile.
    pub(in crate::health) fn end_run(&self) -> Option<u64> {
        let mut state = lock(&self.state);
        state.rounds.done = state.rounds.begun;
        state.task.running = !state.task.stopped && !state.targets.is_empty();
        self.progress.notify_waiters();
        state.task.running.then_some(state.task.run)
    }

    /// The task is over though it has work: its runtime ended. Those it was to check.
    pub(in crate::health) fn abandon(&self) -> Vec<Weak<Watch>> {
        let mut state = lock(&self.state);
        state.task.running = false;
        state.rounds.done = state.rounds.begun;
        self.progress.notify_waiters();
        state.forget_enlisted()
    }
}
