use std::collections::BTreeMap;

/// How the load of a priority is spread over the zones of its endpoints.
///
/// The zone of an endpoint is that of its [`Locality`](crate::endpoint::Locality). The
/// [table](crate::balance#zones) tells how this combines with the rest.
///
/// ```
/// use tower_upstream::balance::{BalanceConfig, LocalityMode, ZoneAware};
/// let near = ZoneAware::from("eu-a").with_callers([("eu-a", 2), ("eu-b", 3)]);
/// let config = BalanceConfig::default().with_locality(LocalityMode::ZoneAware(near));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum LocalityMode {
    /// Zones are ignored. The default.
    #[default]
    Off,
    /// By a weight for each zone.
    Weighted(LocalityWeights),
    /// As much as possible in the zone of the caller, so that all endpoints still get the same.
    ZoneAware(ZoneAware),
}

/// Weights of zones.
///
/// A zone gets its weight times `min(1, 1.4 × its share of healthy endpoints)` of the load, relative to the other
/// zones, as in Envoy; the factor is
/// [`overprovisioning_percent`](super::BalanceConfig::overprovisioning_percent). How many endpoints it has makes
/// no difference. A zone of weight 0 gets no calls, unless no zone with a weight has an endpoint that can be used.
///
/// ```
/// use tower_upstream::balance::{LocalityMode, LocalityWeights};
/// let weights = LocalityWeights::from_iter([("eu-a", 2), ("eu-b", 1)]).with_others(1);
/// assert_eq!(weights.of("eu-c"), 1);
/// # let _ = LocalityMode::Weighted(weights);
/// ```
///
/// # Bounds
/// At most 1,024 zones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct LocalityWeights {
    /// Weight of each zone. The empty name is that of endpoints whose zone is unknown.
    pub weights: BTreeMap<String, u32>,
    /// Weight of each zone that `weights` does not name. Default: 0.
    pub others: u32,
}

impl<Z: Into<String>> FromIterator<(Z, u32)> for LocalityWeights {
    fn from_iter<I: IntoIterator<Item = (Z, u32)>>(weights: I) -> Self {
        let weights = weights.into_iter().map(|(zone, weight)| (zone.into(), weight));
        Self { weights: weights.collect(), others: 0 }
    }
}

impl LocalityWeights {
    /// Sets [`others`](Self::others).
    #[must_use]
    pub fn with_others(mut self, weight: u32) -> Self {
        self.others = weight;
        self
    }

    /// Returns the weight of a zone.
    pub fn of(&self, zone: &str) -> u32 {
        self.weights.get(zone).copied().unwrap_or(self.others)
    }

    fn is_empty(&self) -> bool {
        self.others == 0 && self.weights.values().all(|&weight| weight == 0)
    }
}

/// Routing that keeps calls in the zone of the caller, without loading any endpoint more than the others.
///
/// The rule is Envoy's, [`ZoneRouting`](crate::rules::ZoneRouting), within each priority; Envoy routes by zone in
/// the first alone. If the zone has at least as large a share of the endpoints as of the
/// [callers](Self::callers), all its calls stay. Otherwise as many stay as its endpoints can take, and the rest goes
/// to the zones with more endpoints than callers. Endpoints count by their weight. The zones must be known of
/// all endpoints that can be used, or else they are ignored.
///
/// [Zone hints](crate::Endpoint::with_zone_hints) of the source come first, as in Kubernetes: if all endpoints of a
/// priority that can be used have some, and one names the zone of the caller, calls go to those that name it alone.
/// Otherwise hints are ignored.
///
/// The event [`ZonesIgnored`](crate::telemetry::EventKind::ZonesIgnored) tells of zones and hints that are ignored
/// since they are incomplete.
///
/// # Example
/// The callers are the instances of this service, so another source knows them:
/// ```
/// use tower_upstream::{
///     Endpoint, Error,
///     balance::{BalanceHandle, LocalityMode, ZoneAware},
/// };
/// fn callers_changed(handle: &BalanceHandle, callers: &[Endpoint]) -> Result<(), Error> {
///     let zones = callers.iter().map(|caller| (caller.locality().zone.clone(), 1));
///     let near = ZoneAware::from("eu-a").with_callers(zones);
///     handle.update(&handle.config().with_locality(LocalityMode::ZoneAware(near)))
/// }
/// # let _ = callers_changed;
/// ```
///
/// # Bounds
/// At most 1,024 zones.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct ZoneAware {
    /// Zone of the caller. Required.
    pub zone: String,
    /// Number of callers in each zone, such as instances of this service. The zone of the caller has at
    /// least one. Default: none, which leaves [`force_local_zone`](Self::force_local_zone) and hints.
    pub callers: BTreeMap<String, u64>,
    /// Number of endpoints that can be used below which zones are ignored, but not hints. Default: 6.
    pub min_cluster_size: usize,
    /// Number of endpoints in the zone of the caller that keeps all its calls there, whatever the share of
    /// callers is. 0 switches it off. Default: 0.
    pub force_local_zone: usize,
}

impl Default for ZoneAware {
    fn default() -> Self {
        let (zone, callers) = (String::new(), BTreeMap::new());
        Self { zone, callers, min_cluster_size: 6, force_local_zone: 0 }
    }
}

impl<Z: Into<String>> From<Z> for ZoneAware {
    fn from(zone: Z) -> Self {
        Self { zone: zone.into(), ..Self::default() }
    }
}

impl ZoneAware {
    /// Sets [`callers`](Self::callers). Those of a zone that is named more than once are added up.
    #[must_use]
    pub fn with_callers<Z: Into<String>>(
        mut self,
        callers: impl IntoIterator<Item = (Z, u64)>,
    ) -> Self {
        self.callers.clear();
        for (zone, number) in callers {
            let sum = self.callers.entry(zone.into()).or_default();
            *sum = sum.saturating_add(number);
        }
        self
    }

    /// Sets [`min_cluster_size`](Self::min_cluster_size).
    #[must_use]
    pub fn with_min_cluster_size(mut self, endpoints: usize) -> Self {
        self.min_cluster_size = endpoints;
        self
    }

    /// Sets [`force_local_zone`](Self::force_local_zone).
    #[must_use]
    pub fn with_force_local_zone(mut self, endpoints: usize) -> Self {
        self.force_local_zone = endpoints;
        self
    }

    /// Whether anything but hints is asked for.
    pub(super) fn counts_zones(&self) -> bool {
        !self.callers.is_empty() || self.force_local_zone > 0
    }
}

const MAX_ZONES: usize = 1_024;

impl LocalityMode {
    pub(super) fn mistakes(&self, mistakes: &mut Vec<String>) {
        let mut too_many = |key: &str, zones: usize| {
            if zones > MAX_ZONES {
                mistakes.push(format!(
                    "`locality.{key}` has {zones} zones, but must have at most {MAX_ZONES}"
                ));
            }
        };
        match self {
            Self::Off => {}
            Self::Weighted(of) => {
                too_many("weighted.weights", of.weights.len());
                if of.is_empty() {
                    mistakes.push("`locality.weighted` gives no zone a weight above 0".into());
                }
            }
            Self::ZoneAware(of) => {
                too_many("zone_aware.callers", of.callers.len());
                if of.zone.is_empty() {
                    mistakes.push(
                        "`locality.zone_aware.zone` is empty, but must be the zone of the caller"
                            .into(),
                    );
                }
            }
        }
    }

    pub(super) fn clamped(mut self) -> Self {
        fn first<T>(zones: &mut BTreeMap<String, T>) {
            while zones.len() > MAX_ZONES {
                zones.pop_last();
            }
        }
        match &mut self {
            Self::Weighted(of) if !of.is_empty() => first(&mut of.weights),
            Self::ZoneAware(of) if !of.zone.is_empty() => first(&mut of.callers),
            _ => return Self::Off,
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_named_and_clamping_leaves_none() {
        let many = || (0..=MAX_ZONES).map(|zone| (zone.to_string(), 1));
        let weights = LocalityWeights::from_iter(many());
        let callers = many().map(|(zone, _)| (zone, 1));
        for (mode, key, clamped) in [
            (LocalityMode::Weighted(weights), "weighted.weights", false),
            (LocalityMode::Weighted(LocalityWeights::from_iter([("a", 0)])), "weighted", true),
            (LocalityMode::ZoneAware(ZoneAware::default()), "zone_aware.zone", true),
            (
                LocalityMode::ZoneAware(ZoneAware::from("a").with_callers(callers)),
                "zone_aware.callers",
                false,
            ),
        ] {
            let mistakes = |mode: &LocalityMode| {
                let mut mistakes = Vec::new();
                mode.mistakes(&mut mistakes);
                mistakes
            };
            let found = mistakes(&mode);
            assert!(
                found.len() == 1 && found[0].contains(&format!("`locality.{key}`")),
                "{found:?}"
            );
            let mode = mode.clamped();
            assert!(mistakes(&mode).is_empty());
            assert_eq!(mode == LocalityMode::Off, clamped);
        }
    }
}
