//! How the places of a Maglev table are taken: turn by turn.

use std::collections::BTreeMap;

/// How many turns an endpoint has while a table is filled.
///
/// ```
/// use tower_upstream::rules::hash::MaglevTurns;
/// assert_eq!(MaglevTurns::default(), MaglevTurns::Proportional);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MaglevTurns {
    /// In proportion to its weight, as in Envoy.
    #[default]
    Proportional,
    /// As many as its weight in the first round, one in each that follows, as in katran's first version.
    FirstRound,
    /// One whenever its weights have added up to the greatest, as in katran's second version.
    AddedUp,
}

/// A place that no endpoint has.
pub(super) const EMPTY: u32 = u32::MAX;

/// Each endpoint takes the place that it wants most of those left, turn by turn. Empty if some cannot be
/// filled.
pub(super) fn fill<W: Iterator<Item = usize>>(
    size: usize,
    mut wanted: Vec<W>,
    weights: &[u32],
    turns: MaglevTurns,
) -> Vec<u32> {
    let weight = |index: usize| weights.get(index).copied().unwrap_or(1);
    let weights: Vec<_> = (0..wanted.len()).map(weight).collect();
    let mut places = Places { table: vec![EMPTY; size], left: size };
    if turns == MaglevTurns::Proportional {
        places.fill_in_proportion(&mut wanted, &weights);
    } else {
        places.fill_round_by_round(&mut wanted, &weights, turns == MaglevTurns::AddedUp);
    }
    if places.left == 0 { places.table } else { Vec::new() }
}

struct Places {
    table: Vec<u32>,
    left: usize,
}

impl Places {
    /// `None` if the order has ended, or nothing is left.
    #[inline]
    fn take(&mut self, index: usize, wanted: &mut impl Iterator<Item = usize>) -> Option<()> {
        let at = wanted.find(|&at| self.table.get(at) == Some(&EMPTY))?;
        *self.table.get_mut(at)? = index as u32;
        self.left -= 1;
        (self.left > 0).then_some(())
    }

    /// An endpoint has its next turn in the first round that is due, as Envoy reckons it. Rounds in which only the
    /// heaviest have one cost nothing for the others.
    fn fill_in_proportion<W: Iterator<Item = usize>>(&mut self, wanted: &mut [W], weights: &[u32]) {
        let total: f64 = weights.iter().copied().map(f64::from).sum();
        let step = f64::from(weights.iter().copied().max().unwrap_or(0)) / total;
        let mut due = vec![0.0; weights.len()];
        let first = (0..weights.len()).filter(|&index| weights[index] > 0);
        let mut rounds = BTreeMap::from([(1, first.collect::<Vec<_>>())]);
        while let Some((round, mut turns)) = rounds.pop_first() {
            // Of one round in the order in which they are; mostly they are in it already.
            turns.sort_unstable();
            for index in turns {
                if self.take(index, &mut wanted[index]).is_none() {
                    if self.left == 0 {
                        return;
                    }
                    continue;
                }
                due[index] += step;
                let next = due_round(due[index], f64::from(weights[index]) / total, round);
                rounds.entry(next).or_default().push(index);
            }
        }
    }

    fn fill_round_by_round<W: Iterator<Item = usize>>(
        &mut self,
        wanted: &mut [W],
        weights: &[u32],
        is_added_up: bool,
    ) {
        let greatest = u64::from(weights.iter().copied().max().unwrap_or(0));
        let (mut sums, mut is_first) = (vec![0_u64; weights.len()], true);
        while self.left > 0 && greatest > 0 {
            let before = self.left;
            let mut has_turn = false;
            for (index, (wanted, &weight)) in wanted.iter_mut().zip(weights).enumerate() {
                let count = match weight {
                    0 => 0,
                    _ if is_added_up => {
                        sums[index] += u64::from(weight);
                        let is_due = sums[index] >= greatest;
                        sums[index] -= if is_due { greatest } else { 0 };
                        u32::from(is_due)
                    }
                    weight if is_first => weight,
                    _ => 1,
                };
                has_turn |= count > 0;
                for _ in 0..count {
                    if self.take(index, wanted).is_none() {
                        break;
                    }
                }
                if self.left == 0 {
                    return;
                }
            }
            is_first = false;
            // The orders have ended.
            if has_turn && self.left == before {
                return;
            }
        }
    }
}

/// The first round after this one in which something that is `due` has a turn, where each brings it `share`.
fn due_round(due: f64, share: f64, after: u64) -> u64 {
    let is_due = |round: u64| round as f64 * share >= due;
    // A quotient is a little too small or too great at times.
    let mut round = ((due / share) as u64).saturating_sub(1).max(after + 1);
    while !is_due(round) {
        round += 1;
    }
    round
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What Envoy does: each round looks at each endpoint.
    fn round_by_round(size: usize, orders: &[Vec<usize>], weights: &[u32]) -> Vec<u32> {
        let total: f64 = weights.iter().copied().map(f64::from).sum();
        let greatest = f64::from(weights.iter().copied().max().unwrap());
        let (mut table, mut due) = (vec![EMPTY; size], vec![0.0; orders.len()]);
        for round in 1.. {
            for (index, order) in orders.iter().enumerate().filter(|(of, _)| weights[*of] > 0) {
                if round as f64 * (f64::from(weights[index]) / total) < due[index] {
                    continue;
                }
                due[index] += greatest / total;
                let at = order.iter().find(|&&at| table[at] == EMPTY).unwrap();
                table[*at] = index as u32;
                if !table.contains(&EMPTY) {
                    return table;
                }
            }
        }
        table
    }

    proptest! {
        #[test]
        fn turns_are_those_of_a_look_at_each_endpoint_in_each_round(
            weights in prop::collection::vec(prop_oneof![0..4_u32, 0..1_000_u32, any::<u32>()], 1..12),
            size in prop::sample::select(vec![3_usize, 7, 31, 211]),
        ) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let order = |of: usize| (0..size).map(|at| (of * 5 + at * (of % (size - 1) + 1)) % size).collect();
            let orders: Vec<Vec<usize>> = (0..weights.len()).map(order).collect();
            let wanted = orders.iter().map(|order| order.iter().copied()).collect();
            let table = fill(size, wanted, &weights, MaglevTurns::Proportional);
            prop_assert_eq!(table, round_by_round(size, &orders, &weights));
        }
    }
}
