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
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rule() -> HealthRule {
        let slow_start = SlowStart { window: 10 * SECOND, ..SlowStart::default() };
        HealthRule { slow_start, ..HealthRule::default() }
    }

    fn fail(of: &mut EndpointHealth, times: u32, now: Duration) {
        (0..times).for_each(|_| of.ended(&rule(), CallEnd::Failed, None, true, now, 0.0));
    }

    #[test]
    fn an_ejection_probation_and_slow_start() {
        let mut of = EndpointHealth::added(&rule(), Duration::ZERO, false);
        assert_eq!((of.standing(), of.factor(&rule(), 2 * SECOND)), (Standing::Warming, 0.2));
        fail(&mut of, 4, SECOND);
        of.ended(&rule(), CallEnd::Throttled, None, true, SECOND, 0.0);
        assert_eq!(of.standing(), Standing::Warming, "429 is no failure in a row");
        fail(&mut of, 1, SECOND);
        assert_eq!(of.ejected_until(), Some(31 * SECOND));
        fail(&mut of, 9, 31 * SECOND);
        assert_eq!(of.standing(), Standing::Probation, "calls of before do not count");
        let probe = of.started();
        assert_eq!((of.started(), of.is_selectable()), (None, false));
        of.ended(&rule(), CallEnd::Ignored, probe, true, 32 * SECOND, 0.0);
        assert!(of.is_selectable(), "a dropped probe gives its place back");
        let probe = of.started();
        of.ended(&rule(), CallEnd::Throttled, probe, false, 33 * SECOND, 0.0);
        assert_eq!((of.ejected_until(), of.multiplier()), (Some(93 * SECOND), 2));
        of.advance(&rule(), 93 * SECOND);
        let probe = of.started();
        of.ended(&rule(), CallEnd::Succeeded, probe, true, 94 * SECOND, 0.0);
        assert_eq!((of.standing(), of.factor(&rule(), 99 * SECOND)), (Standing::Warming, 0.5));
        of.advance(&rule(), 104 * SECOND);
        assert_eq!((of.standing(), of.multiplier()), (Standing::Healthy, 1));
        of.advance(&rule(), 200 * SECOND);
        assert_eq!(of.multiplier(), 0);
    }

    /// A second ejection takes as many failures as the first.
    #[test]
    fn each_ejection_starts_to_count_anew() {
        let mut of = EndpointHealth::added(&rule(), Duration::ZERO, false);
        fail(&mut of, 5, SECOND);
        of.checked(&rule(), true, 2 * SECOND);
        assert_eq!(of.standing(), Standing::Warming, "a passing check ends it");
        fail(&mut of, 4, 3 * SECOND);
        assert_eq!(of.standing(), Standing::Warming);
        fail(&mut of, 1, 3 * SECOND);
        assert_eq!(of.standing(), Standing::Ejected);
    }

    #[test]
    fn a_probe_of_an_earlier_probation_says_nothing() {
        let mut of = EndpointHealth::added(&rule(), Duration::ZERO, false);
        of.eject(&rule(), Duration::ZERO, 0.0);
        of.advance(&rule(), 30 * SECOND);
        let old = of.started();
        of.uneject(&rule(), 31 * SECOND);
        of.eject(&rule(), 32 * SECOND, 0.0);
        of.advance(&rule(), 92 * SECOND);
        let new = of.started();
        of.ended(&rule(), CallEnd::Succeeded, old, true, 92 * SECOND, 0.0);
        assert_eq!((of.standing(), of.is_selectable()), (Standing::Probation, false));
        of.ended(&rule(), CallEnd::Succeeded, new, true, 92 * SECOND, 0.0);
        assert_eq!(of.standing(), Standing::Warming);
    }

    #[test]
    fn what_is_checked_waits_for_its_first_check() {
        let mut of = EndpointHealth::added(&rule(), Duration::ZERO, true);
        assert!(!of.is_selectable());
        of.checked(&rule(), true, 5 * SECOND);
        of.checked(&rule(), true, 9 * SECOND);
        assert_eq!(of.factor(&rule(), 10 * SECOND), 0.5, "a further check starts nothing anew");
        of.checked(&rule(), false, 11 * SECOND);
        of.checked(&rule(), true, 12 * SECOND);
        assert_eq!(of.factor(&rule(), 13 * SECOND), 0.1, "a recovery does");
    }

    proptest! {
        /// Whatever happens, there is at most one probe, and an end of the ejection is known.
        #[test]
        fn no_sequence_breaks_it(
            steps in prop::collection::vec((0_u8..8, 0_u64..100_000, any::<bool>()), 0..200),
        ) {
            let (mut of, mut now) = (EndpointHealth::added(&rule(), Duration::ZERO, false), Duration::ZERO);
            let mut probes = Vec::new();
            for (step, wait, flag) in steps {
                now += Duration::from_millis(wait);
                match step {
                    0 => of.advance(&rule(), now),
                    1 => {
                        of.advance(&rule(), now);
                        let was_selectable = of.is_selectable();
                        if let Some(probe) = of.started() {
                            prop_assert!(was_selectable);
                            prop_assert!(!probes.contains(&probe), "two at once");
                            probes.push(probe);
                        }
                    }
                    2 if flag => {
                        let probe = probes.pop();
                        of.ended(&rule(), CallEnd::Succeeded, probe, true, now, 0.5);
                    }
                    2 => {
                        let probe = probes.pop();
                        of.ended(&rule(), CallEnd::Ignored, probe, true, now, 0.5);
                    }
                    3 => fail(&mut of, 5, now),
                    4 => of.checked(&rule(), flag, now),
                    5 => of.eject(&rule(), now, 1.0),
                    6 => of.uneject(&rule(), now),
                    _ => of.ended(&rule(), CallEnd::Throttled, None, flag, now, 0.0),
                }
                prop_assert!(of.ejected_until().is_none_or(|until| until > now));
                prop_assert_eq!(of.ejected_until().is_some(), of.standing().is_ejected());
                prop_assert!(of.multiplier() <= 11);
            }
        }
    }
}
