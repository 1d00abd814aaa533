use super::edf::Edf;

/// Weight of a locality by the health of its hosts: `weight · min(1, overprovisioning · healthy / hosts)`.
///
/// Source: Envoy, `locality_weight.rst` and `locality_wrr.cc`. Excluded hosts do not count. 0 if there are no
/// hosts.
///
/// ```
/// use tower_upstream::rules::{Locality, locality_weight};
/// let half = Locality { weight: 2, hosts: 10, available: 5, excluded: 0 };
/// assert_eq!(locality_weight(&half, 140), 1.4);
/// ```
pub fn locality_weight(of: &Locality, overprovisioning_percent: u32) -> f64 {
    let hosts = of.hosts.saturating_sub(of.excluded);
    if hosts == 0 {
        return 0.0;
    }
    let ratio = f64::from(of.available) / f64::from(hosts);
    f64::from(of.weight) * (f64::from(overprovisioning_percent) / 100.0 * ratio).min(1.0)
}

/// The hosts of one locality, and its share of the load. [`locality_weight`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Locality {
    /// Share of the load, relative to other localities. 0 excludes it.
    pub weight: u32,
    /// All hosts.
    pub hosts: u32,
    /// Those that are available: the healthy ones, or the degraded ones, whichever are to be chosen from.
    pub available: u32,
    /// Those that do not count.
    pub excluded: u32,
}

/// Weighted turns of localities, by earliest deadline first.
///
/// Source: Envoy, `locality_wrr.cc`. Make a new one when weights or health change.
///
/// ```
/// use tower_upstream::rules::{Locality, LocalityWrr};
/// let of = |weight| Locality { weight, hosts: 1, available: 1, excluded: 0 };
/// let mut turns = LocalityWrr::new(&[of(1), of(2)], 140, 0);
/// let picks: Vec<_> = (0..6).filter_map(|_| turns.pick()).collect();
/// assert_eq!(picks, [1, 0, 1, 1, 0, 1]);
/// ```
#[derive(Debug, Clone)]
pub struct LocalityWrr {
    weights: Vec<f64>,
    turns: Edf,
}

impl LocalityWrr {
    /// Creates the schedule as it is after `picks` picks; use a random number of them.
    pub fn new(localities: &[Locality], overprovisioning_percent: u32, picks: u32) -> Self {
        let weight = |of| locality_weight(of, overprovisioning_percent);
        let weights: Vec<_> = localities.iter().map(weight).collect();
        Self { turns: Edf::with_picks(&weights, picks), weights }
    }

    /// Picks a locality. `None` if none has a weight and available hosts.
    pub fn pick(&mut self) -> Option<usize> {
        self.turns.pick(|index| self.weights.get(index).copied().unwrap_or(0.0))
    }
}
