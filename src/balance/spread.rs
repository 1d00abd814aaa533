//! How what a tier has of the load is spread over the zones of its members: a rule over the place of each.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    mem,
    sync::Arc,
};

use super::{
    config::BalanceConfig,
    locality::{LocalityMode, LocalityWeights, ZoneAware},
    select::{Candidacy, Selection, Share},
};
use crate::{
    endpoint::Endpoint,
    member::Reason,
    rules::{Locality, ZoneRouting, locality_weight, zones},
};

/// Spreads each share of `selection` over zones, the caller's own first. Those that get nothing by that are
/// a reserve. Where health is ignored, zones are too. There is one of `endpoints` for each candidacy.
pub(super) fn spread(
    config: &BalanceConfig,
    candidacies: &[Candidacy],
    endpoints: impl Iterator<Item = Arc<Endpoint>>,
    selection: &mut Selection,
) {
    if config.locality != LocalityMode::Off {
        let endpoints: Vec<_> = endpoints.collect();
        let BalanceConfig { locality: mode, overprovisioning_percent, .. } = config;
        let overprovisioning_percent = *overprovisioning_percent;
        let spread = Spread { mode, overprovisioning_percent, candidacies, endpoints: &endpoints };
        spread.apply(selection);
    }
}

struct Spread<'a> {
    mode: &'a LocalityMode,
    overprovisioning_percent: u32,
    candidacies: &'a [Candidacy],
    endpoints: &'a [Arc<Endpoint>],
}

/// A zone, and what it has of the load, of any whole.
type Part<'a> = (&'a str, f64);

impl Spread<'_> {
    fn apply(&self, selection: &mut Selection) {
        let mut is_left = vec![false; self.candidacies.len()];
        for share in mem::take(&mut selection.shares) {
            let Some(parts) = self.parts(&share, &mut selection.zones_ignored) else {
                selection.shares.push(share);
                continue;
            };
            share.candidates.iter().for_each(|&index| is_left[index as usize] = true);
            let stay = parts.iter().flat_map(|part| &part.candidates);
            stay.for_each(|&index| is_left[index as usize] = false);
            selection.shares.extend(parts);
        }
        let left =
            (0..).zip(is_left).filter(|&(index, is_left)| is_left && self.of(index).weight > 0);
        selection.reserve.extend(left.map(|(index, _)| (self.of(index).rank(), index)));
        if let LocalityMode::ZoneAware(own) = self.mode {
            for (rank, index) in &mut selection.reserve {
                *rank += u64::from(self.zone(*index) != own.zone);
            }
        }
        selection.reserve.sort_unstable();
    }

    /// `None`: zones make no difference there.
    fn parts(&self, share: &Share, ignored: &mut bool) -> Option<Vec<Share>> {
        if share.panic {
            return None;
        }
        let (parts, own) = match self.mode {
            LocalityMode::Off => return None,
            LocalityMode::Weighted(weights) => (self.by_weight(weights, share), None),
            LocalityMode::ZoneAware(rule) => match self.hinted(rule, share, ignored) {
                Some(hinted) => return Some(vec![share.part(&rule.zone, 1.0, true, hinted)]),
                None => (self.by_callers(rule, share, ignored)?, Some(&*rule.zone)),
            },
        };
        let whole: f64 = parts.iter().map(|(_, load)| load).sum();
        let mut candidates: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for &index in &share.candidates {
            candidates.entry(self.zone(index)).or_default().push(index);
        }
        let part = |(zone, load): Part<'_>| {
            let candidates = candidates.remove(zone).filter(|_| load > 0.0)?;
            Some(share.part(zone, load / whole, own == Some(zone), candidates))
        };
        let mut parts: Vec<_> = parts.into_iter().filter_map(part).collect();
        parts.sort_by_key(|part| Reverse(part.is_near));
        // None where no zone has a weight.
        (!parts.is_empty()).then_some(parts)
    }

    fn by_weight(&self, weights: &LocalityWeights, share: &Share) -> Vec<Part<'_>> {
        let mut zones: BTreeMap<&str, Locality> = BTreeMap::new();
        for &index in &share.candidates {
            zones.entry(self.zone(index)).or_default().available += 1;
        }
        // Those of weight 0 are meant to get nothing.
        let has_weight = |of: &Candidacy| of.weight > 0;
        let by_weight = share.candidates.iter().any(|&index| has_weight(self.of(index)));
        for (index, of) in (0..).zip(self.candidacies) {
            let is_meant = of.tier / 2 == share.tier / 2 && (has_weight(of) || !by_weight);
            if let Some(zone) = zones.get_mut(self.zone(index)).filter(|_| is_meant) {
                zone.hosts += 1;
                zone.excluded += u32::from(of.word & Reason::EXCLUDED != 0);
            }
        }
        let load = |(zone, of): (_, Locality)| {
            let of = Locality { weight: weights.of(zone), ..of };
            (zone, locality_weight(&of, self.overprovisioning_percent))
        };
        zones.into_iter().map(load).collect()
    }

    fn by_callers(
        &self,
        rule: &ZoneAware,
        share: &Share,
        ignored: &mut bool,
    ) -> Option<Vec<Part<'_>>> {
        if !rule.counts_zones() {
            return None;
        }
        let zone = |&index: &u32| Some(self.zone(index)).filter(|zone| !zone.is_empty());
        let weight = |index: &u32| u64::from(self.of(*index).weight.max(1));
        let Some(upstream) = zones(share.candidates.iter().map(|of| (zone(of), weight(of)))) else {
            *ignored = true;
            return None;
        };
        let own = &*rule.zone;
        let in_own = share.candidates.iter().filter(|&&index| self.zone(index) == own).count();
        let is_forced = rule.force_local_zone > 0 && in_own >= rule.force_local_zone;
        let mut callers: BTreeMap<&str, u64> =
            rule.callers.iter().map(|(zone, number)| (&**zone, *number)).collect();
        let here = callers.entry(own).or_default();
        *here = (*here).max(1);
        let callers: Vec<_> = callers.into_iter().collect();
        let routing = ZoneRouting {
            min_cluster_size: rule.min_cluster_size,
            force_local_zone: is_forced.then_some(1),
        };
        let plan = routing.plan(&own, &callers, &upstream, share.candidates.len());
        let shares = plan.shares(upstream.len())?;
        Some(upstream.into_iter().map(|(zone, _)| zone).zip(shares).collect())
    }

    /// Those that are meant for callers in the own zone, if all say which callers they are meant for.
    fn hinted(&self, rule: &ZoneAware, share: &Share, ignored: &mut bool) -> Option<Vec<u32>> {
        let hints = |index: &u32| self.endpoints[*index as usize].zone_hints();
        let has_any = |index: &u32| !hints(index).is_empty();
        if !share.candidates.iter().any(has_any) {
            return None;
        }
        let is_meant = |index: &&u32| hints(index).contains(&rule.zone);
        let meant: Vec<_> = share.candidates.iter().filter(is_meant).copied().collect();
        let is_complete = share.candidates.iter().all(has_any) && !meant.is_empty();
        *ignored |= !is_complete;
        is_complete.then_some(meant)
    }

    fn zone(&self, index: u32) -> &str {
        &self.endpoints[index as usize].locality().zone
    }

    fn of(&self, index: u32) -> &Candidacy {
        &self.candidacies[index as usize]
    }
}

impl Share {
    /// This part of it, which is of 1.
    fn part(&self, zone: &str, part: f64, is_near: bool, candidates: Vec<u32>) -> Self {
        let mut hasher = DefaultHasher::new();
        zone.hash(&mut hasher);
        Self { zone: hasher.finish() as u32, load: self.load * part, is_near, candidates, ..*self }
    }
}

#[cfg(test)]
#[path = "spread_tests.rs"]
mod tests;
