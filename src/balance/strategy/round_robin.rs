use std::sync::Arc;

use super::{
    candidates::Candidates,
    strategy::{Pick, Strategy},
    turn::Turn,
};
use crate::member::Member;

/// Chooses the endpoints in turn, in the order of their keys.
///
/// Use it where calls cost the same and endpoints are alike; [`LeastRequest`](super::LeastRequest)
/// is better wherever one may be slow. Weights do not count: see
/// [`WeightedRoundRobin`](super::WeightedRoundRobin). An endpoint that cannot be used loses its turn to the
/// next.
///
/// ```
/// use tower_upstream::{balance::{BalanceLayer, RoundRobin}, discover};
/// let layer = BalanceLayer::new(discover::fixed(["a:1", "b:1"])?, RoundRobin::new());
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct RoundRobin {
    start: Option<usize>,
}

impl RoundRobin {
    /// Starts at a random endpoint, so that many clients that make one call each do not all call the
    /// same.
    pub const fn new() -> Self {
        Self { start: None }
    }

    /// Starts at the endpoint with this index in the order of keys, modulo their number. For tests.
    ///
    /// ```
    /// use tower_upstream::{balance::{BalanceLayer, RoundRobin}, discover};
    /// let layer = BalanceLayer::new(discover::fixed(["a:1", "b:1"])?, RoundRobin::starting_at(0));
    /// # let _ = layer;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    #[must_use]
    pub const fn starting_at(index: usize) -> Self {
        Self { start: Some(index) }
    }
}

/// State of [`RoundRobin`]: which endpoint is next.
#[derive(Debug, Default)]
pub struct RoundRobinTable {
    turn: Turn,
}

impl Strategy for RoundRobin {
    type Table = RoundRobinTable;

    fn table(&self, _: &[Arc<Member>], before: Option<&RoundRobinTable>) -> RoundRobinTable {
        RoundRobinTable { turn: Turn::after(before.map(|before| &before.turn), self.start) }
    }
}

impl<Req: ?Sized> Pick<Req> for RoundRobin {
    #[inline(always)]
    fn pick(&self, table: &RoundRobinTable, candidates: Candidates<'_>, _: &Req) -> Option<usize> {
        let index = table.turn.take().checked_rem(candidates.len())?;
        if candidates.is_free(index) {
            return Some(index);
        }
        candidates.free_from(index).next()
    }
}
