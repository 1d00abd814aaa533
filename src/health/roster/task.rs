//! What the task hears and says.

use std::sync::Weak;

use super::{Name, Roster, Run, State, Target};
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
    /// The run is over, or of another task: give up what is being checked, and say so.
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
    pub(in crate::health) fn orders(&self, run: Run) -> Orders {
        let mut state = lock(&self.state);
        let state = &mut *state;
        if state.task.current() != Some(run) {
            return Orders::Stop;
        }
        // Before the first round is done, half of them were not asked yet.
        let news = state.rounds.first_done && std::mem::take(&mut state.news.fresh);
        state.news.noted |= news;
        if state.targets.is_empty() {
            self.end_task(state);
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
            parallel: state.config.parallel_scheduled,
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
                self.note_attended(&mut state);
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
    pub(in crate::health) fn end_run(&self, run: Run) -> Option<Run> {
        let mut state = lock(&self.state);
        if state.task.running != Some(run.task) {
            return None;
        }
        if state.task.stopped || state.targets.is_empty() {
            self.end_task(&mut state);
        } else {
            state.rounds.give_up();
            self.progress.notify_waiters();
        }
        state.task.current()
    }

    /// The task is over though it has work: its runtime ended. Those it was to check; none, if
    /// that is up to another task by now.
    pub(in crate::health) fn abandon(&self, run: Run) -> Vec<Weak<Watch>> {
        let mut state = lock(&self.state);
        if state.task.running != Some(run.task) {
            return Vec::new();
        }
        self.end_task(&mut state);
        state.forget_enlisted()
    }

    /// Whoever waits for a round of this task waits no more.
    fn end_task(&self, state: &mut State) {
        state.task.running = None;
        state.rounds.give_up();
        state.rounds.wanted = state.rounds.begun;
        self.progress.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        endpoint::Endpoint,
        health::{HealthConfig, check::check_upstream, watch::Policy},
        member::Member,
    };

    /// A task that panics while it ends must not take the place of the one that came after it.
    #[test]
    fn a_task_that_is_over_speaks_for_no_other() {
        let check = Arc::new(check_upstream(|| async { true }));
        let policy = Policy::new(HealthConfig::default(), check, None, None);
        let watch = || policy.watch_member(&Member::new(Endpoint::new("a:1").unwrap()));
        let roster = &policy.roster;
        let first = watch();
        let old = roster.enlist(&first).unwrap();
        drop(first);
        assert!(matches!(roster.orders(old), Orders::End { .. }));

        let second = watch();
        let new = roster.enlist(&second).unwrap();
        assert!(matches!(roster.orders(old), Orders::Stop));
        assert!(roster.abandon(old).is_empty() && roster.end_run(old).is_none());
        assert!(roster.is_running() && matches!(roster.orders(new), Orders::GoOn { .. }));
        assert_eq!(roster.abandon(new).len(), 1);
        assert!(!roster.is_running());
    }
}
