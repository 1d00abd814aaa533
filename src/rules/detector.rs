use std::{collections::BTreeMap, time::Duration};

use super::{
    ejection::{EjectionLimit, EjectionTime, Population},
    rates::{Calls, FailurePercentage, SuccessRate},
    rng::Rng,
};

/// Ejects endpoints by their success rates, in sweeps.
///
/// Each sweep looks at the calls since the last one: first by success rate, then by failure percentage. An
/// ejection multiplies its time, a sweep without one lowers the multiplier by one; those whose time is over
/// come back. With neither rule, all come back. Source: gRFC A50; Envoy's differences are settings.
///
/// ```
/// use tower_upstream::rules::OutlierRule;
/// assert!(OutlierRule::default().failure_percentage.is_none());
/// assert_eq!(OutlierRule::grpc().max_ejection_percent, 10);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutlierRule {
    /// Compares endpoints with each other. Default: on.
    pub success_rate: Option<SuccessRate>,
    /// Looks at each endpoint alone. Default: off.
    pub failure_percentage: Option<FailurePercentage>,
    /// How long an ejection lasts.
    pub ejection: EjectionTime,
    /// How `max_ejection_percent` is meant. Default: at least one, never the last.
    pub limit: EjectionLimit,
    /// How many may be ejected. Default: 10.
    pub max_ejection_percent: u32,
}

impl Default for OutlierRule {
    fn default() -> Self {
        Self {
            success_rate: Some(SuccessRate::default()),
            failure_percentage: None,
            ejection: EjectionTime::default(),
            limit: EjectionLimit::default(),
            max_ejection_percent: 10,
        }
    }
}

impl OutlierRule {
    /// Creates the rule of gRFC A50, without jitter; both algorithms are off until they are set.
    pub fn grpc() -> Self {
        let ejection = EjectionTime { jitter_percent: 0.0, ..EjectionTime::default() };
        Self { success_rate: None, ejection, limit: EjectionLimit::Grpc, ..Self::default() }
    }

    /// Returns whether neither algorithm is on.
    pub fn is_off(&self) -> bool {
        self.success_rate.is_none() && self.failure_percentage.is_none()
    }

    /// Returns the outliers of one sweep in the order of their ejection, each with whether it is ejected: the
    /// limit allows it, and `is_enforced` for the percentage of the rule that found it. `calls` is one for each
    /// endpoint `of` a priority, and `None` for one that is not to be judged.
    ///
    /// ```
    /// use tower_upstream::rules::{Calls, FailurePercentage, OutlierRule, Population};
    /// let rule = OutlierRule { failure_percentage: Some(FailurePercentage::default()), ..OutlierRule::grpc() };
    /// let calls = [0, 99, 98, 0, 0].map(|failures| Some(Calls { successes: 100 - failures, failures }));
    /// let of = Population { hosts: 5, ejected: 0, available: 5 };
    /// assert_eq!(rule.outliers(&calls, of, |_| true), [(1, true), (2, false)]);
    /// ```
    pub fn outliers(
        &self,
        calls: &[Option<Calls>],
        mut of: Population,
        mut is_enforced: impl FnMut(u32) -> bool,
    ) -> Vec<(usize, bool)> {
        let by_rate = self.success_rate.map(|by| (by.outliers(calls), by.enforcement_percent));
        let by_percentage =
            self.failure_percentage.map(|by| (by.outliers(calls), by.enforcement_percent));
        let mut outliers = Vec::new();
        for (indices, percent) in by_rate.into_iter().chain(by_percentage) {
            for index in indices {
                // Found by both.
                if outliers.contains(&(index, true)) {
                    continue;
                }
                let is_allowed = self.limit.allows(of, self.max_ejection_percent);
                let is_ejected = is_allowed && is_enforced(percent);
                of.ejected += usize::from(is_ejected);
                of.available = of.available.saturating_sub(usize::from(is_ejected));
                outliers.push((index, is_ejected));
            }
        }
        outliers
    }
}

/// The endpoints of one priority, by key, with their calls and ejections.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::rules::{FailurePercentage, OutlierRule, OutlierDetector, Rng, Swept};
/// let by_failures = FailurePercentage { minimum_hosts: 3, request_volume: 5, ..Default::default() };
/// let rule = OutlierRule { failure_percentage: Some(by_failures), ..OutlierRule::grpc() };
/// let mut detector = OutlierDetector::new(["a", "b", "c"]);
/// for _ in 0..5 {
///     detector.record(&"a", false);
///     detector.record(&"b", true);
///     detector.record(&"c", true);
/// }
/// let swept = detector.sweep(&rule, Duration::ZERO, &mut Rng::new(1));
/// assert_eq!(swept, [Swept::Ejected("a")]);
/// assert!(detector.sweep(&rule, Duration::from_secs(29), &mut Rng::new(1)).is_empty());
/// let swept = detector.sweep(&rule, Duration::from_secs(30), &mut Rng::new(1));
/// assert_eq!(swept, [Swept::Unejected("a")]);
/// ```
#[derive(Debug, Clone)]
pub struct OutlierDetector<K> {
    hosts: BTreeMap<K, Host>,
}

#[derive(Debug, Clone, Default)]
struct Host {
    calls: Calls,
    multiplier: u32,
    ejected: Option<Ejected>,
}

#[derive(Debug, Clone, Copy)]
struct Ejected {
    at: Duration,
    /// From 0 to 1.
    jitter: f64,
}

/// What a sweep did. [`OutlierDetector`] has an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swept<K> {
    /// This one is ejected.
    Ejected(K),
    /// This one was found by a rule, but not ejected: too many are, or the rule is not enforced.
    Spared(K),
    /// The ejection of this one is over.
    Unejected(K),
}

impl<K: Ord + Clone> OutlierDetector<K> {
    /// Creates the state of these endpoints. The key is what makes an endpoint the same: if it has several
    /// addresses, all of them.
    pub fn new(keys: impl IntoIterator<Item = K>) -> Self {
        Self { hosts: keys.into_iter().map(|key| (key, Host::default())).collect() }
    }

    /// Replaces the endpoints. Those that stay keep their state.
    pub fn update(&mut self, keys: impl IntoIterator<Item = K>) {
        let mut before = std::mem::take(&mut self.hosts);
        let keep = |key| {
            let host = before.remove(&key).unwrap_or_default();
            (key, host)
        };
        self.hosts = keys.into_iter().map(keep).collect();
    }

    /// Counts a call of an endpoint, if it is one of these.
    pub fn record(&mut self, key: &K, is_success: bool) {
        if let Some(Host { calls, .. }) = self.hosts.get_mut(key) {
            let count = if is_success { &mut calls.successes } else { &mut calls.failures };
            *count = count.saturating_add(1);
        }
    }

    /// Returns whether an endpoint is ejected.
    pub fn is_ejected(&self, key: &K) -> bool {
        self.hosts.get(key).is_some_and(|host| host.ejected.is_some())
    }

    /// Returns the ejected endpoints, in the order of keys.
    pub fn ejected(&self) -> impl Iterator<Item = &K> {
        self.hosts.iter().filter(|(_, host)| host.ejected.is_some()).map(|(key, _)| key)
    }

    /// Ends the ejection of an endpoint, since an active check passed or an operator wants it.
    pub fn uneject(&mut self, key: &K) {
        if let Some(host) = self.hosts.get_mut(key) {
            host.ejected = None;
        }
    }

    /// Looks at the calls since the last sweep.
    pub fn sweep(&mut self, rule: &OutlierRule, now: Duration, rng: &mut Rng) -> Vec<Swept<K>> {
        let of_sweep = |host: &mut Host| {
            let calls = std::mem::take(&mut host.calls);
            host.ejected.is_none().then_some(calls)
        };
        let calls: Vec<_> = self.hosts.values_mut().map(of_sweep).collect();
        let mut swept = Vec::new();
        let (hosts, ejected) = (self.hosts.len(), self.ejected().count());
        let of = Population { hosts, ejected, available: hosts - ejected };
        for (index, is_ejected) in rule.outliers(&calls, of, |percent| rng.below(100) < percent) {
            let Some((key, host)) = self.hosts.iter_mut().nth(index) else { continue };
            if !is_ejected {
                swept.push(Swept::Spared(key.clone()));
                continue;
            }
            host.multiplier = rule.ejection.raise(host.multiplier);
            host.ejected = Some(Ejected { at: now, jitter: rng.fraction() });
            swept.push(Swept::Ejected(key.clone()));
        }
        for (key, host) in &mut self.hosts {
            let Some(Ejected { at, jitter }) = host.ejected else {
                host.multiplier = host.multiplier.saturating_sub(1);
                continue;
            };
            let time = rule.ejection.after(host.multiplier, jitter);
            if rule.is_off() || now >= at.saturating_add(time) {
                host.ejected = None;
                swept.push(Swept::Unejected(key.clone()));
            }
        }
        swept
    }
}

/// Returns how long it is until the next sweep, if the interval changes when `elapsed` of it has passed.
///
/// Source: gRFC A50.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::rules::next_sweep;
/// assert_eq!(next_sweep(Duration::from_secs(5), Duration::from_secs(9)), Duration::from_secs(4));
/// ```
pub const fn next_sweep(elapsed: Duration, interval: Duration) -> Duration {
    interval.saturating_sub(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Rng;
    use proptest::prelude::*;

    fn rule() -> OutlierRule {
        let by = FailurePercentage {
            minimum_hosts: 1,
            request_volume: 1,
            ..FailurePercentage::default()
        };
        OutlierRule { failure_percentage: Some(by), ..OutlierRule::grpc() }
    }

    #[test]
    fn each_ejection_lasts_longer_until_sweeps_without_one() {
        let (mut of, mut rng, mut now) = (OutlierDetector::new([0, 1]), Rng::new(1), 0);
        let mut lasts = |of: &mut OutlierDetector<i32>| {
            of.record(&0, false);
            let start = now;
            loop {
                let swept = of.sweep(&rule(), Duration::from_secs(now), &mut rng);
                if swept.contains(&Swept::Unejected(0)) {
                    return now - start;
                }
                now += 10;
            }
        };
        assert_eq!([(); 3].map(|()| lasts(&mut of)), [30, 60, 90]);
        for _ in 0..2 {
            of.sweep(&rule(), Duration::from_secs(900), &mut Rng::new(1));
        }
        of.record(&0, false);
        of.sweep(&rule(), Duration::from_secs(1_000), &mut Rng::new(1));
        of.update([0, 2]);
        assert!(of.is_ejected(&0), "those that stay keep their state");
        assert_eq!(of.sweep(&rule(), Duration::from_secs(1_059), &mut Rng::new(1)), []);
        let off = OutlierRule::grpc();
        assert_eq!(
            of.sweep(&off, Duration::from_secs(1_059), &mut Rng::new(1)),
            [Swept::Unejected(0)]
        );
    }

    proptest! {
        /// However many fail, the limit holds, and one stays.
        #[test]
        fn the_limit_holds(hosts in 1_usize..40, failing in 0_usize..40, percent in 1_u32..=100, seed: u64) {
            let rule = OutlierRule {
                max_ejection_percent: percent,
                limit: EjectionLimit::AtLeastOne,
                ..rule()
            };
            let mut of = OutlierDetector::new(0..hosts);
            for key in 0..hosts {
                of.record(&key, key >= failing);
            }
            of.sweep(&rule, Duration::ZERO, &mut Rng::new(seed));
            let most = (hosts * percent as usize / 100).max(1).min(hosts - 1);
            prop_assert_eq!(of.ejected().count(), failing.min(hosts).min(most));
        }
    }
}
