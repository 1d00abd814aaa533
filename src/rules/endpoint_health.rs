use std::time::Duration;

use super::{
    ejection::EjectionTime,
    slow_start::SlowStart,
    standing::{Standing, StandingEvent},
};

/// When an endpoint is ejected for failures in a row, and how it comes back.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::rules::{CallEnd, EndpointHealth, HealthRule, Standing};
/// let (rule, now) = (HealthRule::default(), Duration::ZERO);
/// let mut endpoint = EndpointHealth::added(&rule, now, false);
/// for _ in 0..5 {
///     endpoint.ended(&rule, CallEnd::Failed, None, true, now, 0.0);
/// }
/// assert_eq!(endpoint.standing(), Standing::Ejected);
/// endpoint.advance(&rule, Duration::from_secs(30));
/// assert_eq!(endpoint.standing(), Standing::Probation);
/// let probe = endpoint.started();
/// assert!(!endpoint.is_selectable(), "one at a time");
/// endpoint.ended(&rule, CallEnd::Succeeded, probe, true, Duration::from_secs(31), 0.0);
/// assert_eq!(endpoint.standing(), Standing::Healthy, "without slow start");
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HealthRule {
    /// How many failures in a row eject. 0 switches it off. Default: 5.
    pub consecutive: u32,
    /// How long an ejection lasts.
    pub ejection: EjectionTime,
    /// How long without an ejection the multiplier of that time falls by one. Default: 10 s.
    pub forgive_every: Duration,
    /// How the endpoint warms up after it joined or recovered. Default: off.
    pub slow_start: SlowStart,
}

impl Default for HealthRule {
    fn default() -> Self {
        Self {
            consecutive: 5,
            ejection: EjectionTime::default(),
            forgive_every: Duration::from_secs(10),
            slow_start: SlowStart::default(),
        }
    }
}

/// How a call ended, as far as its endpoint is concerned. [`HealthRule`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// The endpoint did its work.
    Succeeded,
    /// It did not, and that was its fault.
    Failed,
    /// It refused the call as one too many (429): fails a probe, but is not a failure in a row.
    Throttled,
    /// It is no evidence, such as a call that was dropped. Gives the place of a probe back.
    Ignored,
}

/// A call in probation: [`EndpointHealth::ended`] takes it back. [`HealthRule`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    probation: u32,
}

/// One endpoint: its [`Standing`], and what changes it. [`HealthRule`] has an example.
///
/// Time changes the standing in [`advance`](Self::advance), which every other method with a `now` does first.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointHealth {
    standing: Standing,
    /// Since when it is that.
    since: Duration,
    failures: u32,
    multiplier: u32,
    until: Duration,
    /// From when on the next ejections are forgiven.
    forgiven: Duration,
    /// Counts probations, so that a call of an earlier one is told apart.
    probation: u32,
    is_probed: bool,
}

impl EndpointHealth {
    /// Creates the state of an endpoint that joined now. It warms up; if it is checked actively, it is unhealthy
    /// until a check passes.
    pub fn added(rule: &HealthRule, now: Duration, is_checked: bool) -> Self {
        let standing = if is_checked { Standing::Unhealthy } else { Standing::Warming };
        let mut this = Self {
            standing,
            since: now,
            failures: 0,
            multiplier: 0,
            until: now,
            forgiven: now,
            probation: 0,
            is_probed: false,
        };
        this.advance(rule, now);
        this
    }

    /// Returns what it is, as of the last [`advance`](Self::advance).
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Returns whether it may get a call now.
    pub fn is_selectable(&self) -> bool {
        self.standing.is_available() && !self.is_probed
    }

    /// Returns how long it was ejected for, if it is.
    pub fn ejected_until(&self) -> Option<Duration> {
        self.standing.is_ejected().then_some(self.until)
    }

    /// Whether time changes nothing.
    pub(crate) fn is_settled(&self) -> bool {
        self.standing == Standing::Healthy && self.multiplier == 0
    }

    /// Returns the multiplier of the next ejection's time, less one.
    pub fn multiplier(&self) -> u32 {
        self.multiplier
    }

    /// Returns the factor for its weight: below 1 while it warms up.
    pub fn factor(&self, rule: &HealthRule, now: Duration) -> f64 {
        let is_warming = self.standing == Standing::Warming;
        if is_warming { rule.slow_start.factor(now.saturating_sub(self.since)) } else { 1.0 }
    }

    /// Lets time pass: ejections and slow starts end, and past ejections are forgiven.
    pub fn advance(&mut self, rule: &HealthRule, now: Duration) {
        if self.standing.is_ejected() && now >= self.until {
            self.on(StandingEvent::Expire, now);
        }
        let warm = self.since.saturating_add(rule.slow_start.window);
        if self.standing == Standing::Warming && now >= warm {
            self.on(StandingEvent::Warmed, now);
        }
        while self.multiplier > 0 && !self.standing.is_ejected() {
            let next = self.forgiven.saturating_add(rule.forgive_every);
            if now < next || self.standing == Standing::Probation {
                break;
            }
            (self.multiplier, self.forgiven) = (self.multiplier - 1, next);
        }
    }

    /// A call starts. In probation, it is the probe.
    pub fn started(&mut self) -> Option<Probe> {
        let is_probe = self.standing == Standing::Probation && !self.is_probed;
        self.is_probed |= is_probe;
        is_probe.then_some(Probe { probation: self.probation })
    }

    /// A call ended. `may_eject` is what the [limit](super::EjectionLimit) says; a probe that fails ejects
    /// without it. `random`, from 0 to 1, is the jitter of an ejection.
    pub fn ended(
        &mut self,
        rule: &HealthRule,
        end: CallEnd,
        probe: Option<Probe>,
        may_eject: bool,
        now: Duration,
        random: f64,
    ) {
        self.advance(rule, now);
        let is_probe = self.standing == Standing::Probation;
        if let Some(probe) = probe {
            if !is_probe || probe.probation != self.probation {
                return;
            }
            self.is_probed = false;
            match end {
                CallEnd::Succeeded => self.on(StandingEvent::ProbeSucceeded, now),
                CallEnd::Failed | CallEnd::Throttled => {
                    self.eject_on(StandingEvent::ProbeFailed, rule, now, random);
                }
                CallEnd::Ignored => {}
            }
            return self.advance(rule, now);
        }
        // What was sent before an ejection says nothing of the time after it.
        if is_probe || self.standing.is_ejected() {
            return;
        }
        match end {
            CallEnd::Succeeded => self.failures = 0,
            CallEnd::Failed => self.failures = self.failures.saturating_add(1),
            CallEnd::Throttled | CallEnd::Ignored => {}
        }
        if rule.consecutive > 0 && self.failures >= rule.consecutive {
            self.failures = 0;
            if may_eject {
                self.eject(rule, now, random);
            }
        }
    }

    /// An active check passed, or so many failed that the endpoint is unhealthy.
    pub fn checked(&mut self, rule: &HealthRule, is_healthy: bool, now: Duration) {
        self.advance(rule, now);
        self.on(
            if is_healthy { StandingEvent::CheckPassed } else { StandingEvent::CheckFailed },
            now,
        );
        self.advance(rule, now);
    }

    /// Ejects it: a sweep over success rates found it, or an operator wants it.
    pub fn eject(&mut self, rule: &HealthRule, now: Duration, random: f64) {
        self.advance(rule, now);
        self.eject_on(StandingEvent::Eject, rule, now, random);
    }

    /// Ejects it until [`uneject`](Self::uneject), as an operator wants it: neither time nor a check ends that.
    /// Call it again after whatever else happens while it holds.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::rules::{EndpointHealth, HealthRule, Standing};
    /// let (rule, late) = (HealthRule::default(), Duration::from_secs(1_000_000));
    /// let mut endpoint = EndpointHealth::added(&rule, Duration::ZERO, false);
    /// endpoint.hold(&rule, Duration::ZERO);
    /// endpoint.advance(&rule, late);
    /// assert!(endpoint.is_held());
    /// endpoint.uneject(&rule, late);
    /// assert_eq!((endpoint.standing(), endpoint.multiplier()), (Standing::Healthy, 0));
    /// ```
    pub fn hold(&mut self, rule: &HealthRule, now: Duration) {
        self.advance(rule, now);
        self.on(StandingEvent::Eject, now);
        self.until = Duration::MAX;
    }

    /// Returns whether it is [held](Self::hold).
    pub fn is_held(&self) -> bool {
        self.standing.is_ejected() && self.until == Duration::MAX
    }

    /// Ends its ejection or probation.
    pub fn uneject(&mut self, rule: &HealthRule, now: Duration) {
        self.advance(rule, now);
        self.on(StandingEvent::Uneject, now);
        self.advance(rule, now);
    }

    fn eject_on(&mut self, event: StandingEvent, rule: &HealthRule, now: Duration, random: f64) {
        let was_ejected = self.standing.is_ejected();
        self.on(event, now);
        if self.standing.is_ejected() && !was_ejected {
            self.multiplier = rule.ejection.raise(self.multiplier);
            self.until = now.saturating_add(rule.ejection.after(self.multiplier, random));
        }
    }

    fn on(&mut self, event: StandingEvent, now: Duration) {
        let before = self.standing;
        self.standing = before.on(event);
        if before == self.standing {
            return;
        }
        self.since = now;
        // Each ejection, and each return, starts to count anew.
        (self.failures, self.is_probed) = (0, false);
        if before.is_ejected() && !self.standing.is_ejected() {
            self.forgiven = now;
            self.probation = self.probation.wrapping_add(1);
        }
    }
}

#[cfg(test)]
#[path = "endpoint_health_tests.rs"]
mod tests;
