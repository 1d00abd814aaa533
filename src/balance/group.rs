//! Members that a strategy chooses from, and their services.

use std::sync::{Arc, Weak};

use super::{
    explain::{self, Told},
    probation::{Probation, Probe},
    strategy::{Candidates, Pick},
};
use crate::{
    choose::Tried,
    decision::Regime,
    member::{Member, OfMember},
};

/// Members that a strategy chooses from.
pub(super) struct Group<S, T> {
    /// Which group of the set it is, for the next snapshot: tier and zone.
    pub(super) id: (u32, u32),
    /// Whether it is of the caller's zone.
    pub(super) is_near: bool,
    /// The candidates, ordered by identity. While they are all members, the list is the same.
    pub(super) members: Arc<[Arc<Member>]>,
    /// The service of each candidate. One that is on probation has none here: a call that chooses it has to
    /// claim its place first.
    pub(super) services: Services<S>,
    pub(super) probation: Box<[OnProbation<S>]>,
    pub(super) table: T,
    /// The bits of a member's word that bar it: less of them in a panic.
    pub(super) bars: u64,
}

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

    pub(super) fn candidates<'a>(&'a self, bars: u64, tried: &'a Tried) -> Candidates<'a> {
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
    pub(super) fn choose<P, Req>(
        &self,
        strategy: &P,
        bars: u64,
        passed_over: &Tried,
        request: &Req,
        told: &mut Told,
        lowest: u32,
    ) -> Option<Choice<S>>
    where
        P: Pick<Req, Table = T>,
    {
        for _ in 0..2 {
            let candidates = self.candidates(bars, passed_over);
            let regime = self.regime(bars, lowest);
            let index = explain::pick(told, strategy, &self.table, candidates, request, regime)?;
            if !candidates.is_free(index) {
                return None;
            }
            let chosen = self.candidate(index).map(|connected| Choice { connected, probe: None });
            let claimed = || self.claim_place(self.members.get(index)?);
            if let Some(choice) = chosen.or_else(claimed).or_else(|| self.claim(passed_over)) {
                return Some(choice);
            }
        }
        None
    }

    /// Under what circumstances one of these is chosen, where `lowest` is the first tier.
    fn regime(&self, bars: u64, lowest: u32) -> Regime {
        match bars {
            u64::MAX if self.id.0 > lowest => Regime::Spill,
            u64::MAX => Regime::Normal,
            _ => Regime::Panic,
        }
    }

    /// Which of the candidates `member` is.
    pub(super) fn index_of(&self, member: &Member) -> Option<usize> {
        let index =
            self.members.binary_search_by(|of| of.identity().cmp(member.identity())).ok()?;
        let of = self.members.get(index)?;
        std::ptr::eq(Arc::as_ptr(of), member).then_some(index)
    }

    /// The call to `member`, if it is one of these and free.
    pub(super) fn choose_member(
        &self,
        member: &Arc<Member>,
        passed_over: &Tried,
    ) -> Option<Choice<S>> {
        let index = self.index_of(member)?;
        if !self.candidates(self.bars, passed_over).is_free(index) {
            return None;
        }
        if let Some(connected) = self.candidate(index) {
            return Some(Choice { connected, probe: None });
        }
        self.claim_place(member)
    }

    /// The place of `member`, if it is on probation and nothing has the place.
    fn claim_place(&self, member: &Arc<Member>) -> Option<Choice<S>> {
        let (probation, service) =
            self.probation.iter().find(|(of, _)| Arc::ptr_eq(of.member(), member))?;
        let connected = service.upgrade()?;
        Some(Choice { connected, probe: Some(probation.claim()?) })
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

    pub(super) fn services(&self) -> impl Iterator<Item = &Weak<Connected<S>>> {
        self.services.iter().chain(self.probation.iter().map(|(_, service)| service))
    }
}

/// Whether nothing bars `member`, and it is not among `tried`.
pub(super) fn is_free(member: &Member, tried: &Tried) -> bool {
    member.is_eligible() && !tried.contains(member)
}
