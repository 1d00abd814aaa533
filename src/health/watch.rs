//! What is checked while a gate needs it, and who is told.

use std::{
    fmt,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::runtime::Handle;

use super::{
    check::{AnyCheck, Verdict},
    config::HealthConfig,
    prober,
    record::Record,
    roster::{Name, Roster},
    tell::{Listener, Teller},
};
use crate::{
    error::{Error, Kind},
    guard::ByMember,
    member::{Member, Reason, Veto},
    sync::lock,
};

/// Which check a target has that goes by a config.
pub(super) type Checks = Arc<dyn Fn(&HealthConfig) -> Arc<dyn AnyCheck> + Send + Sync>;

/// What one layer value owns: all its gates share it.
pub(super) struct Policy {
    pub(super) checks: Checks,
    /// Above a balancer, or without one. Outlives the gates, so that a stack built anew for each
    /// connection does not forget.
    pub(super) alone: Arc<Record>,
    watch_alone: Mutex<Weak<Watch>>,
    pub(super) members: ByMember<Watch>,
    pub(super) roster: Arc<Roster>,
    pub(super) teller: Teller,
    /// Where the checks run; `None` is the runtime of the call that starts them.
    pub(super) runtime: Option<Handle>,
}

impl Policy {
    /// One check, whatever the config.
    pub(super) fn new(
        config: HealthConfig,
        check: Arc<dyn AnyCheck>,
        listener: Option<Listener>,
        runtime: Option<Handle>,
    ) -> Arc<Self> {
        Self::by(config, Arc::new(move |_: &HealthConfig| check.clone()), listener, runtime)
    }

    pub(super) fn by(
        config: HealthConfig,
        checks: Checks,
        listener: Option<Listener>,
        runtime: Option<Handle>,
    ) -> Arc<Self> {
        let config = Arc::new(config.clamped());
        let roster = Arc::new(Roster::new(config.clone()));
        Arc::new(Self {
            checks,
            alone: Record::new(config, None),
            watch_alone: Mutex::default(),
            members: ByMember::default(),
            teller: Teller::new(listener, &roster),
            roster,
            runtime,
        })
    }

    /// The runtimes that the checks may run on, the first choice first.
    pub(super) fn runtimes(&self) -> impl Iterator<Item = Handle> + use<> {
        [self.runtime.clone(), Handle::try_current().ok()].into_iter().flatten()
    }

    /// The check of a target that goes by `config`.
    pub(super) fn check(&self, config: &HealthConfig) -> Arc<dyn AnyCheck> {
        (self.checks)(config)
    }

    /// The watch over what has no member.
    pub(super) fn watch(self: &Arc<Self>) -> Arc<Watch> {
        let kept = lock(&self.watch_alone).upgrade();
        kept.unwrap_or_else(|| {
            // The check is the user's, and may look at us: no lock is held while it is asked.
            let problem = self.check(&self.roster.config()).problem_with(None);
            let mut kept = lock(&self.watch_alone);
            kept.upgrade().unwrap_or_else(|| {
                let watch = Arc::new(Watch::new(self, self.alone.clone(), None, problem));
                *kept = Arc::downgrade(&watch);
                watch
            })
        })
    }

    /// The watch over `member`: the same as before, if it still lives.
    pub(super) fn watch_member(self: &Arc<Self>, member: &Arc<Member>) -> Arc<Watch> {
        let is_its = |watch: &Watch| {
            let of = watch.member();
            of.is_some_and(|of| Arc::ptr_eq(of, member))
        };
        self.members.get_or_insert(member, is_its, || {
            let record = Record::new(HealthConfig::default().into(), Some(member.clone()));
            let check = self.check(&self.roster.config());
            let problem = check.problem_with(Some(&*member.endpoint()));
            Watch::new(self, record, Some(member.veto(Reason::Unhealthy)), problem)
        })
    }

    /// The watch that keeps `record`, while there is one.
    fn watch_of(&self, record: &Arc<Record>) -> Option<Arc<Watch>> {
        let mut watches = match &record.member {
            Some(member) => self.members.all(member.identity()),
            None => lock(&self.watch_alone).upgrade().into_iter().collect(),
        };
        watches.retain(|watch| Arc::ptr_eq(&watch.record, record));
        watches.pop()
    }

    /// Goes on by `config` with all that is checked, and with what will be.
    pub(super) fn update(&self, config: HealthConfig) {
        let records = self.roster.set_config(Arc::new(config), &self.alone);
        records.iter().for_each(|record| self.follow(record));
        self.roster.replan();
    }

    /// Goes on by `config` with one target.
    pub(super) fn update_one(&self, record: &Arc<Record>, config: HealthConfig) {
        record.set_config(Arc::new(config));
        self.follow(record);
        self.roster.replan();
    }

    fn follow(&self, record: &Arc<Record>) {
        if let Some(watch) = self.watch_of(record) {
            // The check may be another by now, or may work by now. It is the user's: see `watch`.
            let endpoint = watch.member().map(|member| member.endpoint());
            let check = self.check(&record.config());
            watch.set_problem(check.problem_with(endpoint.as_deref()));
            watch.follow();
            if watch.is_to_be_checked() {
                // The next use finds out whether it is checked already; a member need not wait.
                watch.set(IDLE);
                if record.member.is_some() {
                    prober::enlist(&watch);
                }
            }
        }
    }

    /// Has all members checked that are not.
    pub(super) fn enlist_all(&self) {
        for watch in self.roster.idle().iter().filter_map(|record| self.watch_of(record)) {
            // Not whether it is marked as idle: that comes a moment later where a runtime ended.
            if watch.is_to_be_checked() {
                prober::enlist(&watch);
            }
        }
    }
}

/// Something that is checked while a gate needs it. The prober knows it weakly.
pub(super) struct Watch {
    /// Why a gate has to look closer. Zero: open, and being checked if it is to be.
    word: AtomicU32,
    pub(super) name: Name,
    pub(super) record: Arc<Record>,
    veto: Option<Veto>,
    /// Why it can never be checked.
    problem: Mutex<Option<Error>>,
    pub(super) policy: Arc<Policy>,
}

pub(super) const UNHEALTHY: u32 = 1;
/// Nobody checks it: not started yet, or the runtime ended.
pub(super) const IDLE: u32 = 2;
pub(super) const MISUSED: u32 = 4;

impl Watch {
    fn new(
        policy: &Arc<Policy>,
        record: Arc<Record>,
        veto: Option<Veto>,
        problem: Option<String>,
    ) -> Self {
        let idle = if record.config().enabled { IDLE } else { 0 };
        let name = policy.roster.enter(&record);
        let watch = Self {
            word: AtomicU32::new(idle),
            name,
            record,
            veto,
            problem: Mutex::default(),
            policy: policy.clone(),
        };
        watch.set_problem(problem);
        watch.follow();
        watch
    }

    #[inline]
    pub(super) fn word(&self) -> u32 {
        // Relaxed: a verdict is seconds old anyway, and nothing else is published with it.
        self.word.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, bits: u32) {
        self.word.fetch_or(bits, Ordering::Relaxed);
    }

    pub(super) fn clear(&self, bits: u32) {
        self.word.fetch_and(!bits, Ordering::Relaxed);
    }

    pub(super) fn member(&self) -> Option<&Arc<Member>> {
        self.veto.as_ref().map(Veto::member)
    }

    pub(super) fn problem(&self) -> Error {
        let problem = lock(&self.problem).clone();
        problem.unwrap_or(Error::refused(Kind::InvalidConfig))
    }

    fn set_problem(&self, problem: Option<String>) {
        self.record.set_problem(problem.clone());
        let error = problem.map(|problem| {
            let error = Error::refused(Kind::InvalidConfig).message(problem);
            match &self.veto {
                Some(veto) => error.at_endpoint(veto.member().shared_key()),
                None => error,
            }
        });
        *lock(&self.problem) = error;
    }

    fn has_problem(&self) -> bool {
        lock(&self.problem).is_some()
    }

    fn is_to_be_checked(&self) -> bool {
        !self.has_problem() && self.record.config().enabled
    }

    /// Counts one verdict of a check that began in `generation`, and tells everyone if that opens
    /// the gate or shuts it.
    pub(super) fn settle(&self, generation: u64, verdict: Verdict, latency: Duration) -> bool {
        let counted = self.record.count(generation, verdict, latency);
        let Some(changed) = counted else {
            return false;
        };
        if let Some(open) = changed {
            self.follow();
            let endpoint = self.record.key();
            if open {
                tracing::info!(endpoint, "healthy again");
            } else {
                let reason = self.record.state().last_error.unwrap_or_default();
                tracing::warn!(endpoint, reason, "unhealthy");
            }
        }
        self.policy.roster.attended(&self.name);
        changed.is_some()
    }

    /// Opens or shuts the gate, as the record says.
    fn follow(&self) {
        // Of several that follow at once, each looks again after it wrote; so the last to write
        // has seen the last word.
        loop {
            let (enabled, open) = (self.record.config().enabled, self.record.is_open());
            if self.has_problem() && enabled {
                // The member stays eligible: every call through here says what is wrong.
                self.clear(IDLE);
                self.set(MISUSED);
            } else {
                self.clear(if enabled { MISUSED } else { MISUSED | IDLE });
                if open {
                    self.clear(UNHEALTHY)
                } else {
                    self.set(UNHEALTHY)
                }
                match &self.veto {
                    Some(veto) if open => veto.clear(),
                    Some(veto) => veto.raise(),
                    None => {}
                }
            }
            if (self.record.config().enabled, self.record.is_open()) == (enabled, open) {
                return;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.policy.roster.leave(&self.name);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Watch");
        if let Some(member) = self.member() {
            debug.field("member", &member.key());
        }
        debug
            .field("state", &self.record.state())
            .field("checked", &(self.word() & (IDLE | MISUSED) == 0))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        endpoint::Endpoint,
        health::{check::check_upstream, config::Initial},
    };

    #[derive(Debug, Clone)]
    enum Step {
        /// Enters, or gets another address and so is another.
        Enter(u8),
        Leave(u8),
        Result(u8, Verdict),
        Config {
            rise: u32,
            fall: u32,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = 0..4_u8;
        let verdict = prop_oneof![
            3 => Just(Verdict::Healthy),
            1 => Just(Verdict::Degraded("cold".into())),
            4 => Just(Verdict::Unhealthy("ill".into())),
            1 => Just(Verdict::Skipped),
        ];
        prop_oneof![
            1 => key.clone().prop_map(Step::Enter),
            1 => key.clone().prop_map(Step::Leave),
            8 => (key, verdict).prop_map(|(key, verdict)| Step::Result(key, verdict)),
            1 => (1..4_u32, 1..4_u32).prop_map(|(rise, fall)| Step::Config { rise, fall }),
        ]
    }

    /// All results since it entered, and what was held of it after each.
    #[derive(Default)]
    struct Model {
        results: Vec<bool>,
        healthy: bool,
    }

    proptest! {
        /// What the gates, the members and the roster say is what a model says that keeps the
        /// whole history of each target and counts it anew.
        #[test]
        fn a_set_is_what_its_history_says(steps in prop::collection::vec(step(), 0..200)) {
            let check = Arc::new(check_upstream(|| async { true }));
            let mut config = HealthConfig::default().with_initial(Initial::Healthy);
            let policy = Policy::new(config.clone(), check, None, None);
            let mut watches = BTreeMap::<u8, Arc<Watch>>::new();
            let mut models = BTreeMap::<u8, Model>::new();
            for (port, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Enter(key) => {
                        let endpoint = Endpoint::new(format!("a:{}", port + 1)).unwrap();
                        let member = Member::new(endpoint.with_key(key.to_string()));
                        watches.insert(key, policy.watch_member(&member));
                        models.insert(key, Model { healthy: true, ..Model::default() });
                    }
                    Step::Leave(key) => {
                        watches.remove(&key);
                        models.remove(&key);
                    }
                    Step::Result(key, verdict) => {
                        let Some(watch) = watches.get(&key) else { continue };
                        let model = models.get_mut(&key).unwrap();
                        let generation = watch.record.generation();
                        let changed = watch.settle(generation, verdict.clone(), Duration::ZERO);
                        let success = match verdict {
                            Verdict::Skipped => {
                                prop_assert!(!changed);
                                continue;
                            }
                            Verdict::Unhealthy(_) => false,
                            _ => true,
                        };
                        model.results.push(success);
                        let same = model.results.iter().rev().take_while(|&&r| r == success);
                        let needed = if success { config.rise } else { config.fall };
                        let flips = success != model.healthy && same.count() >= needed as usize;
                        model.healthy ^= flips;
                        prop_assert_eq!(changed, flips);
                    }
                    Step::Config { rise, fall } => {
                        config = config.with_rise(rise).with_fall(fall);
                        policy.update(config.clone());
                    }
                }
                let expected: Vec<_> =
                    models.iter().filter(|(_, model)| model.healthy).map(|(key, _)| *key).collect();
                let set = policy.roster.healthy_set();
                let healthy: Vec<u8> =
                    set.endpoints.iter().map(|endpoint| endpoint.key().parse().unwrap()).collect();
                prop_assert_eq!(&healthy, &expected);
                prop_assert_eq!((set.healthy, set.total), (expected.len(), models.len()));
                for (key, watch) in &watches {
                    let (state, model) = (watch.record.state(), &models[key]);
                    prop_assert_eq!(state.checks as usize, model.results.len());
                    prop_assert_eq!(watch.member().unwrap().is_eligible(), model.healthy);
                    prop_assert_eq!(watch.word() & UNHEALTHY == 0, model.healthy);
                }
            }
        }
    }
}
