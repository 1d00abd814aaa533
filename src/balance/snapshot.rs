//! The members that a call may choose from, at one moment.

use std::sync::{Arc, Weak};

use super::{
    explain::{self, Choices, Told},
    group::{Choice, Connected, Group, is_free},
    homes::{at_home, drawn},
    strategy::{Candidates, Pick, Strategy},
};
use crate::{
    choose::Tried,
    decision::{Decision, Regime},
    error::Error,
    member::{Member, Reason},
    time::{Instant, earlier},
};

pub(super) struct Snapshot<S, T> {
    pub(super) version: u64,
    /// All members of the set, ordered by identity.
    pub(super) all: Arc<[Arc<Member>]>,
    /// The first tier of all.
    pub(super) lowest: u32,
    /// The candidates. Empty if several groups share the load: a call that finds none here looks there,
    /// so that the others pay nothing.
    pub(super) sole: Group<S, T>,
    /// The groups that share the load, the lowest tier first, and of each the caller's zone; with the load of
    /// each and all before, of [`WHOLE`].
    pub(super) shared: Box<[(u32, Group<S, T>)]>,
    /// The other members that nothing bars, the lowest rank first, for calls that have tried all candidates.
    pub(super) reserve: Box<[InReserve<S>]>,
    /// Those that drain and that nothing else bars, for calls whose session belongs to one. Empty unless the strategy
    /// keeps sessions.
    pub(super) draining: Box<[Draining<S>]>,
    /// Whether zones, or hints at them, are ignored since they are not complete.
    pub(super) zones_ignored: bool,
    /// What calls are answered with while there are no candidates, and when that may be over.
    pub(super) refusal: Error,
}

/// The load of all groups together.
pub(super) const WHOLE: u32 = 1 << 30;

/// A member that is no candidate, with its rank and its service.
pub(super) type InReserve<S> = (u64, Arc<Member>, Weak<Connected<S>>);

/// A member that drains, and its service.
pub(super) type Draining<S> = (Arc<Member>, Weak<Connected<S>>);

impl<S, T> Snapshot<S, T> {
    /// That of a set which nothing was found for yet.
    pub(super) fn empty(table: T, refusal: Error) -> Self {
        Self {
            version: 0,
            all: Arc::new([]),
            lowest: 0,
            sole: Group::empty(table),
            shared: Box::default(),
            reserve: Box::default(),
            draining: Box::default(),
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
        let draining = self.draining.iter().map(|(_, service)| service);
        let mut all = self.groups().flat_map(Group::services).chain(reserve).chain(draining);
        all.any(|service| service.as_ptr() == Arc::as_ptr(connected))
    }

    /// Whether there is a member that another attempt may go to.
    pub(super) fn has_untried(&self, tried: &Tried) -> bool {
        let has_free =
            |group: &Group<_, _>| group.candidates(group.bars, tried).free_from(0).next().is_some();
        self.groups().any(has_free)
            || self.reserve.iter().any(|(_, member, _)| is_free(member, tried))
    }

    /// Why a call goes to `chosen`, or to none, after those `tried`; `beside` says more of it than the choice knew.
    pub(super) fn decide(
        &self,
        told: Choices,
        chosen: Option<&Member>,
        tried: &Tried,
        beside: Option<Regime>,
    ) -> Arc<Decision> {
        told.decide(chosen, &self.all, tried, beside, |member, is_strict| {
            let bars = if is_strict { u64::MAX } else { self.bars(member) };
            let is_candidate = || self.groups().any(|group| group.index_of(member).is_some());
            // In a panic, all that is left to bar one that is no candidate is its health, or that it has no weight.
            let by_health = || member.weight() > 0 && !is_candidate();
            explain::barred(member, bars)
                .or_else(|| by_health().then(|| explain::barred(member, u64::MAX)).flatten())
        })
    }

    /// The bits that bar a member of this priority: less of them in a panic.
    fn bars(&self, member: &Member) -> u64 {
        let is_its = |group: &&Group<_, _>| group.id.0 / 2 == member.tier() / 2;
        self.groups().find(is_its).map_or(u64::MAX, |group| group.bars)
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
        told: &mut Told,
    ) -> Option<Choice<S>>
    where
        P: Pick<Req, Table = T>,
    {
        self.choose_home(strategy, passed_over, request, told).or_else(|| {
            self.drawn(strategy, request).find_map(|group| {
                group.choose(strategy, group.bars, passed_over, request, told, self.lowest)
            })
        })
    }

    /// The endpoint that the session of the call belongs to, if it is free.
    pub(super) fn choose_home<P, Req>(
        &self,
        strategy: &P,
        passed_over: &Tried,
        request: &Req,
        told: &mut Told,
    ) -> Option<Choice<S>>
    where
        P: Pick<Req, Table = T>,
    {
        let home = strategy.home(&self.sole.table, request)?;
        let choice = self.choose_member(home, passed_over)?;
        explain::take(told, home, Regime::Session);
        Some(choice)
    }

    /// The call to `member`, if it is free, whatever its rank, also if it drains.
    pub(super) fn choose_member(
        &self,
        member: &Arc<Member>,
        passed_over: &Tried,
    ) -> Option<Choice<S>> {
        if let Some(choice) =
            self.groups().find_map(|group| group.choose_member(member, passed_over))
        {
            return Some(choice);
        }
        let open = |member: &Member| member.word() & !Reason::Draining.bits() == 0;
        if passed_over.contains(member) || !open(member) {
            return None;
        }
        let reserve = self.reserve.iter().map(|(_, of, service)| (of, service));
        let draining = self.draining.iter().map(|(of, service)| (of, service));
        let (_, service) = reserve.chain(draining).find(|(of, _)| Arc::ptr_eq(of, member))?;
        Some(Choice { connected: service.upgrade()?, probe: None })
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
        told: &mut Told,
    ) -> Option<Arc<Connected<S>>>
    where
        P: Pick<Req, Table = T>,
    {
        self.drawn(strategy, request).find_map(|group| {
            let (candidates, regime) = (group.candidates(u64::MAX, tried), Regime::Hedge);
            let index = explain::pick(told, strategy, &group.table, candidates, request, regime)?;
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
        told: &mut Told,
    ) -> Option<Choice<S>>
    where
        P: Pick<Req, Table = T>,
    {
        if let Some(choice) = self.choose_home(strategy, passed_over, request, told) {
            return Some(choice);
        }
        let lowest = self.lowest;
        let drawn = self.drawn(strategy, request);
        let tier = drawn.clone().next().map(|group| group.id.0);
        let near = self.groups().find(|group| group.is_near && Some(group.id.0) == tier);
        // It comes twice; the second time it has nothing more.
        let groups = near.into_iter().chain(drawn);
        let is_untried =
            |group: &&Group<_, _>| group.candidates(u64::MAX, tried).free_from(0).next().is_some();
        let mut untried = groups.clone().filter(is_untried).peekable();
        if untried.peek().is_some() {
            return untried.find_map(|group| {
                group.choose(strategy, u64::MAX, passed_over, request, told, lowest)
            });
        }
        if let Some(choice) = self.choose_of_reserve(strategy, passed_over) {
            explain::take(told, &choice.connected.member, Regime::Random);
            return Some(choice);
        }
        let mut groups = groups;
        groups.find_map(|group| {
            group.choose(strategy, group.bars, passed_over, request, told, lowest)
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

    /// The earliest moment at which a candidate has a token again, if each was spent until after `time`.
    pub(super) fn all_spent(&self, time: Instant) -> Option<Instant> {
        let mut first = None;
        for member in self.groups().flat_map(|group| group.members.iter()) {
            let free_at = member.spent_until().filter(|&at| at > time)?;
            first = earlier(first, Some(free_at));
        }
        first
    }
}
