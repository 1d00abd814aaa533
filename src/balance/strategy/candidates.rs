use std::{fmt, sync::Arc, time::Duration};

use crate::{choose::Tried, endpoint::Endpoint, member::Member, sync::random};

/// The members that may be chosen, ordered by key. [`Strategy`](super::Strategy) has an example.
#[derive(Clone, Copy)]
pub struct Candidates<'a> {
    members: &'a [Arc<Member>],
    /// The bits of a member's word that bar it.
    bars: u64,
    tried: &'a Tried,
}

impl<'a> Candidates<'a> {
    #[inline]
    pub(crate) fn new(members: &'a [Arc<Member>], bars: u64, tried: &'a Tried) -> Self {
        Self { members, bars, tried }
    }

    /// Returns the number of candidates.
    #[inline]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns whether there are no candidates.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Returns whether the candidate at `index` was not tried for this call, and nothing has barred it since
    /// the snapshot was made. `false` beyond the end.
    #[inline]
    pub fn is_free(&self, index: usize) -> bool {
        self.members
            .get(index)
            .is_some_and(|member| member.word() & self.bars == 0 && !self.tried.contains(member))
    }

    /// Returns a random number from the whole range, for a strategy that draws. Not for secrets. With a
    /// [seed](super::Seeded), it determines the number.
    ///
    /// ```
    /// use tower_upstream::balance::Candidates;
    ///
    /// fn any(candidates: &Candidates<'_>) -> Option<usize> {
    ///     let start = candidates.random() as usize;
    ///     candidates.free_from(start).next()
    /// }
    /// ```
    #[inline]
    pub fn random(&self) -> u64 {
        random()
    }

    /// Whether something has barred the one at `index`. `true` beyond the end.
    pub(super) fn is_barred(&self, index: usize) -> bool {
        self.members.get(index).is_none_or(|member| member.word() & self.bars != 0)
    }

    /// Whether nothing bars either, and nothing was tried: as it is for nearly every call.
    #[inline]
    pub(super) fn are_free(&self, one: Candidate<'_>, other: Candidate<'_>) -> bool {
        (one.member.word() | other.member.word()) & self.bars == 0 && self.tried.is_empty()
    }

    /// Returns what is known of the candidate at `index`, or `None` beyond the end.
    #[inline]
    pub fn get(&self, index: usize) -> Option<Candidate<'a>> {
        self.members.get(index).map(|member| Candidate { member })
    }

    /// Returns the indices of the candidates that are free: from `start` to the end, then from the first to
    /// `start`. A `start` beyond the end is taken modulo their number, so any random number will do.
    pub fn free_from(&self, start: usize) -> impl Iterator<Item = usize> + use<'a> {
        let (this, len) = (*self, self.len());
        let start = start.checked_rem(len).unwrap_or(0);
        (start..len).chain(0..start).filter(move |&index| this.is_free(index))
    }
}

impl fmt::Debug for Candidates<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.members).finish()
    }
}

/// What a strategy may know of a member.
///
/// ```
/// use tower_upstream::balance::Candidates;
///
/// /// How long a call would wait there, by its latency and load.
/// fn cost(candidates: &Candidates<'_>, index: usize) -> Option<u128> {
///     let candidate = candidates.get(index)?;
///     let latency = candidate.latency().unwrap_or_default();
///     Some(latency.as_micros() * u128::from(candidate.load() + 1))
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    member: &'a Arc<Member>,
}

impl<'a> Candidate<'a> {
    pub(in crate::balance) fn member(&self) -> &'a Member {
        self.member
    }

    /// Returns the number of calls in flight.
    #[inline]
    pub fn load(&self) -> u32 {
        self.member.in_flight()
    }

    /// Returns the estimate of its latency: see [`Member::latency`].
    pub fn latency(&self) -> Option<Duration> {
        self.member.latency()
    }

    /// Returns how long it has been in the set.
    pub fn age(&self) -> Duration {
        self.member.age()
    }

    /// Returns its share of the load, relative to the other candidates.
    #[inline]
    pub fn weight(&self) -> u32 {
        self.member.weight()
    }

    /// Returns its group: see [`Member::tier`].
    pub fn tier(&self) -> u32 {
        self.member.tier()
    }

    /// Returns the value that the endpoint reported of itself: see [`Member::reported`].
    pub fn reported(&self) -> Option<f64> {
        self.member.reported()
    }

    /// Returns its key.
    pub fn key(&self) -> &str {
        self.member.key()
    }

    /// Returns what discovery says of it.
    pub fn endpoint(&self) -> Arc<Endpoint> {
        self.member.endpoint()
    }
}
