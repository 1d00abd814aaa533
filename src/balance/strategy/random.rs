use std::sync::Arc;

use super::{
    candidates::Candidates,
    note::{Note, picks},
    strategy::Strategy,
};
use crate::{member::Member, sync::random_below};

/// Chooses any endpoint, all with the same chance.
///
/// Use it where load says nothing, such as for calls that are done when they are sent. Weights do
/// not count: see [`WeightedRandom`](super::WeightedRandom).
///
/// ```
/// use tower_upstream::{balance::{BalanceLayer, Random}, discover};
/// let layer = BalanceLayer::new(discover::fixed(["a:1", "b:1"])?, Random::new());
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Random {}

impl Random {
    /// One choice.
    pub const fn new() -> Self {
        Self {}
    }
}

impl Strategy for Random {
    type Table = ();

    fn table(&self, _: &[Arc<Member>], _: Option<&()>) {}
}

picks!(Random);

impl Random {
    #[inline(always)]
    fn choose(&self, _: &(), candidates: Candidates<'_>, note: &impl Note) -> Option<usize> {
        note.random();
        let len = u32::try_from(candidates.len()).ok().filter(|&len| len > 0)?;
        let index = random_below(len) as usize;
        if candidates.is_free(index) {
            return Some(index);
        }
        // From another random place, so that the neighbour of one that is barred does not get
        // twice the calls.
        candidates.free_from(random_below(len) as usize).next()
    }
}
