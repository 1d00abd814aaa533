use std::sync::Arc;

use super::{
    candidates::Candidates,
    draw::{any, any_free, uneven},
    note::{Note, picks},
    strategy::Strategy,
};
use crate::{member::Member, rules::AliasTable, sync::random};

/// Chooses any endpoint, each with a chance in proportion to its weight.
///
/// Use it where load says nothing. In constant time, whatever the number of endpoints.
///
/// ```
/// use tower_upstream::{Endpoint, balance::{BalanceLayer, WeightedRandom}, discover};
/// let endpoints = [Endpoint::new("a:1")?.with_weight(3), Endpoint::new("b:1")?];
/// let layer = BalanceLayer::new(discover::fixed(endpoints)?, WeightedRandom::new());
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct WeightedRandom {}

impl WeightedRandom {
    /// One choice.
    pub const fn new() -> Self {
        Self {}
    }
}

/// State of [`WeightedRandom`]: the chances.
#[derive(Debug)]
pub struct WeightedRandomTable {
    /// `None` if all weigh the same.
    drawn: Option<AliasTable>,
}

impl Strategy for WeightedRandom {
    type Table = WeightedRandomTable;

    fn table(
        &self,
        members: &[Arc<Member>],
        _: Option<&WeightedRandomTable>,
    ) -> WeightedRandomTable {
        WeightedRandomTable { drawn: uneven(members) }
    }
}

/// Draws until one is given up that is free, and any that is free is taken.
const DRAWS: usize = 8;

picks!(WeightedRandom);

impl WeightedRandom {
    #[inline]
    fn choose(
        &self,
        table: &WeightedRandomTable,
        candidates: Candidates<'_>,
        note: &impl Note,
    ) -> Option<usize> {
        note.random();
        let draw = || match &table.drawn {
            Some(drawn) => drawn.pick(random()),
            None => any(candidates.len()),
        };
        // Again by weight, so that what a barred one would get goes to all in proportion.
        (0..DRAWS)
            .map(|_| draw())
            .find(|&index| candidates.is_free(index))
            .or_else(|| any_free(&candidates))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{counts, members, obeys, pick_again},
        *,
    };

    #[test]
    fn it_obeys() {
        obeys(&WeightedRandom::new());
    }

    #[test]
    fn each_gets_the_share_of_its_weight_also_of_what_is_free() {
        let (strategy, members) = (WeightedRandom::new(), members(&[1, 2, 5]));
        let counts = counts(&strategy, &members, 80_000);
        for (count, expected) in counts.iter().zip([10_000, 20_000, 50_000]) {
            assert!(count.abs_diff(expected) < 1_000, "{counts:?}");
        }
        let table = strategy.table(&members, None);
        let picks = (0..30_000).filter_map(|_| pick_again(&strategy, &table, &members, &[2]));
        let second = picks.filter(|&index| index == 1).count();
        assert!(second.abs_diff(20_000) < 700, "{second}");
    }
}
