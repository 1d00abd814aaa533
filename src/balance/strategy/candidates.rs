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

    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether the one at `index` was not tried for this call, and nothing has barred it since the
    /// snapshot was made. `false` beyond the end.
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

    /// What is known of the one at `index`.
    #[inline]
    pub fn get(&self, index: usize) -> Option<Candidate<'a>> {
        self.members.get(index).map(|member| Candidate { member })
    }

    /// Those that are free, from `start` on and around, with their indices.
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
/// /// The one that has been idle, or waits for least, by its latency.
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
    pub(super) fn member(&self) -> &'a Member {
        self.member
    }

    /// Calls in flight.
    #[inline]
    pub fn load(&self) -> u32 {
        self.member.in_flight()
    }

    /// See [`Member::latency`].
    pub fn latency(&self) -> Option<Duration> {
        self.member.latency()
    }

    /// How long it has been in the set.
    pub fn age(&self) -> Duration {
        self.member.age()
    }

    /// Its share of the load, relative to the others.
    #[inline]
    pub fn weight(&self) -> u32 {
        self.member.weight()
    }

    /// Its group.
    pub fn tier(&self) -> u32 {
        self.member.tier()
    }

    /// The value that the endpoint reported of itself.
    pub fn reported(&self) -> Option<f64> {
        self.member.reported()
    }

    /// Its identity.
    pub fn key(&self) -> &str {
        self.member.key()
    }

    /// What discovery says of it.
    pub fn endpoint(&self) -> Arc<Endpoint> {
        self.member.endpoint()
    }
}
