//! The tokens, shared by all that one layer value made, or by the clones of one member's service.

use std::{fmt, sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::{
    bucket::Bucket,
    gcra::{self, NeverFits},
    queue::{MOST_WAITING, Queue, Ticket},
    quotas::Quotas,
};
use crate::{
    error::{Error, Kind},
    guard::ByMember,
    member::Member,
    sync::{
        WaitList,
        atomic::{AtomicU64, Mutex, Ordering, lock},
    },
    time::{self, Anchor, Clock, Instant},
};

pub(super) struct State {
    pub(super) bucket: Bucket,
    clock: Clock,
    anchor: Anchor,
    pub(super) queue: Queue,
    /// What a refusal looks like, but for the moment to come back.
    refusal: Error,
    pub(super) member: Option<AtMember>,
    /// Of the connector; empty below it.
    pub(super) members: ByMember<State>,
    /// Held while the quotas change here and at all members, or a member comes.
    changes: Mutex<()>,
}

/// There are no tokens.
#[derive(Debug)]
pub(super) enum No {
    /// Not until `free`, which the caller is yet to be told, and is near enough for that.
    Until {
        free: u64,
        now: u64,
    },
    Told(Error),
}

/// What there is only below a balancer, where a token is reserved by `poll_ready`.
pub(super) struct AtMember {
    member: Arc<Member>,
    /// Tokens that are reserved and not spent yet. They are no part of the bucket, so that giving
    /// one back leaves it exactly as it would have been.
    held: AtomicU64,
    /// Those who wait for a token, for the case that one comes back.
    pub(super) returned: WaitList,
}

impl State {
    pub(super) fn new(quotas: Quotas, leased: bool) -> Self {
        Self::build(Bucket::new(quotas, leased), Error::refused(Kind::RateLimited), None)
    }

    /// The same quotas, with tokens of their own.
    pub(super) fn fresh(&self) -> Self {
        Self::new(self.bucket.quotas(), self.bucket.is_leased())
    }

    /// The state for `member`: the same as before, if it still lives.
    pub(super) fn of_member(self: &Arc<Self>, member: &Arc<Member>) -> Arc<Self> {
        let is_its = |state: &Self| {
            let of = state.member.as_ref().map(|at| &at.member);
            of.is_some_and(|of| Arc::ptr_eq(of, member))
        };
        // Held until the new one is listed, so that new quotas pass none by.
        let _changes = lock(&self.changes);
        self.members.get_or_insert(member, is_its, || {
            let refusal = Error::refused(Kind::RateLimited).at_endpoint(member.shared_key());
            let at = AtMember {
                member: member.clone(),
                held: AtomicU64::new(0),
                returned: WaitList::default(),
            };
            Self::build(Bucket::new(self.bucket.quotas(), false), refusal, Some(at))
        })
    }

    fn build(bucket: Bucket, refusal: Error, member: Option<AtMember>) -> Self {
        Self {
            bucket,
            clock: Clock::new(),
            anchor: Anchor::new(),
            queue: Queue::default(),
            refusal,
            member,
            members: ByMember::default(),
            changes: Mutex::new(()),
        }
    }

    /// Other quotas, here and for every member.
    pub(super) fn set(&self, quotas: Quotas) {
        // Of two changes at once, one is the last everywhere.
        let changes = lock(&self.changes);
        let members = self.members.live();
        let all = || members.iter().map(|member| &**member).chain([self]);
        all().for_each(|state| state.bucket.set(quotas, state.now()));
        // Before the wakers, which may do as they like.
        drop(changes);
        all().for_each(Self::tokens_came_back);
    }

    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.clock.nanos()
    }

    /// Takes of the bucket at the present time; where bursts are brief, a refusal looks twice.
    #[inline]
    pub(super) fn at_present<T>(&self, take: impl Fn(u64) -> Result<T, u64>) -> Result<T, u64> {
        self.at_latest(self.now(), take)
    }

    /// The same for one who was told to `wait` at its first look.
    #[cold]
    pub(super) fn again<T>(
        &self,
        wait: u64,
        take: impl Fn(u64) -> Result<T, u64>,
    ) -> Result<T, u64> {
        gcra::second_look(wait, || self.now(), || self.bucket.is_brief(), take)
    }

    /// The same for a thread that has looked already.
    #[inline]
    pub(super) fn at_latest<T>(
        &self,
        now: u64,
        take: impl Fn(u64) -> Result<T, u64>,
    ) -> Result<T, u64> {
        gcra::look_twice(now, || self.now(), || self.bucket.is_brief(), take)
    }

    /// The number of tokens, if so many ever fit.
    #[inline]
    pub(super) fn fitting(&self, cells: u32) -> Result<u64, Error> {
        self.bucket.fitting(cells).map_err(never)
    }

    /// Takes the tokens of a call where none are reserved.
    #[inline(always)]
    pub(super) fn spend(&self, cells: u32) -> Result<(), No> {
        if cells == 1 && self.bucket.has_one_quota() {
            let now = self.now();
            return match self.bucket.take_one(now) {
                Ok(()) => Ok(()),
                Err(free) => Err(No::Until { free, now }),
            };
        }
        match self.spend_several(cells) {
            Ok(()) => Ok(()),
            Err(error) => Err(No::Told(error)),
        }
    }

    #[inline(never)]
    fn spend_several(&self, cells: u32) -> Result<(), Error> {
        match self.fitting(cells)? {
            0 => Ok(()),
            cells => self.take(cells).map_err(|wait| self.refuse(wait)),
        }
    }

    /// What a call is answered with that got no tokens.
    #[inline(always)]
    pub(super) fn refusal(&self, no: No) -> Error {
        match no {
            // Made on the spot: a copy would ask whether there is anything to share.
            No::Until { free, now } => {
                Error::refused(Kind::RateLimited).retry_at_stamp(self.anchor.stamp_of(free, now))
            }
            No::Told(error) => error,
        }
    }

    /// Takes as many as fit into a bucket. Where tokens may be reserved, these are reserved too,
    /// so that nobody takes what another holds.
    #[inline]
    pub(super) fn take(&self, cells: u64) -> Result<(), u64> {
        match &self.member {
            None => self.at_present(|now| self.bucket.take(now, cells)),
            Some(at) => {
                self.reserve(at, cells)?;
                self.spend_reserved(at, cells);
                Ok(())
            }
        }
    }

    /// Holds tokens back for one who is ready to call. If there are none: the nanoseconds until
    /// there are, should all that are held be spent.
    pub(super) fn reserve(&self, at: &AtMember, cells: u64) -> Result<(), u64> {
        self.at_present(|now| self.reserve_at(now, at, cells))
    }

    fn reserve_at(&self, now: u64, at: &AtMember, cells: u64) -> Result<(), u64> {
        let fits = |held: u64| match self.bucket.wait(now, held.saturating_add(cells)) {
            0 => Ok(()),
            wait => Err(wait),
        };
        // Looked at first, so that a refusal writes nothing.
        fits(at.held.load(Ordering::Relaxed))?;
        // Acquire: see `release`. Counting first and looking then makes of two who come at once at
        // most one too few, never one too many. The time is that of before, which is on the same
        // side.
        fits(at.held.fetch_add(cells, Ordering::Acquire)).inspect_err(|_| {
            self.release(at, cells);
            at.returned.wake_all();
        })
    }

    pub(super) fn spend_reserved(&self, at: &AtMember, cells: u64) {
        self.bucket.spend(self.now(), cells);
        self.release(at, cells);
    }

    /// Release, with the Acquire of [`reserve`](Self::reserve): who no longer sees the tokens held
    /// sees them spent, if they were.
    pub(super) fn release(&self, at: &AtMember, cells: u64) {
        at.held.fetch_sub(cells, Ordering::Release);
    }

    /// Lets those who wait for tokens look again.
    pub(super) fn tokens_came_back(&self) {
        self.queue.wake_first();
        if let Some(at) = &self.member {
            at.returned.wake_all();
        }
    }

    /// Tokens that are reserved below a balancer.
    fn held(&self) -> u64 {
        self.member.as_ref().map_or(0, |at| at.held.load(Ordering::Relaxed))
    }

    /// Nanoseconds until the last of `cells` gets its token, should all that are reserved be
    /// spent.
    pub(super) fn wait(&self, cells: u64) -> u64 {
        self.bucket.wait(self.now(), self.held().saturating_add(cells))
    }

    pub(super) fn remaining(&self) -> u32 {
        let held = u32::try_from(self.held()).unwrap_or(u32::MAX);
        self.bucket.remaining(self.now()).saturating_sub(held)
    }

    /// Says no, and when to come back.
    #[cold]
    pub(super) fn refuse(&self, retry_after: u64) -> Error {
        self.refusal.clone().retry_at_stamp(free_at(&self.anchor, self.now(), retry_after))
    }

    /// Lets a call pass, queues it if it will get its turn by `until`, or refuses it.
    pub(super) fn enter(
        self: &Arc<Self>,
        cells: u64,
        until: impl FnOnce() -> Instant,
    ) -> Result<Option<Ticket>, Error> {
        if cells == 0 || (self.queue.is_empty() && self.take(cells).is_ok()) {
            return Ok(None);
        }
        if Handle::try_current().is_err() {
            // Nothing to wait with.
            return Err(self.refuse(self.wait(cells)));
        }
        let until = until();
        let ticket = Ticket::draw(self, cells, until, |ahead| {
            let wait = self.wait(ahead.cells.saturating_add(cells));
            let turn = time::later(time::now(), Duration::from_nanos(wait));
            if ahead.calls >= MOST_WAITING || turn > until {
                return Err(self.refuse(wait));
            }
            Ok(())
        })?;
        Ok(Some(ticket))
    }
}

/// The stamp of the moment to come back, or of the latest that an error tells.
#[inline]
pub(in crate::limit) fn free_at(anchor: &Anchor, now: u64, retry_after: u64) -> i64 {
    anchor.stamp_of(now.saturating_add(retry_after.min(gcra::LONGEST_WAIT)), now)
}

/// So many tokens never fit.
#[cold]
pub(in crate::limit) fn never(never: NeverFits) -> Error {
    Error::not_sent(Kind::InvalidConfig).message(format!(
        "{} tokens at once never fit: the burst is {}; raise `burst`, or take fewer",
        never.cells, never.burst
    ))
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RateLimit");
        debug
            .field("quotas", &self.bucket.quotas())
            .field("remaining", &self.remaining())
            .field("waiting", &self.queue.len());
        if let Some(at) = &self.member {
            debug.field("member", &at.member.key());
        }
        debug.finish()
    }
}
