use std::{
    cmp::Ordering,
    sync::{Arc, Mutex},
};

use super::{
    candidates::{Candidate, Candidates},
    draw::{Look, another, any, any_free, better, better_of_two, least, uneven},
    note::{Note, picks},
    strategy::Strategy,
};
use crate::{
    member::Member,
    rules::{AliasTable, Edf, least_request_weight},
    sync::{lock, random},
};

/// Chooses the less loaded of two endpoints that are drawn at random. Suits calls that cost about the same.
///
/// Two *different* candidates are drawn, and the one with fewer calls in flight is chosen. This keeps the
/// longest queue within `ln ln n` of the best (Mitzenmacher, "The Power of Two Choices in Randomized Load
/// Balancing", 2001), without the herd that looking at all of them would send to the least loaded.
///
/// # Weights
/// If weights differ, endpoints are drawn in proportion to their weights, and the calls in flight are
/// compared in proportion to them. [`with_bias`](Self::with_bias) schedules as Envoy does instead.
///
/// # An endpoint that fails at once
/// Such an endpoint has no calls in flight, so it wins each draw that it is part of: of `n` busy
/// endpoints it gets `2 / n` of the calls, 19.5 % measured with ten. Put a
/// [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) below the balancer, which opens after a few such
/// failures, or use [`PeakEwma`](super::PeakEwma).
///
/// ```
/// use tower_upstream::{balance::{BalanceLayer, LeastRequest}, discover};
/// let layer = BalanceLayer::new(discover::fixed(["a:1", "b:1"])?, LeastRequest::new());
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct LeastRequest {
    look: Look,
    bias: Option<f64>,
}

impl LeastRequest {
    /// Compares two.
    pub const fn new() -> Self {
        Self { look: Look::TWO, bias: None }
    }

    /// Compares this many: from 2 to 10. Those beyond two are drawn with replacement. Default: 2.
    ///
    /// ```
    /// use tower_upstream::LeastRequest;
    /// let strategy = LeastRequest::new().with_choices(3);
    /// ```
    #[must_use]
    pub fn with_choices(mut self, choices: u32) -> Self {
        self.look = Look::at(choices);
        self
    }

    /// Compares all endpoints, and takes any of those with the fewest calls. O(n), and many callers that do so
    /// all call the same one at a time: for a few endpoints, and a single caller.
    ///
    /// ```
    /// use tower_upstream::LeastRequest;
    /// let strategy = LeastRequest::new().with_full_scan();
    /// ```
    #[must_use]
    pub fn with_full_scan(mut self) -> Self {
        self.look = Look::AtAll;
        self
    }

    /// Takes endpoints in turn, each as often as `weight / (in flight + 1)^bias` says, as Envoy does where
    /// weights differ. 0 ignores the load, 1 divides by it; a bias that is negative or NaN counts as 1.
    ///
    /// The turns are kept under a lock, which all calls of a set take: O(log n). Default: no turns.
    ///
    /// ```
    /// use tower_upstream::LeastRequest;
    /// let strategy = LeastRequest::new().with_bias(1.0);
    /// ```
    #[must_use]
    pub fn with_bias(mut self, bias: f64) -> Self {
        self.bias = Some(bias);
        self
    }
}

/// State of [`LeastRequest`]: what the weights of the members lead to.
#[derive(Debug)]
pub struct LeastRequestTable {
    /// How many there are if two of them are compared, alike, as nearly always; or 0.
    two_of: u32,
    weights: Weights,
}

#[derive(Debug)]
enum Weights {
    Alike,
    Drawn(AliasTable),
    Scheduled { turns: Mutex<Edf>, weights: Vec<f64> },
}

impl Strategy for LeastRequest {
    type Table = LeastRequestTable;

    fn table(
        &self,
        members: &[Arc<Member>],
        before: Option<&LeastRequestTable>,
    ) -> LeastRequestTable {
        let weights = match self.bias {
            Some(_) => scheduled(members, before),
            None => uneven(members).map_or(Weights::Alike, Weights::Drawn),
        };
        let two_of = match weights {
            Weights::Alike => self.look.two_of(members.len()),
            _ => 0,
        };
        LeastRequestTable { two_of, weights }
    }
}

/// The turns go on where they were, unless the weights are others.
fn scheduled(members: &[Arc<Member>], before: Option<&LeastRequestTable>) -> Weights {
    // Those of weight 0 are here only if all have it.
    let weight = |member: &Arc<Member>| f64::from(member.weight().max(1));
    let weights: Vec<_> = members.iter().map(weight).collect();
    let turns = match before.map(|before| &before.weights) {
        Some(Weights::Scheduled { turns, weights: old }) if *old == weights => lock(turns).clone(),
        // From a random turn on, so that many callers do not all begin with the same.
        _ => Edf::with_picks(&weights, any(weights.len().min(1 << 10)) as u32),
    };
    Weights::Scheduled { turns: Mutex::new(turns), weights }
}

picks!(LeastRequest);

impl LeastRequest {
    #[inline(always)]
    fn choose(
        &self,
        table: &LeastRequestTable,
        candidates: Candidates<'_>,
        note: &impl Note,
    ) -> Option<usize> {
        if table.two_of > 0 {
            return better_of_two(candidates, table.two_of, |of| of.load(), note);
        }
        self.choose_otherwise(table, &candidates, note)
    }

    #[inline(never)]
    fn choose_otherwise(
        &self,
        table: &LeastRequestTable,
        candidates: &Candidates<'_>,
        note: &impl Note,
    ) -> Option<usize> {
        match &table.weights {
            Weights::Alike => {
                let load = |candidate: Candidate<'_>| f64::from(candidate.load());
                least(candidates, self.look, || any(candidates.len()), load, note)
            }
            Weights::Drawn(drawn) if self.look == Look::TWO => {
                let one = drawn.pick(random());
                let two = another(candidates.len(), one, || drawn.pick(random()));
                let load =
                    |of: Candidate<'_>| ForItsWeight { load: of.load(), weight: of.weight() };
                better(*candidates, (one, two), load, note)
            }
            Weights::Drawn(drawn) => {
                let load = |candidate: Candidate<'_>| {
                    f64::from(candidate.load()) / f64::from(candidate.weight())
                };
                least(candidates, self.look, || drawn.pick(random()), load, note)
            }
            Weights::Scheduled { turns, .. } => {
                self.pick_in_turn(turns, candidates).or_else(|| any_free(candidates))
            }
        }
    }

    fn pick_in_turn(&self, turns: &Mutex<Edf>, candidates: &Candidates<'_>) -> Option<usize> {
        let bias = self.bias.unwrap_or(1.0);
        let weight = |index| {
            let of = candidates.get(index).map(|candidate| (candidate.weight(), candidate.load()));
            let (weight, load) = of.unwrap_or((1, 0));
            least_request_weight(f64::from(weight.max(1)), u64::from(load), bias)
        };
        let mut turns = lock(turns);
        // Bounded, since all calls wait for it.
        (0..candidates.len().min(MAX_TURNS))
            .map_while(|_| turns.pick(weight))
            .find(|&index| candidates.is_free(index))
    }
}

/// Calls in flight in proportion to a weight, which are compared without a division.
#[derive(Clone, Copy)]
struct ForItsWeight {
    load: u32,
    weight: u32,
}

impl ForItsWeight {
    fn times(self, weight: u32) -> u64 {
        u64::from(self.load) * u64::from(weight)
    }
}

impl PartialEq for ForItsWeight {
    fn eq(&self, other: &Self) -> bool {
        self.times(other.weight) == other.times(self.weight)
    }
}

impl PartialOrd for ForItsWeight {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.times(other.weight).cmp(&other.times(self.weight)))
    }
}

impl From<ForItsWeight> for f64 {
    fn from(of: ForItsWeight) -> Self {
        Self::from(of.load) / Self::from(of.weight.max(1))
    }
}

/// Turns that one call may take.
const MAX_TURNS: usize = 64;

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{counts, members, obeys, pick},
        *,
    };

    /// With calls that never end.
    fn held(strategy: LeastRequest, weights: &[u32], picks: usize) -> Vec<u32> {
        let members = members(weights);
        let table = strategy.table(&members, None);
        let calls: Vec<_> = (0..picks)
            .map(|_| members[pick(&strategy, &table, &members).unwrap()].begin())
            .collect();
        let loads = members.iter().map(|member| member.in_flight()).collect();
        drop(calls);
        loads
    }

    #[test]
    fn every_way_obeys() {
        let new = LeastRequest::new();
        for strategy in [new, new.with_choices(5), new.with_full_scan(), new.with_bias(1.0)] {
            obeys(&strategy);
        }
    }

    #[test]
    fn the_less_loaded_for_its_weight_wins() {
        assert_eq!(held(LeastRequest::new(), &[1, 3], 40), [10, 30]);
        assert_eq!(held(LeastRequest::new().with_full_scan(), &[1, 2, 5], 40), [5, 10, 25]);
        // A turn weighs the load that there was at the last one.
        assert_eq!(held(LeastRequest::new().with_bias(0.0), &[1, 1, 2], 40), [10, 10, 20]);
        let loads = held(LeastRequest::new().with_bias(1.0), &[1, 1, 2], 40);
        assert!(loads[2] > loads[0] + 2 && loads[0].abs_diff(loads[1]) <= 1, "{loads:?}");
    }

    #[test]
    fn more_choices_leave_less_between_the_loads() {
        let loads = held(LeastRequest::new().with_choices(10), &[1; 20], 400);
        assert!(loads.iter().all(|load| (18..=22).contains(load)), "{loads:?}");
    }

    #[test]
    fn idle_endpoints_get_shares_of_their_weights() {
        for strategy in [LeastRequest::new(), LeastRequest::new().with_bias(1.0)] {
            let counts = counts(&strategy, &members(&[1, 2, 5]), 80_000);
            for (count, expected) in counts.iter().zip([10_000, 20_000, 50_000]) {
                assert!(count.abs_diff(expected) < 6_000, "{counts:?}");
            }
        }
    }

    #[test]
    fn the_turns_go_on_while_the_weights_stay() {
        let (strategy, members) = (LeastRequest::new().with_bias(0.0), members(&[1, 2, 4]));
        let mut table = strategy.table(&members, None);
        let mut counts = [0; 3];
        for _ in 0..7 * 8 {
            counts[pick(&strategy, &table, &members).unwrap()] += 1;
            table = strategy.table(&members, Some(&table));
        }
        assert_eq!(counts, [8, 16, 32]);
    }
}
