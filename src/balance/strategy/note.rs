//! One walk for the calls that are explained, and for those that are not.

use super::notes::Notes;

/// Is told what a choice compares. `()` is for one that is not explained, and costs nothing.
#[cfg_attr(
    not(feature = "hash"),
    allow(dead_code, reason = "choices by a key tell more than others")
)]
pub(super) trait Note {
    /// Whether to find out what only an explanation needs.
    const TELLS: bool;

    fn cost(&self, index: usize, cost: impl Into<f64>);
    fn drawn(&self, index: usize, cost: f64);
    fn bound(&self, index: usize, has: f64, bound: f64);
    fn fades_in(&self, index: usize);
    fn random(&self);
    fn spilled(&self);
    fn anew(&self);
}

impl Note for () {
    const TELLS: bool = false;

    #[inline(always)]
    fn cost(&self, _: usize, _: impl Into<f64>) {}

    #[inline(always)]
    fn drawn(&self, _: usize, _: f64) {}

    #[inline(always)]
    fn bound(&self, _: usize, _: f64, _: f64) {}

    #[inline(always)]
    fn fades_in(&self, _: usize) {}

    #[inline(always)]
    fn random(&self) {}

    #[inline(always)]
    fn spilled(&self) {}

    #[inline(always)]
    fn anew(&self) {}
}

impl Note for Notes {
    const TELLS: bool = true;

    fn cost(&self, index: usize, cost: impl Into<f64>) {
        Self::cost(self, index, cost.into());
    }

    fn drawn(&self, index: usize, cost: f64) {
        Self::drawn(self, index, cost);
    }

    fn bound(&self, index: usize, has: f64, bound: f64) {
        Self::bound(self, index, has, bound);
    }

    fn fades_in(&self, index: usize) {
        Self::fades_in(self, index);
    }

    fn random(&self) {
        Self::random(self);
    }

    fn spilled(&self) {
        Self::spilled(self);
    }

    fn anew(&self) {
        Self::anew(self);
    }
}

/// Makes a strategy choose by its `choose`, which is told by a [`Note`] what to tell: one walk for calls that are
/// explained, and for those that are not.
macro_rules! picks {
    ($strategy:ty) => {
        impl<Req: ?Sized> super::strategy::Pick<Req> for $strategy {
            #[inline(always)]
            fn pick(
                &self,
                table: &<Self as super::strategy::Strategy>::Table,
                candidates: super::candidates::Candidates<'_>,
                _: &Req,
            ) -> Option<usize> {
                self.choose(table, candidates, &())
            }

            fn explain(
                &self,
                table: &<Self as super::strategy::Strategy>::Table,
                candidates: super::candidates::Candidates<'_>,
                _: &Req,
                notes: &super::notes::Notes,
            ) -> Option<usize> {
                self.choose(table, candidates, notes)
            }
        }
    };
}

pub(super) use picks;
