use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    candidates::Candidates,
    strategy::{Pick, Strategy},
};
use crate::{member::Member, sync::random_below};

/// Chooses the endpoints in turn, in the order of their keys.
///
/// Use it where calls cost the same and endpoints are alike; [`LeastRequest`](super::LeastRequest)
/// is better wherever one may be slow. Weights are not looked at. One that cannot be used is passed
/// over, and the next gets its turn too.
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
    next: AtomicUsize,
}

impl Strategy for RoundRobin {
    type Table = RoundRobinTable;

    /// The turn goes on where it was.
    fn table(&self, _: &[Arc<Member>], before: Option<&RoundRobinTable>) -> RoundRobinTable {
        // Small, since a division takes longer the larger its result is.
        let start = || self.start.unwrap_or_else(|| random_below(1 << 20) as usize);
        let next = before.map_or_else(start, |before| before.next.load(Ordering::Relaxed));
        RoundRobinTable { next: AtomicUsize::new(next) }
    }
}

impl<Req: ?Sized> Pick<Req> for RoundRobin {
    #[inline(always)]
    fn pick(&self, table: &RoundRobinTable, candidates: Candidates<'_>, _: &Req) -> Option<usize> {
        // Relaxed: each turn is given out once, and nothing else hangs on it.
        let turn = table.next.fetch_add(1, Ordering::Relaxed);
        let index = turn.checked_rem(candidates.len())?;
        if candidates.is_free(index) {
            return Some(index);
        }
        candidates.free_from(index).next()
    }
}
