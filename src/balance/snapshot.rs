//! The members that a call may choose from, at one moment.

use std::sync::Arc;

use super::strategy::{Candidates, Pick, Strategy};
use crate::{choose::Tried, error::Error, member::Member};

pub(super) struct Snapshot<S, T> {
    pub(super) version: u64,
    /// All members of the set, ordered by key.
    pub(super) all: Arc<[Arc<Member>]>,
    /// The candidates, ordered by key.
    pub(super) members: Box<[Arc<Member>]>,
    /// Where the service of each candidate stands in `services`.
    pub(super) index: Box<[u32]>,
    /// Members of other tiers, the lowest tier first, for calls that have tried all candidates; each
    /// with where its service stands.
    pub(super) reserve: Box<[(Arc<Member>, u32)]>,
    /// One for each member of the set, and shared by snapshots until one is connected.
    pub(super) services: Arc<[Connected<S>]>,
    pub(super) table: T,
    /// The bits of a member's word that bar it: less of them in a panic.
    pub(super) bars: u64,
    /// What calls are answered with while there are no candidates, and when that may be over.
    pub(super) refusal: Error,
}

/// A member that was chosen, and its service.
pub(super) type Choice<'a, S> = (&'a Arc<Member>, &'a Connected<S>);

/// A service, and which connection of its member it is.
#[derive(Clone)]
pub(super) struct Connected<S> {
    pub(super) service: S,
    pub(super) number: u64,
}

impl<S, T> Snapshot<S, T> {
    /// That of a set which nothing was found for yet.
    pub(super) fn empty(table: T, refusal: Error) -> Self {
        Self {
            version: 0,
            members: Box::default(),
            index: Box::default(),
            reserve: Box::default(),
            services: Arc::new([]),
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

    #[inline]
    pub(super) fn service(&self, candidate: usize) -> Option<&Connected<S>> {
        self.services.get(*self.index.get(candidate)? as usize)
    }

    /// The candidate with this index, and its service.
    #[inline]
    pub(super) fn candidate(&self, index: usize) -> Option<Choice<'_, S>> {
        Some((self.members.get(index)?, self.service(index)?))
    }

    /// `member`, if it may be chosen, and its service.
    pub(super) fn find(&self, member: &Arc<Member>) -> Option<Choice<'_, S>> {
        let identity = |of: &Arc<Member>| of.identity().cmp(member.identity());
        let candidate = self.members.binary_search_by(identity).ok();
        let candidate = candidate.and_then(|index| self.candidate(index));
        let mut all = candidate.into_iter().chain(self.reserve());
        all.find(|(of, _)| Arc::ptr_eq(of, member))
    }

    fn reserve(&self) -> impl Iterator<Item = Choice<'_, S>> {
        self.reserve
            .iter()
            .filter_map(|(member, index)| Some((member, self.services.get(*index as usize)?)))
    }

    /// Whether there is a member that another attempt may go to.
    pub(super) fn has_untried(&self, tried: &Tried) -> bool {
        let is_free = |(member, _): &(Arc<Member>, u32)| is_free(member, tried);
        self.candidates(tried).free_from(0).next().is_some() || self.reserve.iter().any(is_free)
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
    ) -> Option<Choice<'_, S>>
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
    fn choose_of_reserve<P>(&self, strategy: &P, tried: &Tried) -> Option<Choice<'_, S>>
    where
        P: Strategy<Table = T>,
    {
        let free = || self.reserve().filter(|(member, _)| is_free(member, tried));
        let tier = free().next()?.0.tier();
        let of_tier = || free().filter(|(member, _)| member.tier() == tier);
        let drawn = strategy.draw(&self.table, u32::try_from(of_tier().count()).ok()?);
        of_tier().nth(drawn as usize)
    }
}

fn is_free(member: &Member, tried: &Tried) -> bool {
    member.is_eligible() && !tried.contains(member)
}
