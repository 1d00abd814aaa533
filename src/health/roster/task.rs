//! What the task hears and says.

use std::sync::Arc;

use super::{Name, Roster, Run, State};
use crate::{
    health::{gate::Gate, report::HealthRound},
    sync::lock,
};

/// What the task is to do next.
pub(in crate::health) enum Orders {
    GoOn {
        arrivals: Vec<(Name, Arc<Gate>)>,
        departures: Vec<u64>,
        replan: bool,
        round: bool,
        /// So many checks at once.
        parallel: usize,
    },
    /// The run is over, or of another task: give up what is being checked, and say so.
    Stop,
    /// Nothing is left to check.
    End,
}

impl Roster {
    /// All that are to be checked, for a task that begins.
    pub(in crate::health) fn enlisted(&self) -> Vec<(Name, Arc<Gate>)> {
        let mut state = lock(&self.state);
        state.task.arrivals.clear();
        state.task.departures.clear();
        let enlisted = state.targets.iter().filter(|(_, target)| target.gate.is_enlisted());
        enlisted.map(|(name, target)| (name.clone(), target.gate.clone())).collect()
    }

    /// What the task of `run` is to do next.
    pub(in crate::health) fn orders(&self, run: Run) -> Orders {
        let mut state = lock(&self.state);
        let state = &mut *state;
        if state.task.current() != Some(run) {
            return Orders::Stop;
        }
        if state.targets.is_empty() {
            self.end_task(state);
            return Orders::End;
        }
        let rounds = &mut state.rounds;
        let round = rounds.wanted > rounds.begun && rounds.begun == rounds.done;
        rounds.begun += u64::from(round);
        // One may have left before the task heard that it came.
        let arrivals = std::mem::take(&mut state.task.arrivals).into_iter();
        let arrivals = arrivals.filter_map(|name| {
            let target = state.targets.get(&name)?;
            Some((name, target.gate.clone()))
        });
        Orders::GoOn {
            arrivals: arrivals.collect(),
            departures: std::mem::take(&mut state.task.departures),
            replan: std::mem::take(&mut state.task.replan),
            round,
            parallel: state.config.parallel_scheduled,
        }
    }

    /// Resolves when there may be other orders.
    pub(in crate::health) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Notes that a target was checked, and whether that opened or shut its gate.
    pub(in crate::health) fn attended(&self, name: &Name, changed: bool) {
        let mut state = lock(&self.state);
        if changed {
            self.progress.notify_waiters();
        }
        let State { targets, rounds, .. } = &mut *state;
        if let Some(target) = targets.get_mut(name).filter(|target| target.is_owed()) {
            target.attended = true;
            rounds.unattended -= 1;
            self.note_attended(&mut state);
        }
    }

    pub(in crate::health) fn end_round(&self, changed: usize) {
        let mut state = lock(&self.state);
        let set = state.healthy();
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

    /// The task is over though it has work: its runtime ended. Nothing happens if the work is up to
    /// another task by now.
    pub(in crate::health) fn abandon(&self, run: Run) {
        let mut state = lock(&self.state);
        if state.task.running == Some(run.task) {
            self.end_task(&mut state);
            state.forget_enlisted();
        }
    }

    /// What waits for a round of this task waits no more.
    fn end_task(&self, state: &mut State) {
        state.task.running = None;
        state.rounds.give_up();
        state.rounds.wanted = state.rounds.begun;
        self.progress.notify_waiters();
    }
}
