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
    /// Those that `fail_back` knows.
    priorities: Vec<u32>,
}

impl Selector {
    /// Selects the candidates; see [`super`] for the rule in words. `now` is since any start.
    pub(super) fn select(
        &mut self,
        rule: &SelectRule,
        candidacies: &[Candidacy],
        now: Duration,
    ) -> Selection {
        let mut ranks: BTreeMap<u32, Rank> = BTreeMap::new();
        let mut indices = 0..;
        for run in candidacies.chunk_by(|one, next| one.tier / 2 == next.tier / 2) {
            let Some(first) = run.first() else { continue };
            let rank = ranks.entry(first.tier / 2).or_default();
            run.iter().zip(&mut indices).for_each(|(of, index)| rank.add(index, of));
        }
        let counts: Vec<_> = ranks.values().map(Rank::counts).collect();
        let split = rule.priorities.split(&counts);
        let loads = self.loads(rule, &split, ranks.keys().copied().collect(), now);
        let is_moving =
            split.healthy.iter().zip(&split.degraded).zip(loads).any(
                |((healthy, degraded), load)| (f64::from(healthy + degraded) - load).abs() > 1e-6,
            );
        let mut shares = Vec::new();
        for (number, (&priority, rank)) in ranks.iter().enumerate() {
            let load = loads.get(number).copied().unwrap_or(0.0);
            rank.share(
                priority * 2,
                load,
                number,
                &split,
                rule.panic_mode,
                candidacies,
                &mut shares,
            );
        }
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
            was_good(of.was_good, of.word & Reason::IN_SNAPSHOT == 0, is_in_panic)
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

    /// The load of each priority, in percent.
    fn loads(
        &mut self,
        rule: &SelectRule,
        split: &Split,
        priorities: Vec<u32>,
        now: Duration,
    ) -> &[f64] {
        if self.priorities != priorities || rule.fail_back.is_none() {
            *self = Self { fail_back: FailBack::default(), priorities };
        }
        self.fail_back.follow(&rule.fail_back.unwrap_or_default(), split, now)
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
        let barred = candidacy.word & Reason::IN_SNAPSHOT;
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

    /// Adds those that `load` goes to, which is in percent.
    #[allow(clippy::too_many_arguments)]
    fn share(
        &self,
        tier: u32,
        load: f64,
        number: usize,
        split: &Split,
        panic_mode: PanicMode,
        candidacies: &[Candidacy],
        shares: &mut Vec<Share>,
    ) {
        let of = |loads: &[u32]| loads.get(number).copied().map_or(0.0, f64::from);
        if split.panic.get(number) == Some(&true) {
            let of_index = |index: &u32| candidacies[*index as usize];
            let is_well = |index: &u32| of_index(index).word & Reason::IN_SNAPSHOT == 0;
            let mut candidates = self.in_panic.clone();
            candidates
                .retain(|index| panic_mode.admits(true, is_well(index), of_index(index).was_good));
            if candidates.is_empty() && panic_mode == PanicMode::LastKnownGood {
                candidates.clone_from(&self.in_panic);
            }
            let panic = !candidates.iter().all(is_well);
            shares.push(Share { panic, ..Share::of(tier, load, candidates) });
            return;
        }
        let (healthy, degraded) = (of(&split.healthy), of(&split.degraded));
        // What is on its way elsewhere stays where it was.
        let part = match healthy + degraded {
            0.0 => f64::from(u8::from(!self.healthy.is_empty())),
            sum => healthy / sum,
        };
        let parts = [(tier, part, &self.healthy), (tier + 1, 1.0 - part, &self.degraded)];
        for (tier, part, candidates) in parts {
            shares.push(Share::of(tier, load * part, candidates.clone()));
        }
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
