//! What a strategy tells of a choice that is explained.

use std::{
    cell::{Cell, RefCell},
    fmt,
};

use crate::decision::{Decision, PassedOver};

/// What [`Pick::explain`](super::Pick::explain) notes of a choice.
///
/// What is noted of a candidate last counts.
///
/// # Bounds
/// It keeps what is noted of 64 candidates: the first ones, and of all others the best, which is one within its
/// bound, of the lowest cost.
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
    noted: RefCell<Vec<Noted>>,
    is_random: Cell<bool>,
    is_spilled: Cell<bool>,
}

/// What is noted of a candidate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noted {
    pub(crate) index: usize,
    pub(crate) cost: Option<f64>,
    pub(crate) bound: Option<f64>,
    /// Why it does not get the call, if it does not.
    pub(crate) passed_over: PassedOver,
}

impl Notes {
    /// Notes what the candidate at `index` costs, which the strategy compares; the lower cost wins.
    pub fn cost(&self, index: usize, cost: f64) {
        self.note(Noted { cost: Some(cost), ..Noted::new(index, PassedOver::Costlier) });
    }

    /// Notes what the candidate at `index` costs, where chance decides, and a lower cost only has the better one.
    ///
    /// ```
    /// use tower_upstream::balance::{Candidates, Notes};
    ///
    /// /// One of the first two: the load of each is the chance of the other.
    /// fn of_two(candidates: &Candidates<'_>, notes: &Notes) -> Option<usize> {
    ///     let load = |index| f64::from(candidates.get(index).map_or(0, |candidate| candidate.load()));
    ///     let mut free = candidates.free_from(0).inspect(|&index| notes.drawn(index, load(index)));
    ///     notes.random();
    ///     let (one, two) = (free.next()?, free.next());
    ///     let draw = candidates.random() as f64 / u64::MAX as f64;
    ///     Some(two.filter(|&two| draw * (load(one) + load(two)) < load(one)).unwrap_or(one))
    /// }
    /// ```
    pub fn drawn(&self, index: usize, cost: f64) {
        self.note(Noted { cost: Some(cost), ..Noted::new(index, PassedOver::NotDrawn) });
    }

    /// Notes what the candidate at `index` has, and the most that it may have: with more, the call goes elsewhere.
    ///
    /// ```
    /// use tower_upstream::balance::{Candidates, Notes};
    ///
    /// /// The first that has at most 10 calls in flight.
    /// fn first_with_room(candidates: &Candidates<'_>, notes: &Notes) -> Option<usize> {
    ///     let load = |index| candidates.get(index).map_or(0, |candidate| candidate.load());
    ///     let mut free = candidates.free_from(0).inspect(|&index| {
    ///         notes.bound(index, load(index).into(), 10.0);
    ///     });
    ///     let first = free.next()?;
    ///     if load(first) <= 10 {
    ///         return Some(first);
    ///     }
    ///     notes.spilled();
    ///     free.find(|&index| load(index) <= 10)
    /// }
    /// ```
    pub fn bound(&self, index: usize, has: f64, bound: f64) {
        let passed_over = if has > bound { PassedOver::OverBound } else { PassedOver::Costlier };
        let (cost, bound) = (Some(has), Some(bound));
        self.note(Noted { cost, bound, ..Noted::new(index, passed_over) });
    }

    /// Notes that the key of the call will belong to the candidate at `index`, once endpoints that have joined
    /// have all of their keys.
    pub fn fades_in(&self, index: usize) {
        self.note(Noted::new(index, PassedOver::FadingIn));
    }

    fn note(&self, of: Noted) {
        // No call of this one comes from within another.
        let Ok(mut noted) = self.noted.try_borrow_mut() else { return };
        if let Some(before) = noted.iter_mut().find(|before| before.index == of.index) {
            if of.cost.is_some() {
                *before = of;
            }
            return;
        }
        // If full, the best of all is among the others, or comes to be the last.
        let is_full = noted.len() >= Decision::MOST;
        if is_full && noted.last().is_some_and(|last| last.is_better(&of)) {
            return;
        }
        noted.truncate(Decision::MOST - 1);
        noted.push(of);
    }

    /// Forgets what was noted of candidates: the strategy looks at them anew.
    pub(super) fn anew(&self) {
        if let Ok(mut noted) = self.noted.try_borrow_mut() {
            noted.clear();
        }
    }

    /// Notes that the candidate is drawn, whatever was compared.
    pub fn random(&self) {
        self.is_random.set(true);
    }

    /// Notes that the candidate that would have got the call has too much, and another one gets it.
    pub fn spilled(&self) {
        self.is_spilled.set(true);
    }

    pub(crate) fn is_random(&self) -> bool {
        self.is_random.get()
    }

    pub(crate) fn is_spilled(&self) -> bool {
        self.is_spilled.get()
    }

    pub(crate) fn into_noted(self) -> Vec<Noted> {
        self.noted.into_inner()
    }
}

impl Noted {
    pub(crate) fn new(index: usize, passed_over: PassedOver) -> Self {
        Self { index, cost: None, bound: None, passed_over }
    }

    /// One without a cost is as dear as can be, and one over its bound is dearer than any within.
    fn is_better(&self, than: &Self) -> bool {
        let (is_over, other_is) = (self.is_over_bound(), than.is_over_bound());
        let cost = |of: &Self| of.cost.unwrap_or(f64::INFINITY);
        is_over.cmp(&other_is).then(cost(self).total_cmp(&cost(than))).is_lt()
    }

    fn is_over_bound(&self) -> bool {
        self.passed_over == PassedOver::OverBound
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Notes").field(&self.noted).finish()
    }
}
