//! What a strategy tells of a choice that is explained.

use std::{
    cell::{Cell, RefCell},
    fmt,
};

use crate::decision::Decision;

/// What [`Pick::explain`](super::Pick::explain) notes of a choice.
///
/// # Bounds
/// It keeps 64 costs: the first ones, and the lowest.
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use tower_upstream::{balance::{Candidates, Notes, Pick, Strategy}, member::Member};
///
/// /// The less loaded of the first two.
/// #[derive(Clone)]
/// struct OfTwo;
///
/// impl OfTwo {
///     fn choose(candidates: Candidates<'_>, note: impl Fn(usize, f64)) -> Option<usize> {
///         let free = (0..candidates.len()).filter(|&index| candidates.is_free(index)).take(2);
///         let load = |index: &usize| candidates.get(*index).map(|candidate| candidate.load());
///         free.inspect(|index| note(*index, load(index).unwrap_or(0).into())).min_by_key(load)
///     }
/// }
///
/// impl Strategy for OfTwo {
///     type Table = ();
///     fn table(&self, _: &[Arc<Member>], _: Option<&()>) {}
/// }
///
/// impl<Req> Pick<Req> for OfTwo {
///     fn pick(&self, _: &(), candidates: Candidates<'_>, _: &Req) -> Option<usize> {
///         Self::choose(candidates, |_, _| {})
///     }
///     fn explain(&self, _: &(), candidates: Candidates<'_>, _: &Req, notes: &Notes) -> Option<usize> {
///         Self::choose(candidates, |index, cost| notes.cost(index, cost))
///     }
/// }
/// ```
#[derive(Default)]
pub struct Notes {
    costs: RefCell<Vec<(usize, f64)>>,
    is_random: Cell<bool>,
    is_spilled: Cell<bool>,
}

impl Notes {
    /// Notes what the candidate at `index` costs, which the strategy compares; the lower cost wins.
    pub fn cost(&self, index: usize, cost: f64) {
        // No call of this one comes from within another.
        let Ok(mut costs) = self.costs.try_borrow_mut() else { return };
        // If full, the lowest of all is among the others, or comes to be the last.
        let is_full = costs.len() >= Decision::MOST;
        let is_worse = costs.last().is_some_and(|last| last.1.total_cmp(&cost).is_le());
        if is_full && is_worse || costs.iter().any(|&(of, _)| of == index) {
            return;
        }
        costs.truncate(Decision::MOST - 1);
        costs.push((index, cost));
    }

    /// Notes that the candidate was drawn, and nothing was compared.
    pub fn random(&self) {
        self.is_random.set(true);
    }

    /// Notes that the candidate that would have got the call has too much.
    pub fn spilled(&self) {
        self.is_spilled.set(true);
    }

    pub(crate) fn is_random(&self) -> bool {
        self.is_random.get()
    }

    pub(crate) fn is_spilled(&self) -> bool {
        self.is_spilled.get()
    }

    pub(crate) fn into_costs(self) -> Vec<(usize, f64)> {
        self.costs.into_inner()
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Notes").field(&self.costs).finish()
    }
}

/// Is told what a choice compares. `()` is for one that is not explained, and costs nothing.
pub(super) trait Note {
    fn cost(&self, index: usize, cost: impl Into<f64>);
}

impl Note for () {
    #[inline(always)]
    fn cost(&self, _: usize, _: impl Into<f64>) {}
}

impl Note for Notes {
    fn cost(&self, index: usize, cost: impl Into<f64>) {
        Self::cost(self, index, cost.into());
    }
}
