//! All that one layer value checks, and how gates, the task and handles find each other.

mod control;
mod task;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
};

use tokio::sync::Notify;

pub(super) use self::task::Orders;
use super::{
    config::HealthConfig, monitor::HealthRound, record::Record, tell::HealthySet, watch::Watch,
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
    /// Wakes whoever waits for a round or the end of a run.
    progress: Notify,
}

#[derive(Debug)]
struct State {
    /// Of targets to come.
    config: Arc<HealthConfig>,
    targets: BTreeMap<Name, Target>,
    entered: u64,
    task: Task,
    rounds: Rounds,
    news: News,
}

#[derive(Debug)]
struct Target {
    record: Arc<Record>,
    /// There once it is to be checked.
    watch: Option<Weak<Watch>>,
    /// As far as the listener is concerned.
    open: bool,
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
    arrivals: Vec<(u64, Weak<Watch>)>,
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

#[derive(Debug, Default)]
struct News {
    /// The healthy set may have changed.
    fresh: bool,
    noted: bool,
    /// The listener runs.
    telling: bool,
    told: Option<HealthySet>,
}

impl Roster {
    pub(super) fn new(config: Arc<HealthConfig>) -> Self {
        let state = State {
            config,
            targets: BTreeMap::new(),
            entered: 0,
            task: Task::default(),
            rounds: Rounds::default(),
            news: News::default(),
        };
        Self { state: Mutex::new(state), wake: Notify::new(), progress: Notify::new() }
    }

    // What gates do.

    /// Takes in a target, under the config that holds now.
    pub(super) fn enter(&self, record: &Arc<Record>) -> Name {
        let mut state = lock(&self.state);
        record.set_config(state.config.clone());
        state.entered += 1;
        let name = (record.key().into(), state.entered);
        let open = record.is_open();
        let off = !record.config().enabled;
        let target = Target { record: record.clone(), watch: None, open, off, attended: off };
        state.targets.insert(name.clone(), target);
        state.news.fresh |= open;
        name
    }

    /// Has `watch` checked from now on. `Some`: a task is to be spawned for this run.
    pub(super) fn enlist(&self, watch: &Arc<Watch>) -> Option<Run> {
        let mut state = lock(&self.state);
        let State { targets, task, rounds, .. } = &mut *state;
        let target = targets.get_mut(&watch.name)?;
        let is_new = target.watch.replace(Arc::downgrade(watch)).is_none();
        if is_new {
            rounds.unattended += usize::from(!target.attended);
        }
        if task.stopped {
            return None;
        }
        if task.running.is_some() {
            if is_new {
                task.arrivals.push((watch.name.1, Arc::downgrade(watch)));
                self.wake.notify_one();
            }
            return None;
        }
        Some(task.begin())
    }

    /// A target that nobody needs any more.
    pub(super) fn leave(&self, name: &Name) {
        let mut state = lock(&self.state);
        let Some(target) = state.targets.remove(name) else {
            return;
        };
        state.news.fresh |= target.open;
        if target.watch.is_some() && !target.attended {
            state.rounds.unattended -= 1;
        }
        self.note_attended(&mut state);
        if state.task.running.is_some() {
            state.task.departures.push(name.1);
            self.wake.notify_one();
        }
        drop(state);
    }

    /// Members that nobody checks: they were connected outside of a runtime, or theirs ended.
    pub(super) fn idle(&self) -> Vec<Arc<Record>> {
        let state = lock(&self.state);
        let idle = state.targets.values().filter(|target| target.watch.is_none());
        let members = idle.filter(|target| target.record.member.is_some());
        members.map(|target| target.record.clone()).collect()
    }

    /// Ends the first round, if it is over, and lets those look who wait for that.
    fn note_attended(&self, state: &mut State) {
        let rounds = &mut state.rounds;
        if rounds.unattended > 0 || state.task.stopped {
            return;
        }
        self.progress.notify_waiters();
        if rounds.first_done || !state.targets.values().any(|target| target.attended) {
            return;
        }
        rounds.first_done = true;
        // Told to nobody, all were healthy; so without more a listener hears of the first change.
        let told = if state.config.tell_first_round { None } else { Some(state.set(|_| true)) };
        (state.news.told, state.news.fresh) = (told, true);
        self.wake.notify_one();
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
    /// The connector of a balanced set is a gate too, but no call goes through it.
    fn is_used(&self) -> bool {
        self.record.member.is_some() || self.watch.is_some()
    }

    fn note_open(&mut self, news: &mut News) {
        let open = self.record.is_open();
        news.fresh |= std::mem::replace(&mut self.open, open) != open;
    }
}

impl State {
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

    fn set(&self, is_healthy: impl Fn(&Target) -> bool) -> HealthySet {
        let mut set = HealthySet { endpoints: Vec::new(), healthy: 0, total: 0 };
        for target in self.newest() {
            set.total += 1;
            if is_healthy(target) {
                set.healthy += 1;
                set.endpoints.extend(target.record.member.as_ref().map(|member| member.endpoint()));
            }
        }
        set
    }

    /// Whether each that is to be checked was, and there is any.
    fn is_attended(&self) -> bool {
        let used = self.targets.values().filter(|it| it.is_used() && !it.record.has_problem());
        let mut used = used.peekable();
        !self.task.stopped && used.peek().is_some() && used.all(|target| target.attended)
    }

    fn forget_enlisted(&mut self) -> Vec<Weak<Watch>> {
        self.task.arrivals.clear();
        let rounds = &mut self.rounds;
        let forget = |target: &mut Target| {
            let watch = target.watch.take()?;
            rounds.unattended -= usize::from(!target.attended);
            Some(watch)
        };
        self.targets.values_mut().filter_map(forget).collect()
    }
}
