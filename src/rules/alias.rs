/// Weighted random choice in constant time, whatever the number of entries.
///
/// Source: Walker's alias method with Vose's construction ("A Linear Algorithm for Generating Random Numbers
/// with a Given Distribution", 1991). A draw takes one random number and two reads.
///
/// # Bounds
/// Weights that are not above 0 (or are NaN) count as 0, infinite ones as the largest number. The bias of a
/// draw is below `n / 2^64`.
///
/// ```
/// use tower_upstream::rules::{AliasTable, Rng};
/// let (table, mut rng) = (AliasTable::new(&[1.0, 0.0, 3.0]).unwrap(), Rng::new(1));
/// let picks = (0..4_000).filter(|_| table.pick(rng.next_u64()) == 2).count();
/// assert!((2_900..3_100).contains(&picks));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct AliasTable {
    columns: Vec<Column>,
}

/// An entry with the share that it keeps of its own column, and the entry that has the rest.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Column {
    keeps: f64,
    other: usize,
}

impl AliasTable {
    /// Creates the table, in O(n). `None` if no weight is above 0.
    pub fn new(weights: &[f64]) -> Option<Self> {
        let weight = |&weight: &f64| if weight > 0.0 { weight.min(f64::MAX) } else { 0.0 };
        let largest = weights.iter().map(weight).fold(0.0, f64::max);
        if largest == 0.0 {
            return None;
        }
        // Of the largest, so that the sum does not overflow.
        let shares = || weights.iter().map(|of| weight(of) / largest);
        let mean = shares().sum::<f64>() / weights.len() as f64;
        let mut columns: Vec<_> = shares()
            .enumerate()
            .map(|(other, share)| Column { keeps: share / mean, other })
            .collect();
        let (mut small, mut large): (Vec<_>, Vec<_>) =
            (0..columns.len()).partition(|&index| columns[index].keeps < 1.0);
        while let (Some(&giver), Some(taker)) = (large.last(), small.pop()) {
            columns[taker].other = giver;
            columns[giver].keeps -= 1.0 - columns[taker].keeps;
            if columns[giver].keeps < 1.0 {
                small.extend(large.pop());
            }
        }
        // What is left over is short of 1 by rounding alone.
        for index in small.into_iter().chain(large) {
            columns[index].keeps = 1.0;
        }
        Some(Self { columns })
    }

    /// Picks an entry for a random number from the whole range.
    pub fn pick(&self, random: u64) -> usize {
        let product = u128::from(random) * self.columns.len() as u128;
        let index = (product >> 64) as usize;
        let within = product as u64 as f64 / (u64::MAX as f64);
        self.columns.get(index).map_or(
            0,
            |column| {
                if within < column.keeps { index } else { column.other }
            },
        )
    }

    /// Returns the chance of the entry at `index`, from 0 to 1.
    pub fn chance(&self, index: usize) -> f64 {
        let given = |(at, column): (usize, &Column)| {
            let kept = if at == index { column.keeps } else { 0.0 };
            kept + if column.other == index { 1.0 - column.keeps } else { 0.0 }
        };
        let total: f64 = self.columns.iter().enumerate().map(given).sum();
        total / self.columns.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Rng;
    use proptest::prelude::*;

    #[test]
    fn absurd_weights_do_no_harm() {
        for none in [&[][..], &[0.0, f64::NAN, -1.0]] {
            assert_eq!(AliasTable::new(none), None);
        }
        let table = AliasTable::new(&[f64::INFINITY, 1.0, f64::MAX]).unwrap();
        assert_eq!([0, 2].map(|index| table.chance(index)), [0.5, 0.5]);
        assert!([0, 1, u64::MAX].iter().all(|&random| table.pick(random) != 1));
        let one = AliasTable::new(&[0.0, 1e-300]).unwrap();
        assert_eq!([0, u64::MAX].map(|random| one.pick(random)), [1, 1]);
    }

    proptest! {
        /// The model adds the weights up and looks where a number falls.
        #[test]
        fn each_has_the_chance_of_its_weight(
            weights in prop::collection::vec(prop_oneof![Just(0.0), 0.001_f64..100.0], 1..50),
            seed: u64,
        ) {
            let total: f64 = weights.iter().sum();
            let Some(table) = AliasTable::new(&weights) else {
                prop_assert_eq!(total, 0.0);
                return Ok(());
            };
            for (index, weight) in weights.iter().enumerate() {
                prop_assert!((table.chance(index) - weight / total).abs() < 1e-9);
            }
            let mut rng = Rng::new(seed);
            prop_assert!((0..1_000).all(|_| weights[table.pick(rng.next_u64())] > 0.0));
        }
    }
}
