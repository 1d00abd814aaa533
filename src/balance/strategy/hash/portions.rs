//! What each candidate is of all.

use std::sync::Arc;

use super::lookup::Shares;
use crate::member::Member;

/// The share of each candidate in the weight of all. A newcomer counts as much as it has of its keys: or else the
/// others would have to do with less before it has taken any of theirs.
#[derive(Debug)]
pub(super) struct Portions {
    weights: Box<[f64]>,
    /// How many there are, by the same count.
    pub(super) endpoints: usize,
}

impl Portions {
    pub(super) fn new(members: &[Arc<Member>], shares: &Shares) -> Self {
        let of = |index| shares.of.get(index).copied().unwrap_or(1.0);
        let weight =
            |(index, member): (usize, &Arc<Member>)| f64::from(member.nominal_weight()) * of(index);
        let weights = members.iter().enumerate().map(weight);
        let total: f64 = weights.clone().sum();
        let even = 1.0 / members.len() as f64;
        let endpoints = (0..members.len()).map(of).sum::<f64>();
        Self {
            weights: weights.map(|one| if total > 0.0 { one / total } else { even }).collect(),
            endpoints: endpoints.round() as usize,
        }
    }

    #[inline]
    pub(super) fn of(&self, index: usize) -> f64 {
        self.weights.get(index).copied().unwrap_or(0.0)
    }
}
