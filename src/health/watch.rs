//! What is checked, what is known of it, and who is told.

use std::{
    fmt,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use super::{
    check::{AnyCheck, Verdict},
    config::HealthConfig,
    handle::HealthState,
    prober::Queue,
    rule::{Counts, Rule},
};
use crate::{
    error::{Error, Kind},
    guard::ByMember,
    member::{Member, Reason, Veto},
    sync::lock,
    time::{self, Instant},
};

/// A reason of a check is kept up to this length.
const MAX_REASON: usize = 256;

/// What one layer value owns: all its gates share it.
pub(super) struct Policy {
    pub(super) config: HealthConfig,
    pub(super) check: Arc<dyn AnyCheck>,
    /// Above a balancer, or without one. Outlives the gates, so that a stack built anew for each
    /// connection does not forget.
    pub(super) alone: Arc<Record>,
    watch_alone: Mutex<Weak<Watch>>,
    pub(super) members: ByMember<Watch>,
    pub(super) queue: Queue,
}

impl Policy {
    pub(super) fn new(config: HealthConfig, check: Arc<dyn AnyCheck>) -> Arc<Self> {
        Arc::new(Self {
            config: config.clamped(),
            check,
            alone: Arc::default(),
            watch_alone: Mutex::default(),
            members: ByMember::default(),
            queue: Queue::default(),
        })
    }

    /// The watch over what has no member.
    pub(super) fn watch(self: &Arc<Self>) -> Arc<Watch> {
        let mut kept = lock(&self.watch_alone);
        kept.upgrade().unwrap_or_else(|| {
            let watch = Arc::new(Watch::new(self, self.alone.clone(), None));
            *kept = Arc::downgrade(&watch);
            watch
        })
    }

    /// The watch over `member`: the same as before, if it still lives.
    pub(super) fn watch_member(self: &Arc<Self>, member: &Arc<Member>) -> Arc<Watch> {
        let is_its = |watch: &Watch| {
            let of = watch.veto.as_ref().map(Veto::member);
            of.is_some_and(|of| Arc::ptr_eq(of, member))
        };
        self.members.get_or_insert(member, is_its, || {
            Watch::new(self, Arc::default(), Some(member.veto(Reason::Unhealthy)))
        })
    }
}

/// Something that is checked while a gate needs it. The prober knows it weakly.
pub(super) struct Watch {
    /// Why a gate has to look closer. Zero: healthy, and being checked.
    word: AtomicU32,
    record: Arc<Record>,
    veto: Option<Veto>,
    /// Why it can never be checked.
    problem: Option<Error>,
    pub(super) policy: Arc<Policy>,
}

pub(super) const UNHEALTHY: u32 = 1;
/// Nobody checks it: not started yet, or the runtime ended.
pub(super) const IDLE: u32 = 2;
pub(super) const MISUSED: u32 = 4;

impl Watch {
    fn new(policy: &Arc<Policy>, record: Arc<Record>, veto: Option<Veto>) -> Self {
        let endpoint = veto.as_ref().map(|veto| veto.member().endpoint());
        let problem = policy.check.problem_with(endpoint.as_deref());
        let problem = problem.map(|problem| {
            let error = Error::refused(Kind::InvalidConfig).message(problem);
            match &veto {
                Some(veto) => error.at_endpoint(veto.member().shared_key()),
                None => error,
            }
        });
        let word = match (&problem, record.is_healthy()) {
            (Some(_), _) => MISUSED,
            (None, true) => IDLE,
            (None, false) => IDLE | UNHEALTHY,
        };
        policy.queue.watch_begins();
        Self { word: AtomicU32::new(word), record, veto, problem, policy: policy.clone() }
    }

    #[inline]
    pub(super) fn word(&self) -> u32 {
        // Relaxed: a verdict is seconds old anyway, and nothing else is published with it.
        self.word.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, bits: u32) {
        self.word.fetch_or(bits, Ordering::Relaxed);
    }

    /// Clears `bits`, and tells whether all were set.
    pub(super) fn clear(&self, bits: u32) -> bool {
        self.word.fetch_and(!bits, Ordering::Relaxed) & bits == bits
    }

    pub(super) fn member(&self) -> Option<&Arc<Member>> {
        self.veto.as_ref().map(Veto::member)
    }

    pub(super) fn record(&self) -> &Arc<Record> {
        &self.record
    }

    pub(super) fn problem(&self) -> Error {
        let problem = self.problem.clone();
        problem.unwrap_or(Error::refused(Kind::InvalidConfig))
    }

    /// Counts one verdict, and tells everyone if it changes the state.
    pub(super) fn settle(&self, verdict: Verdict, latency: Duration) {
        let config = &self.policy.config;
        let rule = Rule::new(config.rise, config.fall);
        let Some(healthy) = self.record.count(rule, verdict, latency) else {
            return;
        };
        let endpoint = self.member().map_or("", |member| member.key());
        if healthy {
            self.clear(UNHEALTHY);
            tracing::info!(endpoint, "healthy again");
        } else {
            self.set(UNHEALTHY);
            let reason = self.record.state().last_error.unwrap_or_default();
            tracing::warn!(endpoint, reason, "unhealthy");
        }
        match &self.veto {
            Some(veto) if healthy => veto.clear(),
            Some(veto) => veto.raise(),
            None => {}
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.policy.queue.watch_ends();
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

/// What the checks of one thing found so far.
#[derive(Debug, Default)]
pub(super) struct Record {
    found: Mutex<Found>,
}

#[derive(Debug)]
struct Found {
    counts: Counts,
    checks: u64,
    failed: u64,
    last_error: Option<String>,
    last_latency: Option<Duration>,
    since: Instant,
}

impl Default for Found {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            checks: 0,
            failed: 0,
            last_error: None,
            last_latency: None,
            since: time::now(),
        }
    }
}

impl Record {
    fn is_healthy(&self) -> bool {
        lock(&self.found).counts.healthy
    }

    /// Counts one verdict. `Some`: the state changed to this.
    fn count(&self, rule: Rule, verdict: Verdict, latency: Duration) -> Option<bool> {
        let error = match verdict {
            Verdict::Skipped => return None,
            Verdict::Healthy => None,
            Verdict::Unhealthy(reason) => Some(reason.chars().take(MAX_REASON).collect()),
        };
        let mut found = lock(&self.found);
        found.checks += 1;
        found.last_latency = Some(latency);
        let success = error.is_none();
        if let Some(error) = error {
            found.failed += 1;
            found.last_error = Some(error);
        }
        let changed = rule.record(&mut found.counts, success);
        if changed {
            found.since = time::now();
        }
        changed.then_some(found.counts.healthy)
    }

    pub(super) fn state(&self) -> HealthState {
        let found = lock(&self.found);
        HealthState {
            healthy: found.counts.healthy,
            successes: found.counts.successes,
            failures: found.counts.failures,
            checks: found.checks,
            failed: found.failed,
            last_error: found.last_error.clone(),
            last_latency: found.last_latency,
            lasting: time::now().saturating_duration_since(found.since),
        }
    }
}
