/// How traffic is split over priorities by the health of each.
///
/// A priority can carry `overprovisioning · healthy / hosts` of the load, up to all of it. Load goes to the
/// first priorities that can carry it; what healthy hosts cannot carry goes to degraded hosts in a second
/// pass; if all together cannot carry it, each gets its share of it, and priorities with too few available
/// hosts are in panic, where every host gets traffic. If all are in panic, load is split by their numbers of
/// hosts. What integer division leaves over goes to the first priority that is available.
///
/// Source: Envoy, `load_balancer_impl.cc`, and the tables of `priority.rst`, `degraded.rst` and
/// `panic_threshold.rst`.
///
/// ```
/// use tower_upstream::rules::{Priorities, Priority};
/// let rule = Priorities::default();
/// let (half, all) = (Priority::of(100, 50), Priority::of(100, 100));
/// assert_eq!(rule.split(&[half, all]).healthy, [70, 30]);
/// let few = Priority::of(100, 25);
/// let split = rule.split(&[few, few]);
/// assert_eq!((split.healthy, split.panic), (vec![50, 50], vec![true, true]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priorities {
    /// Factor by which the hosts of a priority can carry more than their share, in percent. Default: 140.
    pub overprovisioning_percent: u32,
    /// Share of available hosts below which a priority is in panic, in percent. 0 switches it off; at most
    /// 100. Default: 50.
    pub panic_percent: u32,
}

impl Default for Priorities {
    fn default() -> Self {
        Self { overprovisioning_percent: 140, panic_percent: 50 }
    }
}

/// The hosts of one priority. Numbers beyond `hosts` are clamped.
///
/// ```
/// use tower_upstream::rules::Priority;
/// let priority = Priority { degraded: 10, ..Priority::of(100, 80) };
/// assert_eq!(priority.hosts, 100);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Priority {
    /// All hosts.
    pub hosts: u32,
    /// Those that are healthy.
    pub healthy: u32,
    /// Those that are degraded: they work, but are to be spared.
    pub degraded: u32,
    /// Those that do not count, neither as healthy nor as unhealthy, such as ones that are warming.
    pub excluded: u32,
    /// Sums of weights, if health is to be counted by weight instead of hosts. Panic counts hosts.
    pub weights: Option<Weights>,
}

/// Sums of the weights of a [`Priority`].
///
/// ```
/// use tower_upstream::rules::{Priorities, Priority, Weights};
/// let weights = Weights { hosts: 10, healthy: 5, ..Weights::default() };
/// let heavy_ones_fail = Priority { weights: Some(weights), ..Priority::of(4, 3) };
/// assert_eq!(Priorities::default().split(&[heavy_ones_fail]).health, [70]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weights {
    /// Of all hosts.
    pub hosts: u64,
    /// Of those that are healthy.
    pub healthy: u64,
    /// Of those that are degraded.
    pub degraded: u64,
    /// Of those that are excluded.
    pub excluded: u64,
}

impl Priority {
    /// Creates a priority without degraded and excluded hosts.
    pub const fn of(hosts: u32, healthy: u32) -> Self {
        Self { hosts, healthy, degraded: 0, excluded: 0, weights: None }
    }

    fn counting(&self) -> u64 {
        u64::from(self.hosts.saturating_sub(self.excluded))
    }

    /// What healthy and degraded hosts can carry, in percent.
    fn health(&self, overprovisioning: u32) -> [u32; 2] {
        let (total, parts) = match self.weights {
            _ if self.counting() == 0 => return [0; 2],
            Some(of) => (of.hosts.saturating_sub(of.excluded), [of.healthy, of.degraded]),
            None => (self.counting(), [self.healthy, self.degraded].map(u64::from)),
        };
        parts.map(|part| {
            let percent = u128::from(overprovisioning) * u128::from(part);
            percent.checked_div(u128::from(total)).map_or(0, |percent| percent.min(100) as u32)
        })
    }

    fn is_in_panic(&self, threshold: u32) -> bool {
        let available = u64::from(self.healthy) + u64::from(self.degraded);
        let threshold = u64::from(threshold.min(100));
        // No hosts are 0 % of them.
        if self.counting() == 0 {
            threshold > 0
        } else {
            available * 100 < threshold * self.counting()
        }
    }
}

/// Where the load goes. [`Priorities`] has an example.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Split {
    /// Load of the healthy hosts of each priority, in percent. In panic, all its hosts share it.
    pub healthy: Vec<u32>,
    /// Load of the degraded hosts of each priority, in percent.
    pub degraded: Vec<u32>,
    /// Whether each priority is in panic.
    pub panic: Vec<bool>,
    /// What the healthy hosts of each priority can carry, in percent.
    pub health: Vec<u32>,
    /// What the degraded hosts of each priority can carry, in percent.
    pub degraded_health: Vec<u32>,
    /// What all together can carry, in percent, up to 100. Below that, priorities may be in panic.
    pub total: u32,
}

impl Priorities {
    /// Splits the load. The shares add up to 100, unless there is no priority.
    pub fn split(&self, priorities: &[Priority]) -> Split {
        let health = priorities.iter().map(|of| of.health(self.overprovisioning_percent));
        let (health, degraded_health): (Vec<_>, Vec<_>) =
            health.map(|[healthy, degraded]| (healthy, degraded)).unzip();
        let sum =
            health.iter().chain(&degraded_health).fold(0_u32, |sum, &of| sum.saturating_add(of));
        let total = sum.min(100);
        let none = vec![0; priorities.len()];
        let is_in_panic = |of: &Priority| total < 100 && of.is_in_panic(self.panic_percent);
        let panic = priorities.iter().map(is_in_panic).collect();
        let mut split =
            Split { healthy: none.clone(), degraded: none, panic, health, degraded_health, total };
        if split.is_total_panic() {
            split.by_hosts(priorities);
        } else {
            split.by_health();
        }
        split
    }
}

impl Split {
    /// Returns whether every priority is in panic.
    pub fn is_total_panic(&self) -> bool {
        !self.panic.is_empty() && self.panic.iter().all(|&panic| panic)
    }

    /// Chooses a priority for a random number, and whether its healthy hosts are meant or its degraded ones.
    /// `None` if there is no priority.
    ///
    /// ```
    /// use tower_upstream::rules::{Availability, Priorities, Priority};
    /// let of = |healthy, degraded| Priority { degraded, ..Priority::of(100, healthy) };
    /// let split = Priorities::default().split(&[of(25, 65)]);
    /// assert_eq!(split.choose(34), Some((0, Availability::Healthy)));
    /// assert_eq!(split.choose(35), Some((0, Availability::Degraded)));
    /// ```
    pub fn choose(&self, random: u64) -> Option<(usize, Availability)> {
        let mut left = (random % 100) as u32;
        let both =
            [(&self.healthy, Availability::Healthy), (&self.degraded, Availability::Degraded)];
        for (loads, availability) in both {
            for (priority, &load) in loads.iter().enumerate() {
                if left < load {
                    return Some((priority, availability));
                }
                left -= load;
            }
        }
        None
    }

    fn by_health(&mut self) {
        let Self { healthy, degraded, health, degraded_health, total, .. } = self;
        let mut left = 100;
        let mut fill = |loads: &mut [u32], health: &[u32]| {
            for (load, health) in loads.iter_mut().zip(health) {
                *load = (health * 100).checked_div(*total).unwrap_or(0).min(left);
                left -= *load;
            }
        };
        fill(healthy, health);
        fill(degraded, degraded_health);
        let first = |health: &[u32]| health.iter().position(|&health| health > 0);
        let rest = match (first(health), first(degraded_health)) {
            (Some(first), _) => healthy.get_mut(first),
            (None, Some(first)) => degraded.get_mut(first),
            // Without panic the load still belongs somewhere, and fails there.
            (None, None) => healthy.first_mut(),
        };
        if let Some(rest) = rest {
            *rest += left;
        }
    }

    fn by_hosts(&mut self, priorities: &[Priority]) {
        let hosts = || priorities.iter().map(|of| u64::from(of.hosts));
        let all: u64 = hosts().sum();
        let share = |hosts: u64| (100 * hosts).checked_div(all).unwrap_or(0) as u32;
        self.healthy = hosts().map(share).collect();
        let left = 100 - self.healthy.iter().sum::<u32>();
        let first = hosts().position(|hosts| hosts > 0).unwrap_or(0);
        if let Some(rest) = self.healthy.get_mut(first) {
            *rest += left;
        }
    }
}

/// Which hosts of a priority are meant. [`Split::choose`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// The healthy ones.
    Healthy,
    /// The degraded ones.
    Degraded,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn loads(rule: Priorities, of: &[(u32, u32, u32, u32)]) -> (Vec<u32>, Vec<u32>, Vec<bool>) {
        let priority = |&(hosts, healthy, degraded, excluded): &_| Priority {
            hosts,
            healthy,
            degraded,
            excluded,
            weights: None,
        };
        let of: Vec<_> = of.iter().map(priority).collect();
        let split = rule.split(&of);
        (split.healthy, split.degraded, split.panic)
    }

    #[test]
    fn degraded_hosts_take_what_the_healthy_cannot() {
        let rule = Priorities::default();
        let none = || vec![false];
        assert_eq!(loads(rule, &[(100, 71, 29, 0)]), (vec![99], vec![1], none()));
        assert_eq!(loads(rule, &[(100, 25, 65, 0)]), (vec![35], vec![65], none()));
        // The example of Envoy's source: 16/28/14 and 28/14/0, with the rounding on the first.
        let rule = Priorities { overprovisioning_percent: 100, panic_percent: 0 };
        let three = [(100, 10, 20, 0), (100, 20, 10, 0), (100, 10, 0, 0)];
        assert_eq!(loads(rule, &three).0, [16, 28, 14]);
        assert_eq!(loads(rule, &three).1, [28, 14, 0]);
    }

    #[test]
    fn excluded_hosts_do_not_count() {
        let rule = Priorities::default();
        assert_eq!(loads(rule, &[(100, 50, 0, 50), (10, 10, 0, 0)]).0, [100, 0]);
        assert_eq!(loads(rule, &[(100, 0, 0, 100), (10, 10, 0, 0)]).0, [0, 100]);
    }

    #[test]
    fn in_a_total_panic_the_number_of_hosts_decides() {
        let rule = Priorities::default();
        assert_eq!(loads(rule, &[(1, 0, 0, 0), (2, 0, 0, 0)]).0, [34, 66]);
        assert_eq!(loads(rule, &[(0, 0, 0, 0), (2, 0, 0, 0)]).0, [0, 100]);
        assert_eq!(loads(rule, &[(0, 0, 0, 0); 2]).0, [100, 0]);
        let off = Priorities { panic_percent: 0, ..rule };
        assert_eq!(
            loads(off, &[(5, 0, 0, 0), (5, 0, 0, 0)]),
            (vec![100, 0], vec![0, 0], vec![false; 2])
        );
        assert_eq!(loads(rule, &[]), (vec![], vec![], vec![]));
        assert_eq!(rule.split(&[]).choose(7), None);
    }

    proptest! {
        #[test]
        fn the_shares_add_up_and_no_input_is_too_absurd(
            overprovisioning_percent: u32,
            panic_percent: u32,
            of: Vec<(u32, u32, u32, u32)>,
            random: u64,
        ) {
            let rule = Priorities { overprovisioning_percent, panic_percent };
            let (healthy, degraded, _) = loads(rule, &of);
            let sum: u32 = healthy.iter().chain(&degraded).sum();
            prop_assert_eq!(sum, if of.is_empty() { 0 } else { 100 });
            let of: Vec<_> = of.iter().map(|&(hosts, healthy, ..)| Priority::of(hosts, healthy)).collect();
            prop_assert_eq!(rule.split(&of).choose(random).is_some(), !of.is_empty());
        }
    }
}
