/// How much traffic stays in the caller's own zone.
///
/// Callers of all zones together are to load all upstream hosts evenly. If the caller's zone has at least as
/// large a share of the upstream hosts as of the callers, all its traffic stays. Otherwise
/// `upstream share / caller share` of it does, and the rest goes to the zones that have more upstream hosts than
/// callers, by how many more. Shares are integers of 10,000.
///
/// Source: Envoy, `zone_aware.rst` and `load_balancer_impl.cc`; `force_local_zone` of its zone-aware settings.
///
/// ```
/// use tower_upstream::rules::{ZoneRouting, ZonePlan};
/// let rule = ZoneRouting { min_cluster_size: 1, ..ZoneRouting::default() };
/// let plan = rule.plan(&"A", &[("A", 1), ("B", 1), ("C", 1)], &[("A", 1), ("B", 2), ("C", 2)], 5);
/// let ZonePlan::Residual { local_share, ref residual, .. } = plan else { unreachable!() };
/// assert_eq!((local_share, &residual[..]), (6_000, &[(1, 667), (2, 1_334)][..]));
/// assert_eq!([plan.pick(5_999, 0), plan.pick(6_000, 667)], [Some(0), Some(2)]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneRouting {
    /// Upstream hosts below which zones are ignored. Default: 6.
    pub min_cluster_size: usize,
    /// Keeps all traffic in the caller's zone if that has so many upstream hosts. Default: none.
    pub force_local_zone: Option<u64>,
}

impl Default for ZoneRouting {
    fn default() -> Self {
        Self { min_cluster_size: 6, force_local_zone: None }
    }
}

/// Where traffic goes. Zones are indices into the upstream zones. [`ZoneRouting`] has an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ZonePlan {
    /// Zones are ignored.
    Disabled,
    /// All of it stays in this zone, the caller's.
    Direct(usize),
    /// Some of it stays, the rest goes elsewhere.
    Residual {
        /// The caller's zone, if it has upstream hosts.
        local: Option<usize>,
        /// Share of traffic that stays in the caller's zone, of 10,000.
        local_share: u64,
        /// The other zones, with what they and those before them can take of the rest.
        residual: Vec<(usize, u64)>,
    },
}

/// The whole of what shares are parts of.
const WHOLE: u64 = 10_000;

impl ZoneRouting {
    /// Plans the traffic of callers in the zone `own`. `callers` and `upstream` have hosts (or their weights)
    /// by zone; a zone without any is as good as absent. `hosts` is the number of upstream hosts.
    ///
    /// Zones are ignored if there are fewer than two of either, no callers in `own`, or too few hosts. The
    /// zones must be known of every host: [`zones`] sees to that.
    pub fn plan<Z: PartialEq>(
        &self,
        own: &Z,
        callers: &[(Z, u64)],
        upstream: &[(Z, u64)],
        hosts: usize,
    ) -> ZonePlan {
        let in_own =
            |of: &[(Z, u64)]| of.iter().position(|(zone, hosts)| zone == own && *hosts > 0);
        let populated = |of: &[(Z, u64)]| of.iter().filter(|(_, hosts)| *hosts > 0).count();
        let local = in_own(upstream);
        let forced = local.filter(|&index| {
            let here = upstream.get(index).map_or(0, |(_, hosts)| *hosts);
            self.force_local_zone.is_some_and(|least| here >= least.max(1))
        });
        let too_few = populated(callers) < 2 && forced.is_none() || populated(upstream) < 2;
        if too_few || hosts < self.min_cluster_size || in_own(callers).is_none() {
            return ZonePlan::Disabled;
        }
        if let Some(forced) = forced {
            return ZonePlan::Direct(forced);
        }
        let shares: Vec<_> = upstream
            .iter()
            .map(|(zone, _)| (share(zone, callers), share(zone, upstream)))
            .collect();
        let local_share = match local.and_then(|index| Some((index, *shares.get(index)?))) {
            Some((index, (from, to))) if to > 0 && to >= from => return ZonePlan::Direct(index),
            Some((_, (from, to))) => (to * WHOLE).checked_div(from).unwrap_or(0),
            None => 0,
        };
        let mut sum = 0;
        let others = shares.iter().enumerate().filter(|(index, _)| Some(*index) != local);
        let residual = others.map(|(index, (from, to))| {
            sum += to.saturating_sub(*from);
            (index, sum)
        });
        ZonePlan::Residual { local, local_share, residual: residual.collect() }
    }
}

impl ZonePlan {
    /// Returns the share of the traffic of each of so many upstream zones; the shares add up to 1. `None` if zones are
    /// ignored.
    ///
    /// ```
    /// use tower_upstream::rules::ZonePlan;
    /// let plan = ZonePlan::Residual { local: Some(1), local_share: 6_000, residual: vec![(0, 1), (2, 4)] };
    /// let percent = plan.shares(3).map(|shares| shares.iter().map(|of| (of * 100.0).round()).collect());
    /// assert_eq!(percent, Some(vec![10.0, 60.0, 30.0]));
    /// ```
    pub fn shares(&self, zones: usize) -> Option<Vec<f64>> {
        let mut shares = vec![0.0; zones];
        let mut give = |zone: usize, share: f64| {
            shares.get_mut(zone).into_iter().for_each(|of| *of += share);
        };
        match self {
            Self::Disabled => return None,
            Self::Direct(zone) => give(*zone, 1.0),
            Self::Residual { local, local_share, residual } => {
                let stays = local.map_or(0.0, |_| *local_share as f64 / WHOLE as f64);
                local.iter().for_each(|&zone| give(zone, stays));
                let sum = residual.last().map_or(0, |(_, sum)| *sum);
                // Rounding left nothing: any zone.
                let any = local.iter().filter(|_| sum == 0);
                let number = residual.len() + any.clone().count();
                any.for_each(|&zone| give(zone, (1.0 - stays) / number as f64));
                let mut before = 0;
                for &(zone, until) in residual {
                    let part = match sum {
                        0 => 1.0 / number as f64,
                        sum => (until - before) as f64 / sum as f64,
                    };
                    give(zone, (1.0 - stays) * part);
                    before = until;
                }
            }
        }
        Some(shares)
    }

    /// Picks an upstream zone with two random numbers. `None` if zones are ignored.
    pub fn pick(&self, sample: u64, draw: u64) -> Option<usize> {
        let (local, local_share, residual) = match self {
            Self::Disabled => return None,
            Self::Direct(zone) => return Some(*zone),
            Self::Residual { local, local_share, residual } => (*local, *local_share, residual),
        };
        if local.is_some() && sample % WHOLE < local_share {
            return local;
        }
        let (_, sum) = residual.last()?;
        match draw.checked_rem(*sum) {
            Some(draw) => residual.iter().find(|(_, until)| draw < *until).map(|(zone, _)| *zone),
            // Rounding left nothing: any zone.
            None => {
                let mut zones = residual.iter().map(|(zone, _)| *zone).chain(local);
                let number = residual.len() + usize::from(local.is_some());
                zones.nth((draw % number as u64) as usize)
            }
        }
    }
}

/// The part of 10,000 that is in `zone`.
fn share<Z: PartialEq>(zone: &Z, of: &[(Z, u64)]) -> u64 {
    let sum = |is_meant: &dyn Fn(&Z) -> bool| -> u128 {
        of.iter().filter(|(zone, _)| is_meant(zone)).map(|(_, hosts)| u128::from(*hosts)).sum()
    };
    let here = u128::from(WHOLE) * sum(&|other| other == zone);
    here.checked_div(sum(&|_| true)).unwrap_or(0) as u64
}

/// Adds hosts (or their weights) up by zone, in the order in which zones appear. `None` if the zone of one of
/// them is unknown: hints are honoured only when they are complete.
///
/// ```
/// use tower_upstream::rules::zones;
/// assert_eq!(zones([(Some("A"), 1), (Some("B"), 1), (Some("A"), 1)]), Some(vec![("A", 2), ("B", 1)]));
/// assert_eq!(zones([(Some("A"), 1), (None, 1)]), None);
/// ```
pub fn zones<Z: PartialEq>(
    hosts: impl IntoIterator<Item = (Option<Z>, u64)>,
) -> Option<Vec<(Z, u64)>> {
    let mut zones: Vec<(Z, u64)> = Vec::new();
    for (zone, hosts) in hosts {
        let zone = zone?;
        match zones.iter_mut().find(|(other, _)| *other == zone) {
            Some((_, sum)) => *sum = sum.saturating_add(hosts),
            None => zones.push((zone, hosts)),
        }
    }
    Some(zones)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANY_SIZE: ZoneRouting = ZoneRouting { min_cluster_size: 0, force_local_zone: None };

    fn numbered(hosts: &[u64]) -> Vec<(usize, u64)> {
        hosts.iter().copied().enumerate().collect()
    }

    #[test]
    fn absurd_numbers_do_no_harm() {
        let plan = ANY_SIZE.plan(&0, &numbered(&[u64::MAX; 3]), &numbered(&[1, u64::MAX]), 2);
        assert_eq!([plan.pick(0, 0), plan.pick(9_999, 9)], [Some(1), Some(1)]);
        assert_eq!(ANY_SIZE.plan(&0, &[], &[], 0), ZonePlan::Disabled);
        assert_eq!(
            ANY_SIZE.plan(&0, &numbered(&[0, 1, 1]), &numbered(&[1, 1]), 2),
            ZonePlan::Disabled
        );
    }

    #[test]
    fn without_room_left_any_zone_will_do() {
        let plan =
            ZonePlan::Residual { local: Some(1), local_share: 0, residual: vec![(0, 0), (2, 0)] };
        assert_eq!(
            [0, 1, 2, 3].map(|draw| plan.pick(5, draw)),
            [Some(0), Some(2), Some(1), Some(0)]
        );
        assert_eq!(plan.shares(3), Some(vec![1.0 / 3.0; 3]));
    }

    proptest! {
        /// If all callers plan like this, every upstream host gets the same, but for rounding.
        #[test]
        fn together_they_load_all_hosts_evenly(
            callers in prop::collection::vec(1_u64..50, 4),
            upstream in prop::collection::vec(1_u64..50, 4),
        ) {
            let (from, to) = (numbered(&callers), numbered(&upstream));
            let mut load = [0.0; 4];
            for (own, &hosts) in callers.iter().enumerate() {
                let shares = ANY_SIZE.plan(&own, &from, &to, 9).shares(4).unwrap();
                prop_assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
                for (load, share) in load.iter_mut().zip(shares) {
                    *load += share * hosts as f64;
                }
            }
            let (calls, hosts) = (callers.iter().sum::<u64>() as f64, upstream.iter().sum::<u64>() as f64);
            for (load, own) in load.iter().zip(&upstream) {
                prop_assert!((load / calls - *own as f64 / hosts).abs() < 0.005);
            }
        }
    }
}
