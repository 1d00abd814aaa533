//! Since when each endpoint is there, as far as it matters: which are newcomers.

use std::{sync::Arc, time::Duration};

use crate::{
    member::Member,
    time::{Instant, later},
};

/// How many waves may overlap.
const WAVES: u32 = 8;

/// The members of a set, each with the begin of its wave; `None` if it is no newcomer.
#[derive(Debug, Default, Clone)]
pub(super) struct Waves {
    /// Ordered by key.
    members: Arc<[(Arc<Member>, Option<Instant>)]>,
}

impl Waves {
    /// Those of `all`, which is ordered by key, after these.
    ///
    /// A newcomer joins a wave that has just begun, so that there are never many. The first that there are
    /// at all are no newcomers.
    pub(super) fn next(&self, all: &[Arc<Member>], window: Duration, now: Instant) -> Self {
        if window.is_zero() {
            return Self::default();
        }
        let ends = |began: &Instant| later(*began, window) <= now;
        let mut before = self.members.iter().peekable();
        let recent = self.members.iter().filter_map(|(_, began)| *began).max();
        let recent = recent.filter(|began| later(*began, window / WAVES) > now);
        let is_first = self.members.is_empty();
        let members = all.iter().map(|member| {
            while before.next_if(|(other, _)| other.key() < member.key()).is_some() {}
            let known = before.next_if(|(other, _)| Arc::ptr_eq(other, member));
            let began = match known {
                Some((_, began)) => began.filter(|began| !ends(began)),
                None if is_first => None,
                None => Some(recent.unwrap_or(now)),
            };
            (member.clone(), began)
        });
        Self { members: members.collect() }
    }

    /// When the wave of each of `members` began, which are some of these in the same order.
    fn of(&self, members: &[Arc<Member>]) -> Box<[Option<Instant>]> {
        let mut known = self.members.iter();
        let began = |member: &Arc<Member>| {
            known.find(|(other, _)| Arc::ptr_eq(other, member)).and_then(|(_, began)| *began)
        };
        members.iter().map(began).collect()
    }

    pub(super) fn has_newcomers(&self) -> bool {
        self.members.iter().any(|(_, began)| began.is_some())
    }
}

/// When the wave of each of `members` began, of those that are newcomers to the others: if there are no others, the
/// oldest wave is none, since keys can stay nowhere else.
pub(super) fn since(waves: &Waves, members: &[Arc<Member>]) -> Box<[Option<Instant>]> {
    let mut began = waves.of(members);
    if began.iter().all(Option::is_some) {
        let oldest = began.iter().copied().min().flatten();
        began.iter_mut().filter(|began| **began == oldest).for_each(|began| *began = None);
    }
    began
}

/// When each wave began.
pub(super) fn newest_first(began: &[Option<Instant>]) -> Vec<Instant> {
    let mut waves: Vec<_> = began.iter().copied().flatten().collect();
    waves.sort_unstable_by(|one, other| other.cmp(one));
    waves.dedup();
    waves
}

/// For each table which members are in it: all of them, then without the newest wave, and at last without any.
pub(super) fn layers(began: &[Option<Instant>], newest_first: &[Instant]) -> Vec<Vec<bool>> {
    let without = |wave: &Instant| {
        began.iter().map(|began| began.is_none_or(|began| began < *wave)).collect()
    };
    let all = vec![true; began.len()];
    std::iter::once(all).chain(newest_first.iter().map(without)).collect()
}
