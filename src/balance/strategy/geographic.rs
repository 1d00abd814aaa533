use std::sync::Arc;

use super::{
    candidates::Candidates,
    draw::any_free,
    note::{Note, picks},
    strategy::Strategy,
};
use crate::{
    endpoint::Locality,
    member::Member,
    sync::{random, random_below},
};

/// Chooses the nearest endpoints, and of those the less loaded of two.
///
/// Nearest are those of the same sub-zone, then the same zone, the same region, the other regions in the order
/// that you give, and at last all the rest. If fewer than half of the endpoints of a level can be used, it
/// gets the more of its calls the more of them can be, and what is left goes on to the next level. Weights
/// do not count.
///
/// # Example
/// ```
/// use tower_upstream::{Endpoint, balance::{BalanceLayer, Geographic}, discover, endpoint::Locality};
/// let mut here = Locality::default();
/// (here.region, here.zone) = ("eu-west-1".into(), "eu-west-1a".into());
/// let near = Endpoint::new("a:1")?.with_locality(here.clone());
/// let layer = BalanceLayer::new(
///     discover::fixed([near, Endpoint::new("b:1")?])?,
///     Geographic::from(here).with_regions(["eu-central-1", "us-east-1"]),
/// );
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Geographic {
    here: Locality,
    regions: Vec<String>,
    threshold: u8,
}

impl From<Locality> for Geographic {
    /// Chooses the nearest to `here`.
    fn from(here: Locality) -> Self {
        Self { here, regions: Vec::new(), threshold: 50 }
    }
}

impl Geographic {
    /// Sets which regions come after the own one, the nearest first. Default: none, all are the same.
    #[must_use]
    pub fn with_regions<R: Into<String>>(mut self, regions: impl IntoIterator<Item = R>) -> Self {
        self.regions = regions.into_iter().map(Into::into).collect();
        self
    }

    /// Sets which share of a level must be usable for it to keep all its calls, in percent. 0 moves on only
    /// if none is. More than 100 becomes 100. Default: 50.
    ///
    /// ```
    /// use tower_upstream::{balance::Geographic, endpoint::Locality};
    /// let strategy = Geographic::from(Locality::default()).with_threshold(70);
    /// ```
    #[must_use]
    pub fn with_threshold(mut self, percent: u8) -> Self {
        self.threshold = percent.min(100);
        self
    }

    /// How far away that is. What is unknown is not near.
    fn level(&self, there: &Locality) -> usize {
        let same = |one: &str, other: &str| !one.is_empty() && one == other;
        let region = same(&self.here.region, &there.region);
        // A zone of an unknown region is told by its name.
        let zone = same(&self.here.zone, &there.zone) && self.here.region == there.region;
        match () {
            () if zone && same(&self.here.sub_zone, &there.sub_zone) => 0,
            () if zone => 1,
            () if region => 2,
            () => {
                let listed = self.regions.iter().position(|of| same(of, &there.region));
                3 + listed.unwrap_or(self.regions.len())
            }
        }
    }
}

/// State of [`Geographic`]: the endpoints of each level, the nearest first, and how many calls stay there.
#[derive(Debug)]
pub struct GeographicTable {
    levels: Vec<Level>,
}

#[derive(Debug, Default)]
struct Level {
    usable: Vec<usize>,
    all: u64,
    /// Of 2^32 calls that come to this level, so many stay.
    stay: u64,
    /// Whether there is a nearer one, which cannot have all calls.
    is_farther: bool,
}

impl Strategy for Geographic {
    type Table = GeographicTable;

    fn table(&self, members: &[Arc<Member>], _: Option<&GeographicTable>) -> GeographicTable {
        self.table_among(members, members, None)
    }

    fn table_among(
        &self,
        members: &[Arc<Member>],
        all: &[Arc<Member>],
        _: Option<&GeographicTable>,
    ) -> GeographicTable {
        let mut levels: Vec<Level> = Vec::new();
        levels.resize_with(4 + self.regions.len(), Level::default);
        let level = |member: &Arc<Member>| self.level(member.endpoint().locality());
        // Members of other tiers are other endpoints.
        let tier = members.first().map(|member| member.tier());
        for member in all.iter().filter(|member| Some(member.tier()) == tier) {
            levels[level(member)].all += 1;
        }
        for (index, member) in members.iter().enumerate() {
            levels[level(member)].usable.push(index);
        }
        let nearest = levels.iter().position(|level| level.all > 0).unwrap_or(0);
        levels.iter_mut().skip(nearest + 1).for_each(|level| level.is_farther = true);
        levels.retain(|level| !level.usable.is_empty());
        for level in &mut levels {
            level.stay = stay(level.usable.len() as u64, level.all, self.threshold);
        }
        // There is no further one to go to.
        if let Some(last) = levels.last_mut() {
            last.stay = 1 << 32;
        }
        GeographicTable { levels }
    }
}

/// Of 2^32 calls, those that stay where this many of all can be used.
fn stay(usable: u64, all: u64, threshold: u8) -> u64 {
    let enough = all * u64::from(threshold);
    ((usable * 100) << 32).checked_div(enough).map_or(1 << 32, |share| share.min(1 << 32))
}

picks!(Geographic);

impl Geographic {
    #[inline]
    fn choose(
        &self,
        table: &GeographicTable,
        candidates: Candidates<'_>,
        note: &impl Note,
    ) -> Option<usize> {
        let stays = |level: &&Level| (random() >> 32) < level.stay;
        let level = table.levels.iter().find(stays)?;
        level
            .less_loaded(&candidates, note)
            .or_else(|| table.levels.iter().find_map(|level| level.less_loaded(&candidates, note)))
            .or_else(|| any_free(&candidates))
    }
}

impl Level {
    fn less_loaded(&self, candidates: &Candidates<'_>, note: &impl Note) -> Option<usize> {
        let len = u32::try_from(self.usable.len()).ok()?;
        let one = random_below(len);
        let two = (one + 1 + random_below(len.saturating_sub(1))).checked_rem(len)?;
        let drawn = [one, two].map(|drawn| self.usable.get(drawn as usize).copied());
        let drawn = drawn.into_iter().flatten().filter(|&index| candidates.is_free(index));
        let load = |&index: &usize| {
            let load = candidates.get(index).map(|candidate| candidate.load());
            note.cost(index, load.unwrap_or(0));
            load
        };
        // Both are barred: any other of this level.
        let chosen = drawn
            .min_by_key(load)
            .or_else(|| self.usable.iter().copied().find(|&index| candidates.is_free(index)))?;
        if self.is_farther {
            note.spilled();
        }
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{obeys, of, pick, pick_again},
        *,
    };
    use crate::endpoint::Endpoint;

    fn at(region: &str, zone: &str, sub_zone: &str) -> Locality {
        Locality { region: region.into(), zone: zone.into(), sub_zone: sub_zone.into() }
    }

    fn here() -> Geographic {
        Geographic::from(at("eu", "eu-a", "rack-1")).with_regions(["us", "ap"])
    }

    fn members(localities: &[Locality]) -> Vec<Arc<Member>> {
        of(localities.iter().enumerate().map(|(index, locality)| {
            Endpoint::new(format!("h:{}", index + 1)).unwrap().with_locality(locality.clone())
        }))
    }

    #[test]
    fn it_obeys() {
        obeys(&here());
    }

    #[test]
    fn levels_are_sub_zone_zone_region_the_regions_in_order_and_the_rest() {
        let far = [
            at("eu", "eu-a", "rack-1"),
            at("eu", "eu-a", "rack-2"),
            at("eu", "eu-b", "rack-1"),
            at("us", "us-a", ""),
            at("ap", "ap-a", ""),
            at("sa", "sa-a", ""),
            at("", "", ""),
        ];
        assert_eq!(far.map(|there| here().level(&there)), [0, 1, 2, 3, 4, 5, 5]);
        assert_eq!(Geographic::from(at("", "", "")).level(&at("", "", "")), 3, "unknown");
        assert_eq!(Geographic::from(at("", "z", "")).level(&at("", "z", "")), 1);
    }

    #[test]
    fn a_level_keeps_all_while_half_of_it_can_be_used_and_spills_below() {
        let (near, far) = (at("eu", "eu-a", ""), at("us", "us-a", ""));
        let all = members(&[near.clone(), near.clone(), near.clone(), near, far]);
        let share = |usable: usize| {
            let candidates = [&all[..usable], &all[4..]].concat();
            let table = here().table_among(&candidates, &all, None);
            let picks = (0..4_000).filter_map(|_| pick(&here(), &table, &candidates));
            picks.filter(|&index| index < usable).count()
        };
        assert_eq!((share(4), share(2)), (4_000, 4_000));
        assert!(share(1).abs_diff(2_000) < 200, "half of what comes there");
        assert_eq!(share(0), 0);
    }

    #[test]
    fn what_was_tried_near_is_tried_far_next() {
        let members =
            members(&[at("eu", "eu-a", "rack-1"), at("eu", "eu-b", ""), at("us", "", "")]);
        let table = here().table(&members, None);
        assert_eq!(pick(&here(), &table, &members), Some(0));
        assert_eq!(pick_again(&here(), &table, &members, &[0]), Some(1));
        assert_eq!(pick_again(&here(), &table, &members, &[0, 1]), Some(2));
    }
}
