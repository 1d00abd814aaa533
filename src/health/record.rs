//! What the checks of one target found so far.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use super::{
    check::Verdict,
    config::HealthConfig,
    handle::HealthState,
    rule::{Counts, Rule, Standing},
};
use crate::{
    member::Member,
    plugin::{HealthStatus, PluginStatus},
    sync::lock,
    time::{self, Instant},
};

/// A reason of a check is kept up to this length.
const MAX_REASON: usize = 256;

/// A target, by what rules it is judged, and what is known of it.
#[derive(Debug)]
pub(super) struct Record {
    /// `None` above a balancer, or without one.
    pub(super) member: Option<Arc<Member>>,
    found: Mutex<Found>,
}

#[derive(Debug)]
struct Found {
    config: Arc<HealthConfig>,
    /// Goes up whenever checks are switched on or off.
    generation: u64,
    counts: Counts,
    /// Why it can never be checked.
    problem: Option<String>,
    /// What the last check complained of, though it was a success.
    degraded: Option<String>,
    checks: u64,
    failed: u64,
    last_error: Option<String>,
    last_latency: Option<Duration>,
    last_check: Option<SystemTime>,
    since: Instant,
    recovered_at: Option<Instant>,
}

impl Record {
    pub(super) fn new(config: Arc<HealthConfig>, member: Option<Arc<Member>>) -> Arc<Self> {
        Arc::new(Self { member, found: Mutex::new(Found::new(config)) })
    }

    pub(super) fn key(&self) -> &str {
        self.member.as_ref().map_or("", |member| member.key())
    }

    pub(super) fn config(&self) -> Arc<HealthConfig> {
        lock(&self.found).config.clone()
    }

    /// Goes on by `config` with what was found. Checks that were off, or now are, begin anew.
    pub(super) fn set_config(&self, config: Arc<HealthConfig>) {
        let mut found = lock(&self.found);
        let is_switched = found.config.enabled != config.enabled;
        if is_switched || found.checks == 0 {
            *found = Found {
                generation: found.generation + u64::from(is_switched),
                problem: found.problem.take(),
                recovered_at: found.recovered_at,
                ..Found::new(config)
            };
        } else {
            found.config = config;
        }
    }

    pub(super) fn set_problem(&self, problem: Option<String>) {
        lock(&self.found).problem = problem;
    }

    /// Whether it can never be checked.
    pub(super) fn has_problem(&self) -> bool {
        lock(&self.found).problem.is_some()
    }

    /// To which generation a check belongs that begins now.
    pub(super) fn generation(&self) -> u64 {
        lock(&self.found).generation
    }

    /// Whether calls may pass.
    pub(super) fn is_open(&self) -> bool {
        lock(&self.found).is_open()
    }

    /// Whether there is no reason to look again soon.
    pub(super) fn is_settled(&self) -> bool {
        lock(&self.found).counts.is_settled()
    }

    /// Counts one verdict of a check that began in `generation`. `None`: that is over, so it is of
    /// no meaning. `Some(Some(_))`: the gate opens, or shuts.
    pub(super) fn count(
        &self,
        generation: u64,
        verdict: Verdict,
        latency: Duration,
    ) -> Option<Option<bool>> {
        let cut = |reason: &str| reason.chars().take(MAX_REASON).collect::<String>();
        let (success, reason) = match verdict {
            Verdict::Skipped => return (self.generation() == generation).then_some(None),
            Verdict::Healthy => (true, None),
            Verdict::Degraded(reason) => (true, Some(cut(&reason))),
            Verdict::Unhealthy(reason) => (false, Some(cut(&reason))),
        };
        let mut found = lock(&self.found);
        if found.generation != generation || !found.config.enabled {
            return None;
        }
        found.checks += 1;
        found.last_latency = Some(latency);
        found.last_check = Some(SystemTime::now());
        if success {
            found.degraded = reason;
        } else {
            found.failed += 1;
            (found.degraded, found.last_error) = (None, reason);
        }
        let (rule, was_open) = (found.rule(), found.is_open());
        if rule.record(&mut found.counts, success) {
            found.since = time::now();
        }
        let is_open = found.is_open();
        if is_open == was_open {
            return Some(None);
        }
        if is_open {
            found.recovered_at = Some(found.since);
            if let Some(member) = &self.member {
                member.recover(found.since);
            }
        }
        Some(Some(is_open))
    }

    pub(super) fn state(&self) -> HealthState {
        let found = lock(&self.found);
        HealthState {
            healthy: found.is_open(),
            status: found.status().0,
            successes: found.counts.successes,
            failures: found.counts.failures,
            checks: found.checks,
            failed: found.failed,
            last_error: found.last_error.clone(),
            last_latency: found.last_latency,
            since: found.since,
            lasting: time::now().saturating_duration_since(found.since),
            recovered_at: found.recovered_at,
        }
    }

    pub(super) fn status(&self) -> HealthStatus {
        let found = lock(&self.found);
        let (status, message) = found.status();
        let mut health = HealthStatus::new(status).with_message(message);
        health.last_check = found.last_check;
        health.response_time = found.last_latency.unwrap_or_default();
        match &found.last_error {
            Some(error) if !status.is_usable() => health.with_metadata("last_error", error),
            _ => health,
        }
    }
}

impl Found {
    fn new(config: Arc<HealthConfig>) -> Self {
        Self {
            counts: Counts::new(config.initial),
            config,
            generation: 0,
            problem: None,
            degraded: None,
            checks: 0,
            failed: 0,
            last_error: None,
            last_latency: None,
            last_check: None,
            since: time::now(),
            recovered_at: None,
        }
    }

    fn rule(&self) -> Rule {
        Rule::new(self.config.rise, self.config.fall)
    }

    fn is_open(&self) -> bool {
        !self.config.enabled || (self.problem.is_none() && self.counts.is_open())
    }

    fn status(&self) -> (PluginStatus, String) {
        let Counts { standing, successes, failures } = self.counts;
        let is_ill = standing == Standing::Unhealthy;
        if !self.config.enabled {
            (PluginStatus::Healthy, "Health checking disabled".to_owned())
        } else if let Some(problem) = &self.problem {
            (PluginStatus::Unhealthy, problem.clone())
        } else if self.checks == 0 {
            (PluginStatus::Unknown, "Not checked yet".to_owned())
        } else if is_ill && self.rule().has_fallen(self.counts) {
            (PluginStatus::Offline, "Exceeded consecutive failure limit".to_owned())
        } else if failures > 0 {
            (PluginStatus::Unhealthy, self.last_error.clone().unwrap_or_default())
        } else if is_ill {
            let rise = self.config.rise;
            (PluginStatus::Unhealthy, format!("Recovering: {successes} of {rise} checks succeeded"))
        } else if let Some(reason) = &self.degraded {
            (PluginStatus::Degraded, reason.clone())
        } else {
            (PluginStatus::Healthy, "OK".to_owned())
        }
    }
}
