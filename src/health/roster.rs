//! All that one layer value checks, and how gates, the task and handles find each other.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
};

use tokio::sync::Notify;

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
    /// Checked since checks were started, or not to be checked.
    attended: bool,
}

#[derive(Debug, Default)]
struct Task {
    running: bool,
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

/// What the task is to do next.
pub(super) enum Orders {
    GoOn {
        arrivals: Vec<(u64, Weak<Watch>)>,
        departures: Vec<u64>,
        replan: bool,
        round: bool,
        /// There is something to tell.
        news: bool,
    },
    /// The run is over: give up what is being checked, and say so.
    Stop,
    /// Nobody is left.
    End {
        news: bool,
    },
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
        let attended = !record.config().enabled;
        let target = Target { record: record.clone(), watch: None, open, attended };
        state.targets.insert(name.clone(), target);
        state.news.fresh |= open;
        name
    }

    /// Has `watch` checked from now on. `Some`: a task is to be spawned for this run.
    pub(super) fn enlist(&self, watch: &Arc<Watch>) -> Option<u64> {
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
        if std::mem::replace(&mut task.running, true) {
            if is_new {
                task.arrivals.push((watch.name.1, Arc::downgrade(watch)));
                self.wake.notify_one();
            }
            return None;
        }
        Some(task.run)
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
            self.end_first_round(&mut state);
        }
        if state.task.running {
            state.task.departures.push(name.1);
            self.wake.notify_one();
        }
        drop(state);
    }

    /// Members that are not to be checked yet: they were connected outside of a runtime.
    pub(super) fn idle(&self) -> Vec<Arc<Record>> {
        let state = lock(&self.state);
        let idle = state.targets.values().filter(|target| target.watch.is_none());
        let members = idle.filter(|target| target.record.member.is_some());
        members.map(|target| target.record.clone()).collect()
    }

    // What the prober does.

    /// All that are to be checked, for a task that begins.
    pub(super) fn enlisted(&self) -> Vec<(u64, Weak<Watch>)> {
        let mut state = lock(&self.state);
        state.task.arrivals.clear();
        state.task.departures.clear();
        let named = |(name, target): (&Name, &Target)| Some((name.1, target.watch.clone()?));
        state.targets.iter().filter_map(named).collect()
    }

    /// What the task of `run` is to do next.
    pub(super) fn orders(&self, run: u64) -> Orders {
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
        }
    }

    /// Resolves when there may be other orders.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Notes that a target was checked, or that its record changed.
    pub(super) fn attended(&self, name: &Name) {
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

    fn end_first_round(&self, state: &mut State) {
        let rounds = &mut state.rounds;
        let any = || state.targets.values().any(|target| target.attended);
        if rounds.first_done || rounds.unattended > 0 || state.task.stopped || !any() {
            return;
        }
        rounds.first_done = true;
        // Told to nobody, all were healthy; so without more a listener hears of the first change.
        let told = if state.config.tell_first_round { None } else { Some(state.set(|_| true)) };
        (state.news.told, state.news.fresh) = (told, true);
        self.progress.notify_waiters();
        self.wake.notify_one();
    }

    pub(super) fn end_round(&self, changed: usize) {
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
    pub(super) fn end_run(&self) -> Option<u64> {
        let mut state = lock(&self.state);
        state.rounds.done = state.rounds.begun;
        state.task.running = !state.task.stopped && !state.targets.is_empty();
        self.progress.notify_waiters();
        state.task.running.then_some(state.task.run)
    }

    /// The task is over though it has work: its runtime ended. Those it was to check.
    pub(super) fn abandon(&self) -> Vec<Weak<Watch>> {
        let mut state = lock(&self.state);
        state.task.running = false;
        state.rounds.done = state.rounds.begun;
        self.progress.notify_waiters();
        state.forget_enlisted()
    }

    // What handles do.

    pub(super) fn config(&self) -> Arc<HealthConfig> {
        lock(&self.state).config.clone()
    }

    /// Sets the config of all that are there, of `alone`, and of those to come.
    pub(super) fn set_config(
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
    pub(super) fn replan(&self) {
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
    pub(super) fn start(&self) -> Option<u64> {
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
    pub(super) fn stop(&self) {
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

    pub(super) fn is_running(&self) -> bool {
        let state = lock(&self.state);
        state.task.running && !state.task.stopped
    }

    /// Whether nothing runs of what was before `stop`.
    fn is_still(&self) -> bool {
        let state = lock(&self.state);
        !(state.task.running && state.task.stopped || state.news.telling)
    }

    pub(super) async fn still(&self) {
        self.until(|| self.is_still().then_some(())).await;
    }

    /// Asks for a round that begins from now on; its number, and that of the run.
    pub(super) fn want_round(&self) -> Option<(u64, u64)> {
        let mut state = lock(&self.state);
        if !state.task.running || state.task.stopped {
            return None;
        }
        state.rounds.wanted = state.rounds.begun + 1;
        self.wake.notify_one();
        Some((state.rounds.wanted, state.task.run))
    }

    /// What that round found; `None` if the run ended before.
    pub(super) async fn round(&self, number: u64, run: u64) -> Option<HealthRound> {
        self.until(|| {
            let state = lock(&self.state);
            if state.task.run != run || !state.task.running {
                return Some(None);
            }
            (state.rounds.done >= number).then(|| state.rounds.last.clone())
        })
        .await
    }

    pub(super) async fn first_round(&self) {
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
    pub(super) fn healthy_set(&self) -> HealthySet {
        lock(&self.state).set(|target| target.open)
    }

    /// The newest target of each key, in their order.
    pub(super) fn records(&self) -> Vec<Arc<Record>> {
        lock(&self.state).newest().map(|target| target.record.clone()).collect()
    }

    /// What the listener is to be told, if it is news, and a token that it is being told.
    pub(super) fn news(self: &Arc<Self>, run: u64) -> Option<(HealthySet, Telling)> {
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

/// Somebody runs the listener, until this drops.
pub(super) struct Telling(Arc<Roster>);

impl Drop for Telling {
    fn drop(&mut self) {
        lock(&self.0.state).news.telling = false;
        self.0.progress.notify_waiters();
    }
}
