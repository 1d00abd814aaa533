use std::sync::Arc;

use super::{
    candidates::Candidates,
    draw::any_free,
    proportions::Proportions,
    strategy::{Pick, Strategy},
    turn::Turn,
};
use crate::{
    member::Member,
    rules::{Edf, SmoothWrr, StaticStride},
};

/// Chooses the endpoints in turn, each as often as its weight says, and spreads the turns of each.
///
/// Use it where calls cost the same and endpoints differ in size. Whatever the schedule, a choice is one
/// atomic addition, and with the last a search:
///
/// | endpoints | schedule |
/// |---|---|
/// | up to 64, and up to 4,096 turns in a cycle | smooth weighted round robin, as in nginx: `{5, 1, 1}` gives a a b a c a a |
/// | more, and up to 4,096 turns in a cycle | earliest deadline first, as in Envoy |
/// | more turns, and weights from a tenth of their mean to ten times it | static stride, as in gRPC |
/// | any others | each turn is a step of the golden ratio along the weights |
///
/// So a weight of 1 beside one of 65,535 gets one call in 65,536, give or take a few at any time, and one that
/// [warms up](crate::balance::BalanceConfig::slow_start) what is left of its weight.
///
/// A cycle has as many turns as the sum of the weights, divided by their common divisor. An endpoint that
/// cannot be used loses its turn to the next. If the set changes, the count of turns goes on.
///
/// ```
/// use tower_upstream::{Endpoint, balance::{BalanceLayer, WeightedRoundRobin}, discover};
/// let endpoints = [Endpoint::new("a:1")?.with_weight(3), Endpoint::new("b:1")?];
/// let layer = BalanceLayer::new(discover::fixed(endpoints)?, WeightedRoundRobin::new());
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct WeightedRoundRobin {
    start: Option<usize>,
    only_stride: bool,
}

impl WeightedRoundRobin {
    /// Starts with a random turn.
    pub const fn new() -> Self {
        Self { start: None, only_stride: false }
    }

    /// Starts with this turn of the cycle. For tests.
    ///
    /// ```
    /// use tower_upstream::balance::WeightedRoundRobin;
    /// let strategy = WeightedRoundRobin::starting_at(0);
    /// ```
    pub const fn starting_at(turn: usize) -> Self {
        Self { start: Some(turn), only_stride: false }
    }

    /// Schedules by static stride, however few the endpoints are: a set that changes all the time prepares
    /// this the fastest. As in gRPC, weights are clamped to between a tenth and ten times their mean.
    ///
    /// ```
    /// use tower_upstream::balance::WeightedRoundRobin;
    /// let strategy = WeightedRoundRobin::new().with_static_stride();
    /// ```
    #[must_use]
    pub const fn with_static_stride(mut self) -> Self {
        self.only_stride = true;
        self
    }
}

/// State of [`WeightedRoundRobin`]: the schedule, and the turn.
#[derive(Debug)]
pub struct WeightedRoundRobinTable {
    turn: Turn,
    weights: Box<[u32]>,
    schedule: Schedule,
}

#[derive(Debug, Clone)]
enum Schedule {
    /// All weigh the same.
    Even,
    Cycle(Arc<[u32]>),
    Stride(Arc<StaticStride>),
    Proportions(Arc<Proportions>),
}

/// Up to so many endpoints have a schedule of nginx.
const SMOOTH: usize = 64;

/// Turns in a cycle that is prepared.
const CYCLE: u64 = 4_096;

/// Turns that one call may take.
const TURNS: usize = 16;

impl Strategy for WeightedRoundRobin {
    type Table = WeightedRoundRobinTable;

    fn table(
        &self,
        members: &[Arc<Member>],
        before: Option<&WeightedRoundRobinTable>,
    ) -> WeightedRoundRobinTable {
        let weights: Box<[_]> = members.iter().map(|member| member.weight()).collect();
        let schedule = match before {
            Some(before) if before.weights == weights => before.schedule.clone(),
            _ => schedule(&weights, self.only_stride),
        };
        let before = before.filter(|before| !before.weights.is_empty());
        let turn = Turn::after(before.map(|before| &before.turn), self.start);
        WeightedRoundRobinTable { turn, weights, schedule }
    }
}

fn schedule(weights: &[u32], only_stride: bool) -> Schedule {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor);
    if weights.iter().all(|&weight| weight == divisor) {
        return Schedule::Even;
    }
    let weights: Vec<_> = weights.iter().map(|weight| weight / divisor).collect();
    let fractions = || weights.iter().map(|&weight| f64::from(weight)).collect::<Vec<_>>();
    let turns: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
    let cycle = |mut pick: Box<dyn FnMut() -> Option<usize> + '_>| {
        Schedule::Cycle((0..turns).filter_map(|_| pick()).map(|index| index as u32).collect())
    };
    if only_stride || (turns > CYCLE && are_close(&weights, turns)) {
        let stride = StaticStride::new(&fractions());
        stride.map_or(Schedule::Even, |stride| Schedule::Stride(Arc::new(stride)))
    } else if turns > CYCLE {
        Schedule::Proportions(Arc::new(Proportions::new(&weights)))
    } else if weights.len() <= SMOOTH {
        let mut smooth = SmoothWrr::new(&weights);
        cycle(Box::new(move || smooth.pick()))
    } else {
        let fractions = fractions();
        let mut edf = Edf::new(&fractions);
        cycle(Box::new(move || edf.pick(|index| fractions[index])))
    }
}

/// Whether static stride takes the weights as they are, whose sum is `sum`.
fn are_close(weights: &[u32], sum: u64) -> bool {
    let positive = || weights.iter().filter(|&&weight| weight > 0);
    let (number, sum) = (positive().count() as u128, u128::from(sum));
    positive().map(|&weight| u128::from(weight) * number).all(|of| of * 10 >= sum && of <= sum * 10)
}

fn greatest_common_divisor(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

impl<Req: ?Sized> Pick<Req> for WeightedRoundRobin {
    #[inline]
    fn pick(
        &self,
        table: &WeightedRoundRobinTable,
        candidates: Candidates<'_>,
        _: &Req,
    ) -> Option<usize> {
        let index = table.next(candidates.len())?;
        if candidates.is_free(index) {
            return Some(index);
        }
        (0..TURNS)
            .filter_map(|_| table.next(candidates.len()))
            .find(|&index| candidates.is_free(index))
            .or_else(|| any_free(&candidates))
    }
}

impl WeightedRoundRobinTable {
    #[inline]
    fn next(&self, len: usize) -> Option<usize> {
        match &self.schedule {
            Schedule::Even => self.turn.take().checked_rem(len),
            Schedule::Cycle(cycle) => {
                let index = cycle.get(self.turn.take().checked_rem(cycle.len())?)?;
                Some(*index as usize)
            }
            Schedule::Stride(stride) => Some(stride.pick_with(|| self.turn.take() as u32)),
            Schedule::Proportions(of) => of.at(self.turn.take() as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prop_assert_eq, prop_assert_ne, prop_assume, proptest, sample};

    use super::{
        super::tests::{counts, members, obeys, pick, pick_again},
        *,
    };

    fn picks(strategy: WeightedRoundRobin, weights: &[u32], picks: usize) -> Vec<usize> {
        let members = members(weights);
        let table = strategy.table(&members, None);
        (0..picks).map(|_| pick(&strategy, &table, &members).unwrap()).collect()
    }

    #[test]
    fn every_way_obeys() {
        obeys(&WeightedRoundRobin::new());
        obeys(&WeightedRoundRobin::new().with_static_stride());
    }

    #[test]
    fn few_endpoints_take_the_turns_of_nginx_and_equal_ones_strict_turns() {
        let strategy = WeightedRoundRobin::starting_at(0);
        assert_eq!(picks(strategy, &[5, 1, 1], 7), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(picks(strategy, &[50, 10, 10], 7), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(picks(strategy, &[7, 7, 7], 4), [0, 1, 2, 0]);
        assert_eq!(picks(WeightedRoundRobin::starting_at(4), &[5, 1, 1], 3), [2, 0, 0]);
    }

    #[test]
    fn more_endpoints_have_exact_cycles_too_and_the_most_are_in_proportion() {
        let many: Vec<_> = (1..=80).collect();
        let counted = counts(&WeightedRoundRobin::new(), &members(&many), 80 * 81 / 2);
        assert_eq!(counted, (1..=80).collect::<Vec<_>>());
        let huge: Vec<_> = (0..1_000).map(|index| 20 + index % 40).collect();
        let total: u32 = huge.iter().sum();
        for strategy in [WeightedRoundRobin::new(), WeightedRoundRobin::new().with_static_stride()]
        {
            let counted = counts(&strategy, &members(&huge), 10 * total as usize);
            for (count, weight) in counted.iter().zip(&huge) {
                assert!(count.abs_diff(10 * *weight as usize) < 15, "{count} of {weight}");
            }
        }
    }

    #[test]
    fn however_far_apart_they_weigh_each_gets_its_share_at_any_time() {
        let one_among = |others: u32, weight: u32| {
            let others = (0..others).map(move |_| weight);
            others.chain([1]).collect::<Vec<_>>()
        };
        // As in an SRV record, a canary, a heavy one, and one that warms up among many.
        let sets = [one_among(1, 65_535), one_among(20, 256), vec![60_000, 1, 1, 1, 0, 1]];
        for weights in sets.into_iter().chain([one_among(60, 100), vec![10_000, 37, 10_000]]) {
            let (strategy, members) = (WeightedRoundRobin::starting_at(7), members(&weights));
            let table = strategy.table(&members, None);
            let (mut counts, total) = (vec![0_u32; weights.len()], weights.iter().sum::<u32>());
            for turns in 1..=40_000_u32 {
                counts[pick(&strategy, &table, &members).unwrap()] += 1;
                if turns % 100 > 0 {
                    continue;
                }
                for (&count, &weight) in counts.iter().zip(&weights) {
                    let share = f64::from(weight) / f64::from(total) * f64::from(turns);
                    assert!(
                        (f64::from(count) - share).abs() < 4.0,
                        "{count} of {turns} for {weight} of {weights:?}",
                    );
                }
            }
        }
    }

    #[test]
    fn the_turn_goes_on_whatever_changes() {
        let strategy = WeightedRoundRobin::starting_at(0);
        let members = members(&[5, 1, 1]);
        let mut table = strategy.table(&[], None);
        let mut picked = Vec::new();
        for _ in 0..7 {
            table = strategy.table(&members, Some(&table));
            picked.push(pick(&strategy, &table, &members).unwrap());
        }
        assert_eq!(picked, [0, 0, 1, 0, 2, 0, 0]);
        let table = strategy.table(&members[1..], Some(&table));
        assert_eq!(pick(&strategy, &table, &members[1..]), Some(1), "the eighth turn of two");
    }

    proptest! {
        #[test]
        fn a_cycle_is_exact(weights in collection::vec(0_u32..60, 1..70)) {
            let total = weights.iter().sum::<u32>() as usize;
            prop_assume!(weights.iter().any(|&weight| weight != weights[0]));
            let counted = counts(&WeightedRoundRobin::new(), &members(&weights), total);
            let weights: Vec<_> = weights.iter().map(|&weight| weight as usize).collect();
            prop_assert_eq!(counted, weights);
        }

        #[test]
        fn what_was_tried_is_not_chosen(weights in collection::vec(1_u32..9, 2..9), tried in proptest::arbitrary::any::<sample::Index>()) {
            let (strategy, members) = (WeightedRoundRobin::new(), members(&weights));
            let (table, tried) = (strategy.table(&members, None), tried.index(weights.len()));
            for _ in 0..50 {
                prop_assert_ne!(pick_again(&strategy, &table, &members, &[tried]).unwrap(), tried);
            }
        }
    }
}
