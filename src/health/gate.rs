//! The gate before one target: what is known of the target, and whether calls may pass.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::SystemTime,
};

use super::{
    check::{AnyCheck, Verdict},
    config::HealthConfig,
    pace::Pace,
    probe::{Probed, probe},
    record::{Change, Finding, Record},
    report::HealthState,
    setup::Setup,
    word::{IDLE, LATE, MISUSED, Refusals, UNHEALTHY, is_open},
};
use crate::{
    endpoint::Endpoint,
    error::Error,
    guard::{Configured, Newest},
    member::{Member, Reason, Veto},
    plugin::HealthStatus,
    sync::lock,
    telemetry::{Event, EventKind, Events, Stats},
    time,
};

/// One target. It keeps nothing running: see [`Watch`](super::gates::Watch) for that.
pub(super) struct Gate {
    /// Why a call has to look closer; zero where it has not. Follows the state, under its lock.
    word: AtomicU32,
    refusals: Refusals,
    /// That of its endpoint; empty above a balancer, or without one.
    pub(super) key: Arc<str>,
    /// `None` above a balancer, or without one.
    pub(super) member: Option<Arc<Member>>,
    setup: Arc<Setup>,
    state: Mutex<State>,
}

struct State {
    record: Record,
    /// How many watches there are.
    watches: usize,
    /// The task knows it, or will once checks are started.
    enlisted: bool,
    /// Of a member, while there is a watch.
    veto: Option<Veto>,
}

impl State {
    fn word(&self, shut: u32) -> u32 {
        if self.record.is_misused() {
            // A member stays eligible: every call through here says what is wrong.
            return MISUSED;
        }
        let idle = if self.record.is_to_be_checked() && !self.enlisted { IDLE } else { 0 };
        let late = if self.record.is_late() { LATE } else { 0 };
        if self.record.is_open() { idle } else { idle | shut | late }
    }
}

impl Gate {
    pub(super) fn new(
        config: Arc<HealthConfig>,
        setup: &Arc<Setup>,
        member: Option<Arc<Member>>,
    ) -> Arc<Self> {
        let key = member.as_ref().map_or_else(|| "".into(), |member| member.shared_key().clone());
        let record = Record::new(config, time::now());
        let state = State { record, watches: 0, enlisted: false, veto: None };
        let gate = Self {
            word: AtomicU32::new(0),
            refusals: Refusals::new(setup.name.as_ref()),
            key,
            member,
            setup: setup.clone(),
            state: Mutex::new(state),
        };
        // How it begins is not told.
        let shut = gate.refusals.shut();
        gate.word.store(lock(&gate.state).word(shut), Ordering::Relaxed);
        Arc::new(gate)
    }

    #[inline]
    pub(super) fn word(&self) -> u32 {
        // Relaxed: a verdict is seconds old anyway, and nothing else is published with it.
        self.word.load(Ordering::Relaxed)
    }

    /// Whether calls may pass.
    pub(super) fn is_open(&self) -> bool {
        is_open(self.word())
    }

    pub(super) fn endpoint(&self) -> Option<Arc<Endpoint>> {
        self.member.as_ref().map(|member| member.endpoint())
    }

    pub(super) fn config(&self) -> Arc<HealthConfig> {
        lock(&self.state).record.config().clone()
    }

    /// The check by `config`.
    pub(super) fn check(&self, config: &HealthConfig) -> Arc<dyn AnyCheck> {
        (self.setup.checks)(config)
    }

    pub(super) fn state(&self) -> HealthState {
        lock(&self.state).record.state(self.is_open(), time::now())
    }

    pub(super) fn status(&self) -> HealthStatus {
        lock(&self.state).record.status()
    }

    pub(super) fn since(&self) -> time::Instant {
        lock(&self.state).record.since()
    }

    pub(super) fn pace(&self) -> Pace {
        let own_interval = self.endpoint().and_then(|endpoint| endpoint.check()?.interval());
        lock(&self.state).record.pace(own_interval)
    }

    /// Whether it can never be checked.
    pub(super) fn has_problem(&self) -> bool {
        lock(&self.state).record.problem().is_some()
    }

    /// Refuses a call because of a bit, where that is not [`UNHEALTHY`] alone.
    #[cold]
    pub(super) fn refuse(&self, bit: u32) -> Error {
        let problem = || lock(&self.state).record.problem().unwrap_or_default().to_owned();
        let error = self.refusals.refuse(bit, problem);
        match &self.member {
            Some(member) => error.at_endpoint(member.shared_key()),
            None => error,
        }
    }

    pub(super) fn stats(&self) -> Stats {
        Stats { refused: self.refusals.count(), ..Stats::default() }
    }

    /// Changes the state. The word, the veto and the event follow under the same lock: what comes last
    /// counts. To be followed by [`tell`](Self::tell) where it may open or shut.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.state);
        let changed = change(&mut state);
        let word = state.word(self.refusals.shut());
        let before = self.word.swap(word, Ordering::Relaxed);
        if is_open(before) != is_open(word) {
            self.note(&state, is_open(word));
        }
        if let Some(veto) = &state.veto {
            match (word & UNHEALTHY != 0, veto.is_raised()) {
                (true, false) => veto.raise(),
                (false, true) => veto.clear(),
                _ => {}
            }
        }
        changed
    }

    /// Notes for listeners that it was opened, or shut.
    fn note(&self, state: &State, healthy: bool) {
        let Some(events) = &self.setup.events else {
            return;
        };
        events.note(|| {
            let reason = state.record.reason().filter(|_| !healthy).map(Into::into);
            Event::new(EventKind::Health { healthy, reason })
                .of_layer(self.setup.name.as_ref())
                .of_endpoint(self.member.as_ref().map(|member| member.shared_key()))
        });
    }

    /// Tells listeners what was noted. Never under a lock.
    fn tell(&self) {
        self.setup.events.iter().for_each(Events::deliver);
    }

    /// Finds out whether it can be checked at all, by the config that holds now.
    pub(super) fn examine(&self) {
        loop {
            // The check is the user's, and may look at us: no lock is held while it is asked.
            let config = self.config();
            let problem = self.check(&config).problem_with(self.endpoint().as_deref());
            let is_by_config = self.change(|state| {
                let is_by_config = Arc::ptr_eq(state.record.config(), &config);
                if is_by_config {
                    state.record.set_problem(problem);
                }
                is_by_config
            });
            if is_by_config {
                return self.tell();
            }
        }
    }

    /// One more watch. `true`: the first.
    pub(super) fn enter(&self) -> bool {
        self.change(|state| {
            state.watches += 1;
            let is_first = state.watches == 1;
            if is_first {
                state.veto = self.member.as_ref().map(|member| member.veto(Reason::Unhealthy));
            }
            is_first
        })
    }

    /// One watch less. `true`: the last. What is known stays.
    pub(super) fn leave(&self) -> bool {
        self.change(|state| {
            state.watches -= 1;
            let is_last = state.watches == 0;
            if is_last {
                (state.veto, state.enlisted) = (None, false);
                state.record.void_checks();
            }
            is_last
        })
    }

    pub(super) fn is_in_use(&self) -> bool {
        lock(&self.state).watches > 0
    }

    pub(super) fn is_enlisted(&self) -> bool {
        lock(&self.state).enlisted
    }

    /// Notes whether the task knows it; what was noted before.
    pub(super) fn set_enlisted(&self, enlisted: bool) -> bool {
        self.change(|state| std::mem::replace(&mut state.enlisted, enlisted))
    }

    /// One check, by the config that holds now.
    pub(super) fn probe(&self) -> impl Future<Output = Finding> + Send + use<> {
        let (config, generation) = {
            let state = lock(&self.state);
            (state.record.config().clone(), state.record.generation())
        };
        let (check, endpoint) = (self.check(&config), self.endpoint());
        async move {
            let own = endpoint.as_ref().and_then(|endpoint| endpoint.check()?.timeout());
            let limit = own.map_or(config.timeout, |own| own.min(config.timeout));
            let Probed { verdict, latency, is_late } = probe(check, endpoint, limit).await;
            let (at, date) = (time::now(), SystemTime::now());
            Finding { verdict, latency, is_late, generation, at, date }
        }
    }

    /// What a check that begins now finds at once.
    #[cfg(test)]
    pub(super) fn finding(&self, verdict: Verdict) -> Finding {
        let generation = lock(&self.state).record.generation();
        let (at, date) = (time::now(), SystemTime::now());
        let latency = std::time::Duration::ZERO;
        Finding { verdict, latency, is_late: false, generation, at, date }
    }

    /// Counts what a check found, and opens or shuts if that is enough.
    pub(super) fn settle(&self, finding: Finding) -> Change {
        let at = finding.at;
        let is_good = matches!(finding.verdict, Verdict::Healthy | Verdict::Degraded(_));
        let change = self.change(|state| {
            let change = state.record.count(finding);
            if let (Change::Opens, Some(member)) = (change, &self.member) {
                member.recover(at);
            }
            if let (true, Some(member)) = (is_good && state.record.is_open(), &self.member) {
                member.check_passed();
            }
            change
        });
        let (endpoint, layer) = (&*self.key, self.setup.name.as_deref());
        match change {
            Change::Opens => tracing::info!(endpoint, layer, "healthy again"),
            Change::Shuts => {
                let reason = self.state().last_error.unwrap_or_default();
                tracing::warn!(endpoint, layer, reason, "unhealthy");
            }
            Change::Nothing | Change::Void => {}
        }
        self.tell();
        change
    }
}

/// What was found is kept.
impl Configured<HealthConfig> for Gate {
    fn apply(self: Arc<Self>, newest: &Newest<HealthConfig>) {
        self.change(|state| state.record.set_config(newest.get(), time::now()));
        self.tell();
        if self.is_in_use() {
            self.examine();
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("key", &self.key)
            .field("state", &self.state())
            .field("checked", &(self.word() & (IDLE | MISUSED) == 0))
            .finish()
    }
}
