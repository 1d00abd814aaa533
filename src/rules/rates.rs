/// Calls of one endpoint in the time that is looked at.
///
/// ```
/// use tower_upstream::rules::Calls;
/// let calls = Calls { successes: 3, failures: 1 };
/// assert_eq!((calls.total(), calls.success_percent()), (4, Some(75.0)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calls {
    /// Those that succeeded.
    pub successes: u64,
    /// Those that failed.
    pub failures: u64,
}

impl Calls {
    /// Returns the number of calls.
    pub fn total(self) -> u64 {
        self.successes.saturating_add(self.failures)
    }

    /// Returns the share of calls that succeeded, in percent; `None` without calls.
    pub fn success_percent(self) -> Option<f64> {
        let total = self.total();
        (total > 0).then(|| 100.0 * self.successes as f64 / total as f64)
    }
}

/// Finds endpoints whose success rate is far below that of the others: below
/// `mean - stdev_factor · standard deviation`.
///
/// Source: gRFC A50 and Envoy; the deviation is that of the whole population. A rate must be below the
/// threshold by more than 1e-9 percent, which is rounding.
///
/// ```
/// use tower_upstream::rules::{Calls, SuccessRate};
/// let (good, bad) = (Calls { successes: 200, failures: 0 }, Calls { successes: 100, failures: 100 });
/// let rule = SuccessRate::default();
/// assert_eq!(rule.threshold(&[good, good, good, good, bad].map(Some)), Some(52.0));
/// assert_eq!(rule.outliers(&[good, good, good, good, bad].map(Some)), [4]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SuccessRate {
    /// How many endpoints need enough calls. Default: 5.
    pub minimum_hosts: usize,
    /// How many calls are enough. Default: 100.
    pub request_volume: u64,
    /// How many standard deviations below the mean the threshold is. gRPC and Envoy write 1900 for 1.9.
    /// Default: 1.9.
    pub stdev_factor: f64,
    /// Failed calls below which an endpoint is no outlier. Where nearly all calls succeed, the deviation is so
    /// small that one failure in a hundred calls is far below the mean. Default: 0, as in gRPC and Envoy.
    pub minimum_failures: u64,
    /// Chance that one that is found is ejected, in percent. Default: 100.
    pub enforcement_percent: u32,
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self {
            minimum_hosts: 5,
            request_volume: 100,
            stdev_factor: 1.9,
            minimum_failures: 0,
            enforcement_percent: 100,
        }
    }
}

impl SuccessRate {
    /// Returns the success rate below which an endpoint is an outlier, in percent. `None` if too few have
    /// enough calls. An endpoint that does not count, since it is ejected, is `None`.
    pub fn threshold(&self, hosts: &[Option<Calls>]) -> Option<f64> {
        let rates: Vec<_> = with_volume(hosts, self.request_volume).map(|(_, rate)| rate).collect();
        let enough = rates.len() >= self.minimum_hosts;
        let (mean, stdev) = mean_and_stdev(&rates).filter(|_| enough)?;
        Some(mean - self.stdev_factor * stdev)
    }

    /// Returns the outliers, in order.
    pub fn outliers(&self, hosts: &[Option<Calls>]) -> Vec<usize> {
        let Some(threshold) = self.threshold(hosts) else { return Vec::new() };
        let rates = with_volume(hosts, self.request_volume);
        let failures =
            |index: usize| hosts.get(index).copied().flatten().map_or(0, |of| of.failures);
        let is_outlier = |&(index, rate): &(usize, f64)| {
            rate + 1e-9 < threshold && failures(index) >= self.minimum_failures
        };
        rates.filter(is_outlier).map(|(index, _)| index).collect()
    }
}

/// Finds endpoints of whose calls too many fail, whatever the others do.
///
/// Source: gRFC A50 and Envoy.
///
/// ```
/// use tower_upstream::rules::{Calls, FailurePercentage};
/// let of = |failures| Some(Calls { successes: 100 - failures, failures });
/// let rule = FailurePercentage::default();
/// assert_eq!(rule.outliers(&[of(0), of(85), of(86), of(3), of(4)]), [1, 2]);
/// let grpc = FailurePercentage { at_threshold: false, ..rule };
/// assert_eq!(grpc.outliers(&[of(0), of(85), of(86), of(3), of(4)]), [2]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FailurePercentage {
    /// How many endpoints need enough calls. Default: 5.
    pub minimum_hosts: usize,
    /// How many calls are enough. Default: 50.
    pub request_volume: u64,
    /// Share of calls that fail, in percent. Default: 85.
    pub threshold: f64,
    /// Whether exactly `threshold` is too many: it is in Envoy, not in gRPC. Default: `true`.
    pub at_threshold: bool,
    /// Chance that one that is found is ejected, in percent. Default: 100.
    pub enforcement_percent: u32,
}

impl Default for FailurePercentage {
    fn default() -> Self {
        Self {
            minimum_hosts: 5,
            request_volume: 50,
            threshold: 85.0,
            at_threshold: true,
            enforcement_percent: 100,
        }
    }
}

impl FailurePercentage {
    /// Returns the endpoints that fail too often, in order. An endpoint that does not count, since it is
    /// ejected, is `None`.
    pub fn outliers(&self, hosts: &[Option<Calls>]) -> Vec<usize> {
        let rates = || with_volume(hosts, self.request_volume);
        if rates().count() < self.minimum_hosts {
            return Vec::new();
        }
        let fails = |success: f64| {
            let failed = 100.0 - success;
            failed > self.threshold || self.at_threshold && failed == self.threshold
        };
        rates().filter(|&(_, rate)| fails(rate)).map(|(index, _)| index).collect()
    }
}

/// Success rates of those with enough calls.
fn with_volume(hosts: &[Option<Calls>], volume: u64) -> impl Iterator<Item = (usize, f64)> + '_ {
    hosts.iter().enumerate().filter_map(move |(index, calls)| {
        let calls = calls.filter(|calls| calls.total() >= volume)?;
        Some((index, calls.success_percent()?))
    })
}

/// Returns the mean and the standard deviation of the whole population; `None` without numbers.
///
/// ```
/// use tower_upstream::rules::mean_and_stdev;
/// assert_eq!(mean_and_stdev(&[50.0, 100.0, 100.0, 100.0, 100.0]), Some((90.0, 20.0)));
/// ```
pub fn mean_and_stdev(numbers: &[f64]) -> Option<(f64, f64)> {
    let len = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / len;
    let variance = numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / len;
    (!numbers.is_empty()).then(|| (mean, variance.sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn absurd_numbers_do_no_harm() {
        let most = Calls { successes: u64::MAX, failures: u64::MAX };
        assert_eq!(most.total(), u64::MAX);
        let rule = SuccessRate {
            minimum_hosts: 0,
            request_volume: 0,
            stdev_factor: f64::NAN,
            ..SuccessRate::default()
        };
        assert_eq!(rule.outliers(&[None, Some(Calls::default()), Some(most)]), [0; 0]);
        assert_eq!(rule.threshold(&[]), None);
        let rule = FailurePercentage {
            threshold: f64::NAN,
            minimum_hosts: 0,
            ..FailurePercentage::default()
        };
        assert_eq!(rule.outliers(&[Some(most)]), [0; 0]);
    }

    #[test]
    fn a_few_failures_are_chance() {
        let of = |failures| Some(Calls { successes: 1_000 - failures, failures });
        let hosts = [0, 0, 4, 0, 0, 0, 0, 0, 0, 0].map(of);
        assert_eq!(SuccessRate::default().outliers(&hosts), [2], "as in gRPC and Envoy");
        let rule = |minimum_failures| SuccessRate { minimum_failures, ..SuccessRate::default() };
        assert_eq!((rule(4).outliers(&hosts), rule(5).outliers(&hosts)), (vec![2], vec![]));
    }

    proptest! {
        /// Endpoints that do the same are no outliers, however strict the factor.
        #[test]
        fn equals_are_no_outliers(successes in 0_u64..1_000, failures in 0_u64..1_000, hosts in 0_usize..50) {
            let rule = SuccessRate { request_volume: 0, stdev_factor: 0.0, ..SuccessRate::default() };
            prop_assert_eq!(rule.outliers(&vec![Some(Calls { successes, failures }); hosts]), [0; 0]);
        }
    }
}
