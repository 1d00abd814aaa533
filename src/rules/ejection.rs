use std::time::Duration;

use super::standing::Standing;

/// How long an endpoint is ejected, and that it grows from one ejection to the next.
///
/// `min(base · multiplier, max(base, max))`, plus jitter so that endpoints that were ejected together do not
/// come back together. The multiplier counts the ejections, and falls by one for each sweep in which the
/// endpoint was well. Source: gRFC A50, which has no jitter, and Envoy, whose jitter is a fixed time.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::rules::EjectionTime;
/// let time = EjectionTime { jitter_percent: 0.0, ..EjectionTime::default() };
/// assert_eq!([1, 2, 50].map(|n| time.after(n, 0.0).as_secs()), [30, 60, 300]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EjectionTime {
    /// Time of the first ejection. Default: 30 s.
    pub base: Duration,
    /// Longest time, before jitter; at least `base`. Default: 300 s.
    pub max: Duration,
    /// Largest jitter, as a share of the time. NaN or less than 0 counts as 0. Default: 10.
    pub jitter_percent: f64,
    /// Largest jitter beside that, as in Envoy. Default: zero.
    pub max_jitter: Duration,
}

impl Default for EjectionTime {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(30),
            max: Duration::from_secs(300),
            jitter_percent: 10.0,
            max_jitter: Duration::ZERO,
        }
    }
}

impl EjectionTime {
    /// Returns the time of an ejection, where `multiplier` is 1 for the first and `random` is from 0 to 1.
    pub fn after(&self, multiplier: u32, random: f64) -> Duration {
        let time = self.base.saturating_mul(multiplier).min(self.max.max(self.base));
        let random = if random.is_nan() { 0.0 } else { random.clamp(0.0, 1.0) };
        let jitter = nanos(time) * (self.jitter_percent / 100.0).max(0.0) + nanos(self.max_jitter);
        // A cast of a float saturates.
        time.saturating_add(Duration::from_nanos((jitter * random) as u64))
    }

    /// Returns the multiplier after one more ejection. It stops one step beyond the longest time, as in Envoy,
    /// so that it falls soon when the endpoint is well.
    ///
    /// ```
    /// use tower_upstream::rules::EjectionTime;
    /// let time = EjectionTime::default();
    /// assert_eq!((0..50).fold(0, |multiplier, _| time.raise(multiplier)), 11);
    /// ```
    pub fn raise(&self, multiplier: u32) -> u32 {
        let end = self.max.max(self.base).saturating_add(self.base);
        let is_below = self.base.saturating_mul(multiplier) < end;
        multiplier.saturating_add(u32::from(is_below))
    }
}

fn nanos(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}

/// How many endpoints of one priority may be ejected at the same time.
///
/// ```
/// use tower_upstream::rules::{EjectionLimit, Population};
/// let of = |hosts, ejected| Population { hosts, ejected, available: hosts - ejected };
/// let (ours, grpc, envoy) = (EjectionLimit::AtLeastOne, EjectionLimit::Grpc, EjectionLimit::Envoy);
/// assert!(ours.allows(of(3, 0), 10) && grpc.allows(of(3, 0), 10) && !envoy.allows(of(3, 0), 10));
/// assert!(!ours.allows(of(3, 1), 50) && grpc.allows(of(3, 1), 50));
/// assert!(!ours.allows(of(1, 0), 100), "never the last");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EjectionLimit {
    /// `ejected + 1 <= max(1, ⌊percent · hosts⌋)`, and never the last that is available. 0 % allows none.
    #[default]
    AtLeastOne,
    /// `ejected / hosts < percent`, so the last ejection may exceed it. Source: gRFC A50.
    Grpc,
    /// `(ejected + 1) / hosts <= percent`, so there may be none in a small set. Source: Envoy.
    Envoy,
    /// Like `Envoy`, but one may always be ejected. Source: Envoy's `always_eject_one_host`.
    EnvoyAlwaysOne,
}

/// The endpoints of one priority, or of whatever a limit is for.
///
/// ```
/// use tower_upstream::rules::{EjectionLimit, Population, Standing};
/// let mut of = Population::default();
/// of.count(Standing::Healthy, false);
/// of.count(Standing::Probation, false);
/// assert!(!EjectionLimit::AtLeastOne.allows(of, 100), "one call at a time is not enough");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Population {
    /// All of them.
    pub hosts: usize,
    /// Those that are ejected, or on probation after that.
    pub ejected: usize,
    /// Those that get all calls that come: neither ejected nor on probation nor unhealthy.
    pub available: usize,
}

impl Population {
    /// Counts an endpoint. `is_barred` is that something beside its standing keeps calls away, such as an open
    /// circuit. One that is to get no calls, since it drains or is switched off, is not to be counted.
    pub fn count(&mut self, standing: Standing, is_barred: bool) {
        // On probation it takes one call at a time, which is no place for the calls of others.
        let is_ejected = standing.is_ejected() || standing == Standing::Probation;
        self.hosts += 1;
        self.ejected += usize::from(is_ejected);
        self.available += usize::from(standing.is_available() && !is_ejected && !is_barred);
    }
}

impl EjectionLimit {
    /// Returns whether one more endpoint, that is available, may be ejected. More than 100 % is 100 %.
    pub fn allows(self, of: Population, max_percent: u32) -> bool {
        let (hosts, ejected) = (of.hosts as u128, of.ejected as u128);
        let most = u128::from(max_percent.min(100)) * hosts;
        let envoy = 100 * (ejected + 1) <= most;
        match self {
            Self::AtLeastOne => {
                max_percent > 0 && (envoy || ejected == 0 && hosts > 0) && of.available > 1
            }
            Self::Grpc => 100 * ejected < most,
            Self::Envoy => envoy,
            Self::EnvoyAlwaysOne => envoy || ejected == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_grows_to_its_longest_and_jitter_comes_on_top() {
        let time = EjectionTime::default();
        assert_eq!(time.after(1, 1.0), Duration::from_secs(33));
        assert_eq!(time.after(99, 0.5), Duration::from_secs(315));
        let envoy =
            EjectionTime { jitter_percent: 0.0, max_jitter: Duration::from_secs(9), ..time };
        assert_eq!(envoy.after(1, 1.0), Duration::from_secs(39));
        let short = EjectionTime { max: Duration::ZERO, jitter_percent: f64::NAN, ..time };
        assert_eq!(short.after(5, f64::NAN), Duration::from_secs(30));
        let absurd = EjectionTime { base: Duration::MAX, jitter_percent: f64::INFINITY, ..time };
        assert_eq!(
            (absurd.after(u32::MAX, 1.0), absurd.raise(u32::MAX)),
            (Duration::MAX, u32::MAX)
        );
    }

    #[test]
    fn what_each_standing_counts_as() {
        let counted = |standing, is_barred| {
            let mut of = Population::default();
            of.count(standing, is_barred);
            (of.hosts, of.ejected, of.available)
        };
        for standing in Standing::ALL {
            let (ejected, available) = match standing {
                Standing::Healthy | Standing::Warming => (0, 1),
                Standing::Unhealthy => (0, 0),
                Standing::Probation | Standing::Ejected | Standing::EjectedUnhealthy => (1, 0),
            };
            assert_eq!(counted(standing, false), (1, ejected, available), "{standing:?}");
            assert_eq!(counted(standing, true), (1, ejected, 0), "{standing:?}");
        }
    }

    proptest! {
        /// Ejecting as long as it is allowed leaves what each limit promises.
        #[test]
        fn limits_hold_however_often_they_are_asked(hosts in 0_usize..200, percent in 0_u32..150) {
            let share = percent.min(100) as usize * hosts;
            let most = |limit: EjectionLimit| {
                let of = |ejected| Population { hosts, ejected, available: hosts - ejected };
                (0..hosts).find(|&ejected| !limit.allows(of(ejected), percent)).unwrap_or(hosts)
            };
            let ours = if percent == 0 { 0 } else { (share / 100).max(1).min(hosts.saturating_sub(1)) };
            prop_assert_eq!(most(EjectionLimit::AtLeastOne), ours);
            prop_assert_eq!(most(EjectionLimit::Grpc), share.div_ceil(100));
            prop_assert_eq!(most(EjectionLimit::Envoy), share / 100);
            prop_assert_eq!(most(EjectionLimit::EnvoyAlwaysOne), (share / 100).max(1).min(hosts));
        }
    }
}
