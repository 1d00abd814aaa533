//! What is known of one target, pure: what a check found and the time in, what that changes out.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{check::Verdict, config::HealthConfig, pace::Pace, report::HealthState};
use crate::{
    plugin::{HealthStatus, PluginStatus},
    rules::rise_fall::{Health, Rule, Streak},
    time::Instant,
};

/// A reason of a check is kept up to this length.
const MAX_REASON: usize = 256;

/// By what rules a target is judged, and what its checks found.
#[derive(Debug)]
pub(super) struct Record {
    config: Arc<HealthConfig>,
    /// Why it can never be checked.
    problem: Option<String>,
    /// Goes up whenever checks begin anew: those that run are of no meaning then.
    generation: u64,
    streak: Streak,
    /// What the last check complained of, though it was a success.
    degraded: Option<String>,
    checks: u64,
    failed: u64,
    last_error: Option<String>,
    /// The last failed check ran into its time limit.
    is_late: bool,
    last_latency: Option<Duration>,
    last_check: Option<SystemTime>,
    since: Instant,
    recovered_at: Option<Instant>,
}

/// What one check found, and when.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    pub(super) latency: Duration,
    /// Whether it ran into its time limit.
    pub(super) is_late: bool,
    /// Of the record, when the check began.
    pub(super) generation: u64,
    pub(super) at: Instant,
    pub(super) date: SystemTime,
}

/// What a finding changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is of an older generation, so it counts for nothing.
    Void,
    Nothing,
    Opens,
    Shuts,
}

impl Record {
    pub(super) fn new(config: Arc<HealthConfig>, now: Instant) -> Self {
        Self {
            streak: Streak::new(config.initial.is_healthy()),
            config,
            problem: None,
            generation: 0,
            degraded: None,
            checks: 0,
            failed: 0,
            last_error: None,
            is_late: false,
            last_latency: None,
            last_check: None,
            since: now,
            recovered_at: None,
        }
    }

    pub(super) fn config(&self) -> &Arc<HealthConfig> {
        &self.config
    }

    /// Goes on by `config` with what was found. Checks that were off, or now are, begin anew.
    pub(super) fn set_config(&mut self, config: Arc<HealthConfig>, now: Instant) {
        let is_switched = self.config.enabled != config.enabled;
        if is_switched || self.checks == 0 {
            *self = Self {
                generation: self.generation + u64::from(is_switched),
                problem: self.problem.take(),
                recovered_at: self.recovered_at,
                ..Self::new(config, now)
            };
        } else {
            self.config = config;
        }
    }

    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    pub(super) fn set_problem(&mut self, problem: Option<String>) {
        self.problem = problem;
    }

    /// To which generation a check belongs that begins now.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Lets no check count that runs.
    pub(super) fn void_checks(&mut self) {
        self.generation += 1;
    }

    pub(super) fn is_to_be_checked(&self) -> bool {
        self.config.enabled && self.problem.is_none()
    }

    /// Whether it is to be checked and never can be.
    pub(super) fn is_misused(&self) -> bool {
        self.config.enabled && self.problem.is_some()
    }

    /// Whether calls may pass, as far as checks say.
    pub(super) fn is_open(&self) -> bool {
        !self.config.enabled || self.streak.is_open()
    }

    pub(super) fn pace(&self, own_interval: Option<Duration>) -> Pace {
        Pace { config: self.config.clone(), is_settled: self.is_settled(), own_interval }
    }

    /// Whether there is no reason to look again soon.
    pub(super) fn is_settled(&self) -> bool {
        self.streak.is_settled()
    }

    pub(super) fn count(&mut self, finding: Finding) -> Change {
        let cut = |reason: &str| reason.chars().take(MAX_REASON).collect::<String>();
        if finding.generation != self.generation || !self.config.enabled {
            return Change::Void;
        }
        let (success, reason) = match finding.verdict {
            Verdict::Skipped => return Change::Nothing,
            Verdict::Healthy => (true, None),
            Verdict::Degraded(reason) => (true, Some(cut(&reason))),
            Verdict::Unhealthy(reason) => (false, Some(cut(&reason))),
        };
        self.checks += 1;
        (self.last_latency, self.last_check) = (Some(finding.latency), Some(finding.date));
        if success {
            self.degraded = reason;
        } else {
            self.failed += 1;
            (self.degraded, self.last_error, self.is_late) = (None, reason, finding.is_late);
        }
        let (rule, was_open) = (self.rule(), self.is_open());
        if rule.count(&mut self.streak, success) {
            self.since = finding.at;
        }
        match (was_open, self.is_open()) {
            (false, true) => {
                self.recovered_at = Some(self.since);
                Change::Opens
            }
            (true, false) => Change::Shuts,
            _ => Change::Nothing,
        }
    }

    /// Why calls may not pass.
    pub(super) fn reason(&self) -> Option<&str> {
        self.problem.as_deref().or(self.last_error.as_deref())
    }

    /// Whether the last failed check ran into its time limit.
    pub(super) fn is_late(&self) -> bool {
        self.is_late
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// `healthy` is what the gate says.
    pub(super) fn state(&self, healthy: bool, now: Instant) -> HealthState {
        HealthState {
            healthy,
            status: self.describe().0,
            successes: self.streak.successes,
            failures: self.streak.failures,
            checks: self.checks,
            failed: self.failed,
            last_error: self.last_error.clone(),
            last_latency: self.last_latency,
            since: self.since,
            lasting: now.saturating_duration_since(self.since),
            recovered_at: self.recovered_at,
        }
    }

    pub(super) fn status(&self) -> HealthStatus {
        let (status, message) = self.describe();
        let mut health = HealthStatus::new(status).with_message(message);
        health.last_check = self.last_check;
        health.response_time = self.last_latency.unwrap_or_default();
        match &self.last_error {
            Some(error) if !status.is_usable() => health.with_metadata("last_error", error),
            _ => health,
        }
    }

    fn rule(&self) -> Rule {
        Rule::new(self.config.rise, self.config.fall)
    }

    fn describe(&self) -> (PluginStatus, String) {
        let Streak { health, successes, failures } = self.streak;
        let is_ill = health == Health::Unhealthy;
        if !self.config.enabled {
            (PluginStatus::Healthy, "Health checking disabled".to_owned())
        } else if let Some(problem) = &self.problem {
            (PluginStatus::Unhealthy, problem.clone())
        } else if self.checks == 0 {
            (PluginStatus::Unknown, "Not checked yet".to_owned())
        } else if is_ill && self.rule().has_fallen(self.streak) {
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
