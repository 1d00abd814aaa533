//! The members that a call may choose from, at one moment.

use std::sync::{Arc, Weak};

use super::strategy::{Candidates, Pick, Strategy};
use crate::{
    choose::Tried,
    error::Error,
    member::{Member, OfMember},
};

pub(super) struct Snapshot<S, T> {
    pub(super) version: u64,
    /// All members of the set, ordered by key.
    pub(super) all: Arc<[Arc<Member>]>,
    /// The candidates, ordered by key. While they are all members, the list is the same.
    pub(super) members: Arc<[Arc<Member>]>,
    /// The service of each candidate.
    pub(super) services: Services<S>,
    /// Members of other tiers, the lowest tier first, for calls that have tried all candidates.
    pub(super) reserve: Box<[InReserve<S>]>,
    pub(super) table: T,
    /// The bits of a member's word that bar it: less of them in a panic.
    pub(super) bars: u64,
    /// What calls are answered with while there are no candidates, and when that may be over.
    pub(super) refusal: Error,
}

/// A member that is no candidate, and its service.
pub(super) type InReserve<S> = (Arc<Member>, Weak<Connected<S>>);

/// One for each member of a list. The set alone keeps them alive: a clone that rests keeps the last
/// snapshot that it saw, and must keep no service of a member that has left since.
pub(super) type Services<S> = Arc<[Weak<Connected<S>>]>;

/// A member, and a service of it. Lives until the set lets go of it and the last call has ended.
#[repr(C)]
pub(super) struct Connected<S> {
    pub(super) member: Arc<Member>,
    pub(super) service: S,
    /// Keeps the counters of the `Arc`, which each call moves, off the cache line of the next one's.
    apart: [u64; 4],
}

impl<S> Connected<S> {
    pub(super) fn new(member: Arc<Member>, service: S) -> Arc<Self> {
        Arc::new(Self { member, service, apart: [0; 4] })
    }
}

impl<S> OfMember for Arc<Connected<S>> {
    #[inline]
    fn member(&self) -> &Arc<Member> {
        &self.member
    }
}

impl<S, T> Snapshot<S, T> {
    /// That of a set which nothing was found for yet.
    pub(super) fn empty(table: T, refusal: Error) -> Self {
        Self {
            version: 0,
            members: Arc::new([]),
            services: Arc::new([]),
            reserve: Box::default(),
            all: Arc::new([]),
            table,
            bars: u64::MAX,
            refusal,
        }
    }

    pub(super) fn is_panic(&self) -> bool {
        self.bars != u64::MAX
    }

    /// Those that a call's first attempt may choose from.
    #[inline]
    pub(super) fn candidates<'a>(&'a self, tried: &'a Tried) -> Candidates<'a> {
        Candidates::new(&self.members, self.bars, tried)
    }

    /// The candidate with this index; `None` also if the set has let go of it since.
    // One addition to a count that only calls to this member share, and the only one: the call holds it
    // instead of the member.
    #[inline]
    pub(super) fn candidate(&self, index: usize) -> Option<Arc<Connected<S>>> {
        self.services.get(index)?.upgrade()
    }

    /// Whether `connected` may be chosen.
    pub(super) fn has(&self, connected: &Arc<Connected<S>>) -> bool {
        let member = &connected.member;
        let identity = |of: &Arc<Member>| of.identity().cmp(member.identity());
        let candidate = self.members.binary_search_by(identity).ok();
        let candidate = candidate.and_then(|index| self.services.get(index));
        let mut all = candidate.into_iter().chain(self.reserve.iter().map(|(_, service)| service));
        all.any(|service| service.as_ptr() == Arc::as_ptr(connected))
    }

    /// Whether there is a member that another attempt may go to.
    pub(super) fn has_untried(&self, tried: &Tried) -> bool {
        let mut reserve = self.reserve.iter();
        self.candidates(tried).free_from(0).next().is_some()
            || reserve.any(|(member, _)| is_free(member, tried))
    }

    /// Whether there is a candidate that a hedge may go to: one that nothing bars.
    pub(super) fn can_hedge(&self, tried: &Tried) -> bool {
        Candidates::new(&self.members, u64::MAX, tried).free_from(0).next().is_some()
    }

    /// The choice for a hedge.
    pub(super) fn choose_hedge<P, Req>(
        &self,
        strategy: &P,
        tried: &Tried,
        request: &Req,
    ) -> Option<Arc<Connected<S>>>
    where
        P: Pick<Req, Table = T>,
    {
        let candidates = Candidates::new(&self.members, u64::MAX, tried);
        let chosen = strategy.pick(&self.table, candidates, request)?;
        self.candidate(Some(chosen).filter(|&index| candidates.is_free(index))?)
    }

    /// The choice for an attempt that is not the call's first: of those not tried, first what nothing
    /// bars, of the candidates and then of any tier; and only then what a panic overlooks. `passed_over`
    /// are those tried, and those that the call waits for already: while one of the candidates is among
    /// the latter, no other tier is looked at.
    #[cold]
    pub(super) fn choose_again<P, Req>(
        &self,
        strategy: &P,
        tried: &Tried,
        passed_over: &Tried,
        request: &Req,
    ) -> Option<Arc<Connected<S>>>
    where
        P: Pick<Req, Table = T>,
    {
        let choose = |bars| {
            let candidates = Candidates::new(&self.members, bars, passed_over);
            let chosen = strategy.pick(&self.table, candidates, request);
            self.candidate(chosen.filter(|&index| candidates.is_free(index))?)
        };
        let untried = Candidates::new(&self.members, u64::MAX, tried).free_from(0).next();
        if untried.is_some() {
            return choose(u64::MAX);
        }
        self.choose_of_reserve(strategy, passed_over).or_else(|| choose(self.bars))
    }

    /// Any of the lowest tier in which one is free, with the same chance.
    fn choose_of_reserve<P>(&self, strategy: &P, tried: &Tried) -> Option<Arc<Connected<S>>>
    where
        P: Strategy<Table = T>,
    {
        let free = || self.reserve.iter().filter(|(member, _)| is_free(member, tried));
        let tier = free().next()?.0.tier();
        let of_tier = || free().filter(|(member, _)| member.tier() == tier);
        let drawn = strategy.draw(&self.table, u32::try_from(of_tier().count()).ok()?);
        of_tier().nth(drawn as usize)?.1.upgrade()
    }
}

fn is_free(member: &Member, tried: &Tried) -> bool {
    member.is_eligible() && !tried.contains(member)
}
