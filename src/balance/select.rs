//! Which members may be chosen: a pure rule over the candidacy of each member.

use std::collections::BTreeMap;

use crate::{error::Kind, member::Reason};

/// What the rule looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidacy {
    pub(super) word: u64,
    pub(super) tier: u32,
    pub(super) weight: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selection {
    /// The indices of those that may be chosen, in order.
    pub(super) candidates: Vec<u32>,
    /// Those of other tiers that nothing bars, the lowest tier first: for calls that have tried all
    /// candidates.
    pub(super) reserve: Vec<u32>,
    pub(super) panic: bool,
    /// What to say where there are none.
    pub(super) outage: Kind,
}

const EXCLUDED: u64 = Reason::Draining.bits() | Reason::Disabled.bits();

/// Selects the candidates; see [`super`] for the rule in words.
pub(super) fn select(candidacies: &[Candidacy], panic_threshold: u8) -> Selection {
    let mut tiers: BTreeMap<u32, Tier> = BTreeMap::new();
    for (index, candidacy) in (0..).zip(candidacies) {
        tiers.entry(candidacy.tier).or_default().add(index, candidacy);
    }
    let threshold = u64::from(panic_threshold);
    let sound = tiers.values_mut().find(|tier| {
        let eligible = tier.eligible.len() as u64;
        eligible > 0 && eligible * 100 >= threshold * tier.total
    });
    let (candidates, panic) = match sound {
        Some(tier) => (std::mem::take(&mut tier.eligible), false),
        None if threshold > 0 => {
            let tier = tiers.values_mut().find(|tier| !tier.in_panic.is_empty());
            (tier.map(|tier| std::mem::take(&mut tier.in_panic)).unwrap_or_default(), true)
        }
        None => (Vec::new(), false),
    };
    let panic = panic
        && candidates
            .iter()
            .any(|&index| candidacies[index as usize].word & Reason::IN_SNAPSHOT != 0);
    let candidates = weighted(candidates, candidacies);
    let reserve = tiers.into_values().flat_map(|tier| tier.eligible);
    let has_weight = |&index: &u32| candidacies[index as usize].weight > 0;
    let is_other = |index: &u32| candidates.binary_search(index).is_err();
    let reserve = reserve.filter(has_weight).filter(is_other).collect();
    Selection { candidates, reserve, panic, outage: outage(candidacies) }
}

#[derive(Default)]
struct Tier {
    /// All but those that are meant to get nothing.
    total: u64,
    eligible: Vec<u32>,
    in_panic: Vec<u32>,
}

impl Tier {
    fn add(&mut self, index: u32, candidacy: &Candidacy) {
        let barred = candidacy.word & Reason::IN_SNAPSHOT;
        if barred & EXCLUDED == 0 {
            self.total += 1;
        }
        if barred == 0 {
            self.eligible.push(index);
        }
        if barred & !Reason::OVERLOOKED_IN_PANIC == 0 {
            self.in_panic.push(index);
        }
    }
}

/// Without those of weight 0, unless that would leave none.
fn weighted(mut candidates: Vec<u32>, candidacies: &[Candidacy]) -> Vec<u32> {
    let has_weight = |&index: &u32| candidacies[index as usize].weight > 0;
    if candidates.iter().any(has_weight) {
        candidates.retain(has_weight);
    }
    candidates
}

fn outage(candidacies: &[Candidacy]) -> Kind {
    let mut wanted =
        candidacies.iter().filter(|candidacy| candidacy.word & EXCLUDED == 0).peekable();
    if candidacies.is_empty() {
        Kind::NoEndpoints
    } else if wanted.peek().is_some()
        && wanted.all(|candidacy| candidacy.word & Reason::CircuitOpen.bits() != 0)
    {
        Kind::CircuitOpen
    } else {
        Kind::AllEndpointsDown
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OK: u64 = 0;
    const SICK: u64 = 1;
    const OPEN: u64 = 1 << 16;
    const BUSY: u64 = 1 << 32;
    const DRAINING: u64 = Reason::Draining.bits();

    fn selected(candidacies: &[(u64, u32, u32)], threshold: u8) -> Selection {
        let candidacies: Vec<_> = candidacies
            .iter()
            .map(|&(word, tier, weight)| Candidacy { word, tier, weight })
            .collect();
        select(&candidacies, threshold)
    }

    fn alike(words: &[u64]) -> Selection {
        selected(&words.iter().map(|&word| (word, 0, 1)).collect::<Vec<_>>(), 50)
    }

    #[test]
    fn those_that_nothing_bars() {
        assert_eq!(alike(&[OK, SICK, OK, BUSY]).candidates, [0, 2, 3]);
        assert_eq!(alike(&[OK, OPEN, DRAINING]).candidates, [0]);
    }

    #[test]
    fn a_panic_ignores_health_and_nothing_else() {
        let panic = alike(&[OK, SICK, SICK, OPEN, DRAINING]);
        assert_eq!((panic.candidates, panic.panic), (vec![0, 1, 2], true));
        let half = alike(&[OK, SICK]);
        assert_eq!((half.candidates, half.panic), (vec![0], false));
        assert!(selected(&[(SICK, 0, 1)], 0).candidates.is_empty());
    }

    #[test]
    fn a_draining_member_does_not_count_towards_a_panic() {
        assert_eq!(alike(&[OK, SICK, DRAINING, DRAINING]).candidates, [0]);
    }

    #[test]
    fn the_next_tier_comes_before_a_panic() {
        let tiers = selected(&[(SICK, 0, 1), (SICK, 0, 1), (OK, 1, 1)], 50);
        assert_eq!((tiers.candidates, tiers.panic), (vec![2], false));
    }

    #[test]
    fn the_other_tiers_are_a_reserve_as_far_as_nothing_bars_them() {
        let tiers = selected(&[(OK, 2, 1), (SICK, 1, 1), (OK, 1, 0), (OK, 1, 1), (OK, 0, 1)], 50);
        assert_eq!((tiers.candidates, tiers.reserve), (vec![4], vec![3, 0]));
        let below = selected(&[(OK, 0, 1), (SICK, 0, 1), (SICK, 0, 1), (OK, 1, 1)], 50);
        assert_eq!((below.candidates, below.reserve), (vec![3], vec![0]));
        let panic = selected(&[(SICK, 0, 1), (SICK, 1, 1), (SICK, 1, 1), (OK, 1, 1)], 50);
        assert_eq!((panic.candidates, panic.reserve, panic.panic), (vec![0], vec![3], true));
        let alone = alike(&[OK, SICK]);
        assert!(alone.reserve.is_empty());
    }

    #[test]
    fn weight_zero_gets_nothing_unless_all_have_it() {
        assert_eq!(selected(&[(OK, 0, 0), (OK, 0, 2)], 50).candidates, [1]);
        assert_eq!(selected(&[(OK, 0, 0), (SICK, 0, 2)], 50).candidates, [0]);
    }

    #[test]
    fn the_outage_says_what_bars_them() {
        assert_eq!(alike(&[]).outage, Kind::NoEndpoints);
        assert_eq!(alike(&[OPEN, OPEN, DRAINING]).outage, Kind::CircuitOpen);
        assert_eq!(alike(&[OPEN, SICK]).outage, Kind::AllEndpointsDown);
        assert_eq!(alike(&[DRAINING]).outage, Kind::AllEndpointsDown);
    }

    proptest! {
        #[test]
        fn nobody_that_is_excluded_or_open_is_ever_chosen(
            candidacies in prop::collection::vec(
                (prop::sample::select(vec![OK, SICK, OPEN, BUSY, DRAINING, SICK | OPEN]), 0_u32..3, 0_u32..3),
                0..12,
            ),
            threshold in 0_u8..=100,
        ) {
            let selection = selected(&candidacies, threshold);
            for &index in &selection.candidates {
                let (word, ..) = candidacies[index as usize];
                prop_assert_eq!(word & (OPEN | DRAINING), 0);
                prop_assert!(word & SICK == 0 || selection.panic);
            }
            let any_sound = candidacies.iter().any(|&(word, ..)| word & !BUSY == OK);
            prop_assert!(!any_sound || !selection.candidates.is_empty());
        }
    }
}
