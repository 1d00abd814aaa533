use std::time::Duration;

/// Weight of a server that reports its own load: `qps / (utilization + eps / qps · penalty)`.
///
/// `qps` are its requests and `eps` its errors per second, `utilization` is the share of its capacity in use,
/// from 0 on. Source: gRFC A58. Returns 0, which means "unknown", unless both `qps` and `utilization` are
/// above 0.
///
/// ```
/// use tower_upstream::rules::reported_weight;
/// assert_eq!(reported_weight(100.0, 0.5, 0.0, 1.0), 200.0);
/// assert_eq!(reported_weight(100.0, 0.0, 0.0, 1.0), 0.0);
/// ```
pub fn reported_weight(qps: f64, utilization: f64, eps: f64, penalty: f64) -> f64 {
    if !(qps > 0.0 && utilization > 0.0) {
        return 0.0;
    }
    let errors = eps / qps * penalty;
    let weight = qps / (utilization + if errors > 0.0 { errors } else { 0.0 });
    if weight.is_finite() { weight } else { 0.0 }
}

/// When a reported weight is used.
///
/// Source: gRFC A58.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::rules::{Reported, ReportRule};
/// let (rule, second) = (ReportRule::default(), Duration::from_secs(1));
/// let mut server = Reported::default();
/// server.report(10.0, Duration::ZERO);
/// assert_eq!(server.weight(rule, 9 * second), 0.0);
/// assert_eq!(server.weight(rule, 10 * second), 10.0);
/// assert_eq!(server.weight(rule, 180 * second), 0.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportRule {
    /// How long reports must have come before they are used. Default: 10 s.
    pub blackout: Duration,
    /// How long after the last report the weight is unknown again. Default: 180 s.
    pub expiration: Duration,
}

impl Default for ReportRule {
    fn default() -> Self {
        Self { blackout: Duration::from_secs(10), expiration: Duration::from_secs(180) }
    }
}

/// What one server reported. [`ReportRule`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reported {
    weight: f64,
    last: Duration,
    /// Of the first report since none was known.
    since: Option<Duration>,
}

impl Reported {
    /// Takes a weight over. One that is not above 0 changes nothing.
    pub fn report(&mut self, weight: f64, now: Duration) {
        if weight > 0.0 && weight.is_finite() {
            self.since.get_or_insert(now);
            (self.weight, self.last) = (weight, now);
        }
    }

    /// Returns the weight, or 0 while it is unknown. After an expiration, the blackout begins anew.
    pub fn weight(&mut self, rule: ReportRule, now: Duration) -> f64 {
        if now.saturating_sub(self.last) >= rule.expiration {
            self.since = None;
        }
        match self.since {
            Some(since) if now.saturating_sub(since) >= rule.blackout => self.weight,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_reports_are_unknown() {
        let absurd = [f64::NAN, f64::INFINITY, -1.0, 0.0];
        for (qps, utilization) in
            absurd.into_iter().zip([1.0; 4]).chain([1.0; 4].into_iter().zip(absurd))
        {
            assert_eq!(reported_weight(qps, utilization, 0.0, 1.0), 0.0, "{qps} {utilization}");
        }
        assert_eq!(reported_weight(1.0, 1.0, f64::NAN, -5.0), 1.0);
        let mut server = Reported::default();
        absurd.iter().for_each(|&weight| server.report(weight, Duration::MAX));
        assert_eq!(server, Reported::default());
    }

    #[test]
    fn after_an_expiration_the_blackout_begins_anew() {
        let (rule, second) = (ReportRule::default(), Duration::from_secs(1));
        let mut server = Reported::default();
        server.report(4.0, second);
        assert_eq!(server.weight(rule, 11 * second), 4.0);
        assert_eq!(server.weight(rule, 181 * second), 0.0);
        server.report(5.0, 200 * second);
        assert_eq!([209, 210].map(|at| server.weight(rule, at * second)), [0.0, 5.0]);
    }
}
