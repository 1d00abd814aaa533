//! Which members may be chosen, and for what share of the calls: a rule over the candidacy of each member.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    error::Kind,
    member::Reason,
    rules::{FailBack, FailBackRule, PanicMode, Priorities, Priority, Split, was_good},
};

/// What the rule looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidacy {
    pub(super) word: u64,
    pub(super) tier: u32,
    pub(super) weight: u32,
    /// Whether it was available, or was when the panic of its priority began.
    pub(super) was_good: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct SelectRule {
    pub(super) priorities: Priorities,
    pub(super) panic_mode: PanicMode,
    /// `None`: at once.
    pub(super) fail_back: Option<FailBackRule>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Selection {
    /// Those that share the load, the lowest tier first.
    pub(super) shares: Vec<Share>,
    /// The others that nothing bars, each with its rank, the lowest first: for calls that have tried all
    /// candidates.
    pub(super) reserve: Vec<(u64, u32)>,
    /// What to remember of each member.
    pub(super) was_good: Vec<bool>,
    /// Whether load is on its way back to a better priority: look again soon.
    pub(super) is_moving: bool,
    /// Whether zones or their hints are ignored, since not all candidates have some.
    pub(super) zones_ignored: bool,
    /// What to say where there are no candidates.
    pub(super) outage: Kind,
}

/// Members that share a part of the load.
#[derive(Debug, PartialEq)]
pub(super) struct Share {
    pub(super) tier: u32,
    /// What tells the zone of its candidates from others; 0 is any.
    pub(super) zone: u32,
    /// Whether that is the caller's.
    pub(super) is_near: bool,
    /// Of 1, which all together have.
    pub(super) load: f64,
    /// The indices of those that may be chosen, in order.
    pub(super) candidates: Vec<u32>,
    /// Whether some of them are here only because health is ignored.
    pub(super) panic: bool,
}

impl Candidacy {
    fn barred(&self) -> u64 {
        self.word & Reason::IN_SNAPSHOT
    }

    fn is_well(&self) -> bool {
        self.barred() == 0
    }

    /// Its place in the reserve. Each tier has two: the second is for those in other zones than the caller's.
    pub(super) fn rank(&self) -> u64 {
        u64::from(self.tier) << 1
    }
}

impl Share {
    fn of(tier: u32, load: f64, candidates: Vec<u32>) -> Self {
        Self { tier, zone: 0, is_near: false, load, candidates, panic: false }
    }
}

/// The rule, and what it remembers from one selection to the next.
#[derive(Debug, Default)]
pub(super) struct Selector {
    fail_back: FailBack,
}

impl Selector {
    /// Selects the candidates; see [`super`] for the rule in words. `now` is since any start.
    pub(super) fn select(
        &mut self,
        rule: &SelectRule,
        candidacies: &[Candidacy],
        now: Duration,
    ) -> Selection {
        // Those of weight 0 are as if they were not there while any other is well.
        let by_weight = candidacies.iter().any(|of| of.weight > 0 && of.is_well());
        let mut ranks: BTreeMap<u32, Rank> = BTreeMap::new();
        let mut indices = 0..;
        for run in candidacies.chunk_by(|one, next| one.tier / 2 == next.tier / 2) {
            let Some(first) = run.first() else { continue };
            let rank = ranks.entry(first.tier / 2).or_default();
            let counted =
                run.iter().zip(&mut indices).filter(|(of, _)| of.weight > 0 || !by_weight);
            counted.for_each(|(of, index)| rank.add(index, of));
        }
        let counts: Vec<_> = ranks.values().map(Rank::counts).collect();
        let priorities: Vec<_> = ranks.keys().copied().collect();
        let split = rule.priorities.split(&counts);
        if rule.fail_back.is_none() {
            self.fail_back = FailBack::default();
        }
        let fail_back = rule.fail_back.unwrap_or_default();
        let loads = self.fail_back.follow(&fail_back, &priorities, &split, now);
        let is_moving =
            split.healthy.iter().zip(&split.degraded).zip(loads).any(
                |((healthy, degraded), load)| (f64::from(healthy + degraded) - load).abs() > 1e-6,
            );
        let sharing = Sharing { split: &split, panic_mode: rule.panic_mode, candidacies };
        let of = ranks.iter().zip(loads).enumerate();
        let mut shares: Vec<_> = of
            .flat_map(|(number, ((&priority, rank), &load))| {
                sharing.of(number, priority * 2, rank, load)
            })
            .collect();
        shares.retain(|share| share.load > 0.0 && !share.candidates.is_empty());
        // Load went where no candidate is, such as to a priority in which all circuits are open.
        if shares.is_empty() && !(rule.panic_mode == PanicMode::Fail && split.is_total_panic()) {
            shares.extend(lowest(&ranks));
        }
        shares.iter_mut().for_each(|share| weighted(&mut share.candidates, candidacies));
        let total: f64 = shares.iter().map(|share| share.load).sum();
        shares.iter_mut().for_each(|share| share.load /= total);

        let mut is_candidate = vec![false; candidacies.len()];
        let chosen = shares.iter().flat_map(|share| &share.candidates);
        chosen.for_each(|&index| is_candidate[index as usize] = true);
        let eligible = ranks.values().flat_map(|rank| rank.healthy.iter().chain(&rank.degraded));
        let reserve = |&index: &u32| {
            let of = &candidacies[index as usize];
            (of.weight > 0 && !is_candidate[index as usize]).then_some((of.rank(), index))
        };
        let has_panic = split.panic.contains(&true);
        let panics: BTreeMap<_, _> = ranks.keys().copied().zip(split.panic).collect();
        let was_good = candidacies.iter().map(|of| {
            let is_in_panic = has_panic && panics.get(&(of.tier / 2)) == Some(&true);
            was_good(of.was_good, of.is_well(), is_in_panic)
        });
        Selection {
            reserve: eligible.filter_map(reserve).collect(),
            was_good: was_good.collect(),
            shares,
            is_moving,
            zones_ignored: false,
            outage: outage(candidacies),
        }
    }
}

/// The members of one priority.
#[derive(Debug, Default)]
struct Rank {
    hosts: u32,
    /// Those that are meant to get nothing.
    excluded: u32,
    healthy: Vec<u32>,
    degraded: Vec<u32>,
    in_panic: Vec<u32>,
}

impl Rank {
    fn add(&mut self, index: u32, candidacy: &Candidacy) {
        let barred = candidacy.barred();
        self.hosts += 1;
        self.excluded += u32::from(barred & Reason::EXCLUDED != 0);
        match (barred, candidacy.tier % 2) {
            (0, 0) => self.healthy.push(index),
            (0, _) => self.degraded.push(index),
            _ => {}
        }
        if barred & !Reason::OVERLOOKED_IN_PANIC == 0 {
            self.in_panic.push(index);
        }
    }

    fn counts(&self) -> Priority {
        let count = |of: &[u32]| u32::try_from(of.len()).unwrap_or(u32::MAX);
        Priority {
            degraded: count(&self.degraded),
            excluded: self.excluded,
            ..Priority::of(self.hosts, count(&self.healthy))
        }
    }
}

/// What the shares of each priority follow from.
struct Sharing<'a> {
    split: &'a Split,
    panic_mode: PanicMode,
    candidacies: &'a [Candidacy],
}

impl Sharing<'_> {
    /// Those to which `load` percent go, all of one priority: that with this number, from 0.
    fn of(&self, number: usize, tier: u32, rank: &Rank, load: f64) -> Vec<Share> {
        if self.split.panic.get(number) == Some(&true) {
            return vec![self.in_panic(tier, rank, load)];
        }
        let of = |loads: &[u32]| loads.get(number).copied().map_or(0.0, f64::from);
        let (healthy, degraded) = (of(&self.split.healthy), of(&self.split.degraded));
        // What is on its way elsewhere stays where it was.
        let part = match healthy + degraded {
            0.0 => f64::from(u8::from(!rank.healthy.is_empty())),
            sum => healthy / sum,
        };
        let parts = [(tier, part, &rank.healthy), (tier + 1, 1.0 - part, &rank.degraded)];
        let share =
            |(tier, part, of): (_, f64, &Vec<u32>)| Share::of(tier, load * part, of.clone());
        parts.map(share).into()
    }

    fn in_panic(&self, tier: u32, rank: &Rank, load: f64) -> Share {
        let of = |&index: &u32| &self.candidacies[index as usize];
        let mut candidates = rank.in_panic.clone();
        candidates
            .retain(|index| self.panic_mode.admits(true, of(index).is_well(), of(index).was_good));
        if candidates.is_empty() && self.panic_mode == PanicMode::LastKnownGood {
            candidates.clone_from(&rank.in_panic);
        }
        let panic = !candidates.iter().all(|index| of(index).is_well());
        Share { panic, ..Share::of(tier, load, candidates) }
    }
}

/// All that nothing bars of the lowest tier that has any.
fn lowest(ranks: &BTreeMap<u32, Rank>) -> Option<Share> {
    let of = |(&priority, rank): (&u32, &Rank)| {
        let tiers = [(priority * 2, &rank.healthy), (priority * 2 + 1, &rank.degraded)];
        let (tier, candidates) = tiers.into_iter().find(|(_, of)| !of.is_empty())?;
        Some(Share::of(tier, 1.0, candidates.clone()))
    };
    ranks.iter().find_map(of)
}

/// Leaves out those of weight 0, unless that would leave none.
fn weighted(candidates: &mut Vec<u32>, candidacies: &[Candidacy]) {
    let has_weight = |&index: &u32| candidacies[index as usize].weight > 0;
    if candidates.iter().any(has_weight) {
        candidates.retain(has_weight);
    }
}

fn outage(candidacies: &[Candidacy]) -> Kind {
    let mut wanted =
        candidacies.iter().filter(|candidacy| candidacy.word & Reason::EXCLUDED == 0).peekable();
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
#[path = "select_tests.rs"]
mod tests;
