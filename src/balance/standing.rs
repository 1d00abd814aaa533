//! How one member stands: healthy, warming up, ejected, on probation. The rule is in
//! [`rules`](crate::rules); this follows what its calls and its checks say.

use std::{sync::Arc, time::Duration};

use super::{config::BalanceConfig, outlier::OutlierConfig, probation::Probation};
use crate::{
    member::{Member, Reason, Veto},
    rules::{Calls, EndpointHealth, HealthRule, OutlierRule, Standing},
    sync::random_fraction,
    time::{self, Instant},
};

pub(super) struct Follow {
    health: EndpointHealth,
    ejected: Veto,
    busy: Arc<Veto>,
    probation: Option<Arc<Probation>>,
    /// What its calls came to up to the last sweep.
    swept: Calls,
    was_ill: bool,
    /// It is ejected, or on probation after that.
    is_away: bool,
    /// What a slow start leaves of its weight, in percent; 0 without one.
    warmth: u32,
    pub(super) was_good: bool,
}

/// By what members are judged, and when.
pub(super) struct Judge {
    pub(super) outlier: OutlierConfig,
    pub(super) rule: HealthRule,
    pub(super) sweep_rule: OutlierRule,
    /// What the rules count time from.
    start: Instant,
    pub(super) now: Instant,
}

impl Judge {
    pub(super) fn new(config: &BalanceConfig, start: Instant) -> Self {
        let outlier = config.outlier;
        let rule = outlier.rule(config.slow_start.rule());
        Self { outlier, rule, sweep_rule: outlier.sweep_rule(), start, now: time::now() }
    }

    pub(super) fn since_start(&self) -> Duration {
        self.now.saturating_duration_since(self.start)
    }

    /// What this factor leaves of a weight, in percent; 0 is that no weight is in percent.
    fn warmth(&self, factor: f64) -> u32 {
        let has_slow_start = !self.rule.slow_start.window.is_zero();
        if has_slow_start { (factor * 100.0).round() as u32 } else { 0 }
    }

    /// The moment that rules call so.
    pub(super) fn at(&self, elapsed: Duration) -> Instant {
        time::later(self.start, elapsed)
    }
}

/// While it warms up, its weight changes so many times.
const STEPS: u32 = 20;

impl Follow {
    pub(super) fn new(member: &Arc<Member>, judge: &Judge) -> Self {
        let is_ill = is_ill(member);
        Self {
            health: EndpointHealth::added(&judge.rule, judge.since_start(), is_ill),
            ejected: member.veto(Reason::Ejected),
            busy: Arc::new(member.veto(Reason::Busy)),
            probation: None,
            swept: member.ended_calls(),
            was_ill: is_ill,
            is_away: false,
            warmth: 0,
            was_good: false,
        }
    }

    /// Takes over what has happened by now, and tells when time alone changes something.
    pub(super) fn follow(&mut self, judge: &Judge) -> Option<Instant> {
        // As nearly all are, nearly always.
        if self.is_well(judge) {
            // There is none that an operator could have ended.
            self.member().take_unejected();
            return None;
        }
        self.follow_closely(judge)
    }

    fn is_well(&self, judge: &Judge) -> bool {
        self.health.is_settled()
            && !self.was_ill
            && self.member().word() & (Reason::Unhealthy.bits() | Reason::Ejected.bits()) == 0
            && self.warmth == judge.warmth(1.0)
    }

    fn follow_closely(&mut self, judge: &Judge) -> Option<Instant> {
        let (rule, now) = (&judge.rule, judge.since_start());
        let member = self.ejected.member().clone();
        let is_ill = is_ill(&member);
        if is_ill != std::mem::replace(&mut self.was_ill, is_ill) {
            self.health.checked(rule, !is_ill, now);
        }
        if self.is_away && member.take_check() && !is_ill {
            self.health.checked(rule, true, now);
        }
        if let Some(end) = self.probation.as_ref().and_then(|probation| probation.ended()) {
            let probe = self.health.started(now);
            self.health.ended(rule, end, probe, true, now, random_fraction());
        }
        self.health.advance(rule, now);
        let is_held = member.is_ejected_by_operator();
        let is_let_go = !judge.outlier.is_on() && self.is_away && !is_held;
        if member.take_unejected() || is_let_go {
            self.health.uneject(rule, now);
        }
        if is_held {
            self.health.hold(rule, now);
        }
        self.obey(judge);
        let factor = self.health.factor(rule, now);
        let is_warming = self.health.standing() == Standing::Warming;
        let warmth = judge.warmth(factor);
        if std::mem::replace(&mut self.warmth, warmth) != warmth {
            member.set_warmth(warmth);
        }
        let step = (rule.slow_start.window / STEPS).max(Duration::from_millis(10));
        let steps_at = is_warming.then(|| time::later(judge.now, step));
        let probation = self.probation.as_ref();
        let free_at = probation.and_then(|of| of.free_at(judge.now, rule.probe_timeout));
        self.ejected_until(judge).or(steps_at).or(free_at)
    }

    /// Raises and clears what follows from how it stands.
    fn obey(&mut self, judge: &Judge) {
        let standing = self.health.standing();
        let is_probation = standing == Standing::Probation;
        // While an operator ejects it, what the operator said bars it.
        match (self.ejected_until(judge), self.ejected.is_raised()) {
            (Some(until), false) => self.ejected.raise_until(until),
            (None, true) => self.ejected.clear(),
            _ => {}
        }
        match &self.probation {
            Some(probation) if !is_probation => {
                probation.end();
                self.probation = None;
            }
            None if is_probation => {
                self.probation = Some(Probation::new(self.busy.clone()));
            }
            _ => {}
        }
        let is_away = standing.is_ejected() || is_probation;
        // Only where that changes: what is told meanwhile is not lost.
        if std::mem::replace(&mut self.is_away, is_away) != is_away {
            let member = self.ejected.member();
            member.ask_for_check(is_away);
            if !is_away {
                // What failed before says nothing of the time after.
                member.reset_row();
            }
        }
    }

    /// Whether it failed so many times in a row that it is to be ejected.
    pub(super) fn has_failed(&self, rule: &HealthRule) -> bool {
        let member = self.ejected.member();
        rule.consecutive > 0
            && member.failures_in_a_row() >= rule.consecutive
            && !member.has_circuit()
            && !self.is_excluded()
            // On probation, one call alone decides.
            && matches!(self.health.standing(), Standing::Healthy | Standing::Warming)
    }

    /// Whether it is meant to get no calls, such as while it drains: what those fail that it still has is of no
    /// matter.
    pub(super) fn is_excluded(&self) -> bool {
        self.member().word() & Reason::EXCLUDED != 0
    }

    /// Its calls since the last sweep, unless it is not to be judged. Failures in a row are told of again.
    pub(super) fn sweep(&mut self) -> Option<Calls> {
        let is_judged = self.health.standing().is_available() && !self.is_excluded();
        if !self.is_away {
            self.member().ask_for_row();
        }
        let calls = self.ejected.member().ended_calls();
        let before = std::mem::replace(&mut self.swept, calls);
        is_judged.then_some(Calls {
            successes: calls.successes.saturating_sub(before.successes),
            failures: calls.failures.saturating_sub(before.failures),
        })
    }

    /// Ends its probation, since nothing else is available.
    pub(super) fn release(&mut self, judge: &Judge) {
        self.health.uneject(&judge.rule, judge.since_start());
        self.obey(judge);
        self.member().note(false);
    }

    pub(super) fn standing(&self) -> Standing {
        self.health.standing()
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.health.standing().is_ejected()
    }

    /// When its ejection ends, if it is ejected and time ends that.
    pub(super) fn ejected_until(&self, judge: &Judge) -> Option<Instant> {
        let until = self.health.ejected_until().filter(|_| !self.health.is_held());
        until.map(|until| judge.at(until))
    }

    pub(super) fn eject(&mut self, judge: &Judge) {
        self.health.eject(&judge.rule, judge.since_start(), random_fraction());
        self.obey(judge);
        let member = self.ejected.member();
        let until = member.barred_until(Reason::Ejected);
        let wait = until.map(|until| until.saturating_duration_since(judge.now));
        tracing::warn!(endpoint = member.key(), ?wait, "ejected: its calls fail");
    }

    pub(super) fn member(&self) -> &Arc<Member> {
        self.ejected.member()
    }

    pub(super) fn probation(&self) -> Option<&Arc<Probation>> {
        self.probation.as_ref()
    }
}

/// Whether checks, or discovery, say that it is unhealthy.
fn is_ill(member: &Member) -> bool {
    member.word() & Reason::Unhealthy.bits() != 0
}
