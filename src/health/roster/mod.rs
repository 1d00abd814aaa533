//! All that one layer value checks, and how gates, the task and handles find each other.

mod control;
mod task;

use std::{
    collections::BTreeMap,
    ptr,
    sync::{Arc, Mutex},
};

use tokio::sync::Notify;

pub(super) use self::task::Orders;
use super::{
    config::HealthConfig,
    gate::Gate,
    report::{HealthRound, HealthySet},
    word::IDLE,
};
use crate::sync::lock;

/// A target by its key, and by the order of arrival where there are several of one key: an address
/// that changed, or two sets that share a layer. The newest speaks for its key.
pub(super) type Name = (Arc<str>, u64);

#[derive(Debug)]
pub(super) struct Roster {
    state: Mutex<State>,
    /// Wakes the task.
    wake: Notify,
    /// Wakes what waits for a round, the end of a run or another healthy set.
    progress: Notify,
}

#[derive(Debug)]
struct State {
    /// Of what is of all targets together.
    config: Arc<HealthConfig>,
    targets: BTreeMap<Name, Target>,
    entered: u64,
    task: Task,
    rounds: Rounds,
}

#[derive(Debug)]
struct Target {
    gate: Arc<Gate>,
    /// Checks are off, as far as the first round is concerned.
    off: bool,
    /// Checked since checks were started or switched on, or not to be checked.
    attended: bool,
}

/// A run of the checks, by one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    task: u64,
    pub(super) number: u64,
}

#[derive(Debug, Default)]
struct Task {
    /// The one that runs, by number.
    running: Option<u64>,
    /// How many there were.
    begun: u64,
    stopped: bool,
    /// Which run of the checks this is; a stop ends one.
    run: u64,
    /// What the task has yet to hear.
    arrivals: Vec<Name>,
    departures: Vec<u64>,
    replan: bool,
}

#[derive(Debug, Default)]
struct Rounds {
    /// Targets that are to be checked, and were not yet.
    unattended: usize,
    first_done: bool,
    /// Rounds at once, by number.
    wanted: u64,
    begun: u64,
    done: u64,
    last: Option<HealthRound>,
}

impl Roster {
    pub(super) fn new(config: Arc<HealthConfig>) -> Self {
        let state = State {
            config,
            targets: BTreeMap::new(),
            entered: 0,
            task: Task::default(),
            rounds: Rounds::default(),
        };
        Self { state: Mutex::new(state), wake: Notify::new(), progress: Notify::new() }
    }

    // What watches do.

    /// One more watch of `gate`.
    pub(super) fn enter(&self, gate: &Arc<Gate>) {
        let mut state = lock(&self.state);
        if gate.enter() {
            state.entered += 1;
            let name = (gate.key.clone(), state.entered);
            let off = !gate.config().enabled;
            state.targets.insert(name, Target { gate: gate.clone(), off, attended: off });
            self.progress.notify_waiters();
        }
    }

    /// One watch less. Without any, the target is not needed.
    pub(super) fn leave(&self, gate: &Gate) {
        let mut state = lock(&self.state);
        let Some(name) = state.name_of(gate) else {
            return;
        };
        let owed = state.targets.get(&name).is_some_and(Target::is_owed);
        if !gate.leave() {
            return;
        }
        state.rounds.unattended -= usize::from(owed);
        let left = state.targets.remove(&name);
        self.note_attended(&mut state);
        self.progress.notify_waiters();
        if state.task.running.is_some() {
            state.task.departures.push(name.1);
            self.wake.notify_one();
        }
        drop(state);
        // It may hold what is the user's, so it drops outside of the lock.
        drop(left);
    }

    /// Has a target checked from now on. `Some`: a task is to be spawned for this run.
    pub(super) fn enlist(&self, gate: &Gate) -> Option<Run> {
        let mut state = lock(&self.state);
        if let Some(name) = state.name_of(gate) {
            state.enlist(&name);
        }
        self.muster(&mut state)
    }

    /// Has all members checked that are not: they were connected outside of a runtime, or theirs
    /// ended.
    pub(super) fn enlist_members(&self) -> Option<Run> {
        let mut state = lock(&self.state);
        state.enlist_members();
        self.muster(&mut state)
    }

    /// Has the task take in the targets that were enlisted. `Some`: there is none, and one is to be spawned.
    fn muster(&self, state: &mut State) -> Option<Run> {
        if state.task.stopped {
            return None;
        }
        if state.task.running.is_some() {
            self.wake.notify_one();
            return None;
        }
        if !state.targets.values().any(|target| target.gate.is_enlisted()) {
            return None;
        }
        // A barred member gets no call that would do it, and is to be checked all the same.
        state.enlist_members();
        Some(state.task.begin())
    }

    /// Ends the first round, if it is over, and lets those look that wait for it.
    fn note_attended(&self, state: &mut State) {
        let rounds = &mut state.rounds;
        if rounds.unattended > 0 || state.task.stopped {
            return;
        }
        rounds.first_done |= state.targets.values().any(|target| target.attended);
        self.progress.notify_waiters();
    }
}

impl Task {
    /// The run of a task that is to be spawned.
    fn begin(&mut self) -> Run {
        self.begun += 1;
        self.running = Some(self.begun);
        Run { task: self.begun, number: self.run }
    }

    /// The run that goes on, or is to be given up.
    fn current(&self) -> Option<Run> {
        self.running.map(|task| Run { task, number: self.run })
    }
}

impl Rounds {
    /// What the round that runs would find is of no use to anyone.
    fn give_up(&mut self) {
        (self.done, self.last) = (self.begun, None);
    }
}

impl Target {
    /// The connector of a balanced set is a target too, but no call goes through its gate.
    fn is_used(&self) -> bool {
        self.gate.member.is_some() || self.gate.is_enlisted()
    }

    /// Whether the first round waits for it.
    fn is_owed(&self) -> bool {
        !self.attended && self.gate.is_enlisted()
    }
}

impl State {
    fn name_of(&self, gate: &Gate) -> Option<Name> {
        let mut of_key = self.targets.range((gate.key.clone(), 0)..=(gate.key.clone(), u64::MAX));
        let (name, _) = of_key.find(|(_, target)| ptr::eq(&*target.gate, gate))?;
        Some(name.clone())
    }

    fn enlist(&mut self, name: &Name) {
        let Some(target) = self.targets.get(name) else {
            return;
        };
        if !target.gate.set_enlisted(true) {
            self.rounds.unattended += usize::from(!target.attended);
            // One that begins takes in all.
            self.task.arrivals.extend(self.task.running.map(|_| name.clone()));
        }
    }

    fn enlist_members(&mut self) {
        let idle = self
            .targets
            .iter()
            .filter(|(_, target)| target.gate.member.is_some() && target.gate.word() & IDLE != 0);
        let idle: Vec<_> = idle.map(|(name, _)| name.clone()).collect();
        idle.iter().for_each(|name| self.enlist(name));
    }

    /// No task checks any more, so each has to be enlisted anew.
    fn forget_enlisted(&mut self) {
        self.task.arrivals.clear();
        for target in self.targets.values() {
            self.rounds.unattended -= usize::from(target.is_owed());
            target.gate.set_enlisted(false);
        }
    }

    /// The newest target of each key that is in use.
    fn newest(&self) -> impl Iterator<Item = &Target> {
        let mut targets = self.targets.iter().filter(|(_, target)| target.is_used()).peekable();
        std::iter::from_fn(move || {
            loop {
                let (name, target) = targets.next()?;
                if targets.peek().is_none_or(|(next, _)| next.0 != name.0) {
                    return Some(target);
                }
            }
        })
    }

    fn healthy(&self) -> HealthySet {
        let mut set = HealthySet::default();
        for target in self.newest() {
            set.total += 1;
            if target.gate.is_open() {
                set.healthy += 1;
                set.endpoints.extend(target.gate.endpoint());
            }
        }
        set
    }

    /// Whether each that is to be checked was, and there is any.
    fn is_attended(&self) -> bool {
        let used = self.targets.values().filter(|it| it.is_used() && !it.gate.has_problem());
        let mut used = used.peekable();
        !self.task.stopped && used.peek().is_some() && used.all(|target| target.attended)
    }
}
