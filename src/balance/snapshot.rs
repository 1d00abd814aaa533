//! The members that a call may choose from, at one moment.

use std::sync::{Arc, Weak};

use super::{
    homes::{at_home, drawn},
    probation::{Probation, Probe},
    strategy::{Candidates, Pick, Strategy},
};
use crate::{
    choose::Tried,
    error::Error,
    member::{Member, OfMember},
};

pub(super) struct Snapshot<S, T> {
    pub(super) version: u64,
    /// All members of the set, ordered by key.
    pub(super) all: Arc<[Arc<Member>]>,
    /// The candidates. Empty if several groups share the load: a call that finds none here looks there,
    /// so that the others pay nothing.
    pub(super) sole: Group<S, T>,
    /// The groups that share the load, the lowest tier first, and of each the caller's zone; with the load of
    /// each and all before, of [`WHOLE`].
    pub(super) shared: Box<[(u32, Group<S, T>)]>,
    /// The other members that nothing bars, the lowest rank first, for calls that have tried all candidates.
    pub(super) reserve: Box<[InReserve<S>]>,
    /// Whether zones, or hints at them, are ignored since they are not complete.
    pub(super) zones_ignored: bool,
    /// What calls are answered with while there are no candidates, and when that may be over.
    pub(super) refusal: Error,
}

/// Members that a strategy chooses from.
pub(super) struct Group<S, T> {
    /// Which group of the set it is, for the next snapshot: tier and zone.
    pub(super) id: (u32, u32),
    /// Whether it is of the caller's zone.
    pub(super) is_near: bool,
    /// The candidates, ordered by key. While they are all members, the list is the same.
    pub(super) members: Arc<[Arc<Member>]>,
    /// The service of each candidate. One that is on probation has none here: a call that chooses it has to
    /// claim its place first.
    pub(super) services: Services<S>,
    pub(super) probation: Box<[OnProbation<S>]>,
    pub(super) table: T,
    /// The bits of a member's word that bar it: less of them in a panic.
    pub(super) bars: u64,
}

/// The load of all groups together.
pub(super) const WHOLE: u32 = 1 << 30;

/// A member that is no candidate, with its rank and its service.
pub(super) type InReserve<S> = (u64, Arc<Member>, Weak<Connected<S>>);

/// A member on probation, and its service.
pub(super) type OnProbation<S> = (Arc<Probation>, Weak<Connected<S>>);

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

/// What a call goes to.
pub(super) struct Choice<S> {
    pub(super) connected: Arc<Connected<S>>,
    /// If it is on probation: the place of this call.
    pub(super) probe: Option<Probe>,
}

impl<S, T> Group<S, T> {
    pub(super) fn empty(table: T) -> Self {
        let (members, services) = (Arc::new([]), Arc::new([]));
        Self {
            id: (0, 0),
            is_near: false,
            members,
            services,
            probation: Box::default(),
            table,
            bars: u64::MAX,
        }
    }

    fn candidates<'a>(&'a self, bars: u64, tried: &'a Tried) -> Candidates<'a> {
        Candidates::new(&self.members, bars, tried)
    }

    /// The candidate with this index; `None` also if the set has let go of it since.
    // One addition to a count that only calls to this member share, and the only one: the call holds it
    // instead of the member.
    #[inline]
    pub(super) fn candidate(&self, index: usize) -> Option<Arc<Connected<S>>> {
        self.services.get(index)?.upgrade()
    }

    /// What the strategy chooses of those that `bars` leaves free and that are not `passed_over`. Where that
    /// is one on probation, any on probation of which the place is free.
    fn choose<P, Req>(
        &self,
        strategy: &P,
        bars: u64,
        passed_over: &Tried,
        request: &Req,
    ) -> Option<Choice<S>>
    where
        P: Pick<Req, Table = T>,
    {
        for _ in 0..2 {
            let candidates = self.candidates(bars, passed_over);
            let index = strategy.pick(&self.table, candidates, request)?;
            if !candidates.is_free(index) {
                return None;
            }
            let chosen = self.candidate(index).map(|connected| Choice { connected, probe: None });
            if let Some(choice) = chosen.or_else(|| self.claim(passed_over)) {
                return Some(choice);
            }
        }
        None
    }

    /// Any on probation of which the place is free.
    pub(super) fn claim(&self, passed_over: &Tried) -> Option<Choice<S>> {
        let mut untried =
            self.probation.iter().filter(|(probation, _)| is_free(probation.member(), passed_over));
        untried.find_map(|(probation, service)| {
            let connected = service.upgrade()?;
            Some(Choice { connected, probe: Some(probation.claim()?) })
        })
    }

    fn services(&self) -> impl Iterator<Item = &Weak<Connected<S>>> {
        self.services.iter().chain(self.probation.iter().map(|(_, service)| service))
    }
}

impl<S, T> Snapshot<S, T> {
    /// That of a set which nothing was found for yet.
    pub(super) fn empty(table: T, refusal: Error) -> Self {
        Self {
            version: 0,
            all: Arc::new([]),
            sole: Group::empty(table),
            shared: Box::default(),
            reserve: Box::default(),
            zones_ignored: false,
            refusal,
        }
    }

    /// Those that have candidates, the lowest tier first.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Group<S, T>> + Clone {
        let sole = Some(&self.sole).filter(|group| !group.members.is_empty());
        sole.into_iter().chain(self.shared.iter().map(|(_, group)| group))
    }

    pub(super) fn has_candidates(&self) -> bool {
        self.groups().next().is_some()
    }

    pub(super) fn is_panic(&self) -> bool {
        self.groups().any(|group| group.bars != u64::MAX)
    }

    /// Those that a call's first attempt may choose from, unless several groups share the load.
    #[inline]
    pub(super) fn candidates<'a>(&'a self, tried: &'a Tried) -> Candidates<'a> {
        Candidates::new(&self.sole.members, self.sole.bars, tried)
    }

    /// Whether `connected` may be chosen.
    pub(super) fn has(&self, connected: &Arc<Connected<S>>) -> bool {
        let reserve = self.reserve.iter().map(|(.., service)| service);
        let mut all = self.groups().flat_map(Group::services).chain(reserve);
        all.any(|service| service.as_ptr() == Arc::as_ptr(connected))
    }

    /// Whether there is a member that another attempt may go to.
    pub(super) fn has_untried(&self, tried: &Tried) -> bool {
        let has_free =
            |group: &Group<_, _>| group.candidates(group.bars, tried).free_from(0).next().is_some();
        self.groups().any(has_free)
            || self.reserve.iter().any(|(_, member, _)| is_free(member, tried))
    }

    /// The groups, the one first that a call goes to.
    fn drawn<P, Req>(
        &self,
        strategy: &P,
        request: &Req,
    ) -> impl Iterator<Item = &Group<S, T>> + Clone + use<'_, S, T, P, Req>
    where
        P: Pick<Req, Table = T>,
    {
        let loads = || self.shared.iter().map(|(until, group)| (group.id, *until));
        let first = match self.shared.is_empty() {
            true => 0,
            false => match strategy.affinity(request) {
                Some(hash) => at_home(hash, loads()),
                None => drawn(strategy.draw(&self.sole.table, WHOLE), loads()),
            },
        };
        let first_of_all = self.groups().skip(first).take(1);
        let others = self.groups().enumerate().filter(move |&(index, _)| index != first);
        first_of_all.chain(others.map(|(_, group)| group))
    }

    /// The choice for a first attempt, and for one that waits, where a mere pick of the candidates brings
    /// none: several groups share the load, or the one picked is on probation.
    #[cold]
    pub(super) fn choose<P, Req>(
        &self,
        strategy: &P,
        passed_over: &Tried,
        request: &Req,
    ) -> Option<Choice<S>>
    where
        P: Pick<Req, Table = T>,
    {
        self.drawn(strategy, request)
            .find_map(|group| group.choose(strategy, group.bars, passed_over, request))
    }

    /// Whether there is a candidate that a hedge may go to: one that nothing bars, and not on probation.
    pub(super) fn can_hedge(&self, tried: &Tried) -> bool {
        self.groups().any(|group| {
            let has_service =
                |index| group.services.get(index).is_some_and(|of: &Weak<_>| of.strong_count() > 0);
            group.candidates(u64::MAX, tried).free_from(0).any(has_service)
        })
    }

    /// The choice for a hedge, among those.
    pub(super) fn choose_hedge<P, Req>(
        &self,
        strategy: &P,
        tried: &Tried,
        request: &Req,
    ) -> Option<Arc<Connected<S>>>
    where
        P: Pick<Req, Table = T>,
    {
        self.drawn(strategy, request).find_map(|group| {
            let candidates = group.candidates(u64::MAX, tried);
            let index = strategy.pick(&group.table, candidates, request)?;
            group.candidate(Some(index).filter(|&index| candidates.is_free(index))?)
        })
    }

    /// The choice for an attempt that is not the call's first: of those not tried, first what nothing
    /// bars, of the candidates, those in the caller's zone first, and then of any rank; and only then what a
    /// panic overlooks. `passed_over` are those tried, and those that the call waits for already: while one
    /// of the candidates is among the latter, no other rank is looked at.
    #[cold]
    pub(super) fn choose_again<P, Req>(
        &self,
        strategy: &P,
        tried: &Tried,
        passed_over: &Tried,
        request: &Req,
    ) -> Option<Choice<S>>
    where
        P: Pick<Req, Table = T>,
    {
        let drawn = self.drawn(strategy, request);
        let tier = drawn.clone().next().map(|group| group.id.0);
        let near = self.groups().find(|group| group.is_near && Some(group.id.0) == tier);
        // It comes twice; the second time it has nothing more.
        let groups = near.into_iter().chain(drawn);
        let is_untried =
            |group: &&Group<_, _>| group.candidates(u64::MAX, tried).free_from(0).next().is_some();
        let mut untried = groups.clone().filter(is_untried).peekable();
        if untried.peek().is_some() {
            return untried
                .find_map(|group| group.choose(strategy, u64::MAX, passed_over, request));
        }
        self.choose_of_reserve(strategy, passed_over).or_else(|| {
            let mut groups = groups;
            groups.find_map(|group| group.choose(strategy, group.bars, passed_over, request))
        })
    }

    /// Any of the lowest rank in which one is free, with the same chance.
    fn choose_of_reserve<P>(&self, strategy: &P, tried: &Tried) -> Option<Choice<S>>
    where
        P: Strategy<Table = T>,
    {
        let free = || self.reserve.iter().filter(|(_, member, _)| is_free(member, tried));
        let (lowest, ..) = free().next()?;
        let of_rank = || free().filter(|(rank, ..)| rank == lowest);
        let drawn = strategy.draw(&self.sole.table, u32::try_from(of_rank().count()).ok()?);
        let mut from_drawn = of_rank().skip(drawn as usize).chain(of_rank());
        // The set may have let go of some since.
        let connected = from_drawn.find_map(|(_, _, service)| service.upgrade())?;
        Some(Choice { connected, probe: None })
    }

    /// The first of the candidates that `is_meant`, whatever bars it now; but none on probation.
    pub(super) fn any_candidate(
        &self,
        is_meant: impl Fn(&Arc<Member>) -> bool,
    ) -> Option<Choice<S>> {
        let services = self.groups().flat_map(|group| group.members.iter().zip(&*group.services));
        let mut meant = services.filter(|(member, _)| is_meant(member));
        let connected = meant.find_map(|(_, service)| service.upgrade())?;
        Some(Choice { connected, probe: None })
    }
}

fn is_free(member: &Member, tried: &Tried) -> bool {
    member.is_eligible() && !tried.contains(member)
}
