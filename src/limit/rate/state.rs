//! The tokens, shared by all that one layer value made, or by the clones of one member's service.

use std::{fmt, sync::Arc, task::Waker, time::Duration};

use tokio::runtime::Handle;

use super::{
    at_member::AtMember,
    bucket::Bucket,
    gcra::{self, NeverFits},
    quotas::Quotas,
};
use crate::{
    error::{Error, Kind},
    guard::{Configured, Family, Newest},
    limit::{
        queue::{Line, Queue, Supply, Taken, Waiter},
        telemetry::{Setup, Telemetry},
    },
    member::Member,
    sync::atomic::Ordering,
    time::{self, Anchor, Clock, Instant},
};

/// However fast they get their turn: each keeps its request in memory.
const MOST_WAITING: usize = 65_536;

/// How much later than its moment a timer of tokio may fire, and one to spare: those in front are
/// given the time to take their turn first.
const TIMER_GRAIN: Duration = Duration::from_millis(2);

/// The kind of all refusals.
pub(in crate::limit) const REFUSED: Kind = Kind::RateLimited;

pub(super) struct State {
    pub(super) bucket: Bucket,
    clock: Clock,
    anchor: Anchor,
    pub(super) queue: Queue,
    pub(super) telemetry: Telemetry,
    pub(super) member: Option<AtMember>,
    pub(super) family: Arc<RateFamily>,
}

/// The tokens of one layer value, and of the members it guards.
pub(super) type RateFamily = Family<State, Quotas>;

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

/// Other quotas, of which the same share is used.
impl Configured<Quotas> for State {
    fn apply(self: Arc<Self>, newest: &Newest<Quotas>) {
        self.bucket.set(|| *newest.get(), self.now());
        self.tokens_came_back();
    }

    fn member(&self) -> Option<&Arc<Member>> {
        self.member.as_ref().map(|at| &at.member)
    }
}

impl State {
    /// The tokens of a new layer value.
    pub(super) fn of_layer(quotas: Quotas, setup: Setup) -> Arc<Self> {
        let family = Arc::new(Family::new(quotas));
        family.own(|quotas| Arc::new(Self::build(&family, **quotas, setup, None)))
    }

    /// The tokens of `member`: those that it has, if its service is only connected anew.
    pub(super) fn of_member(&self, member: &Arc<Member>) -> Arc<Self> {
        let setup = || self.telemetry.setup().clone();
        self.family
            .of_member(member, |quotas| Self::build(&self.family, **quotas, setup(), Some(member)))
    }

    fn build(
        family: &Arc<RateFamily>,
        quotas: Quotas,
        setup: Setup,
        member: Option<&Arc<Member>>,
    ) -> Self {
        Self {
            bucket: Bucket::new(quotas, member.is_some()),
            clock: Clock::new(),
            anchor: Anchor::new(),
            queue: Queue::default(),
            telemetry: Telemetry::new(setup, member),
            member: member.map(AtMember::new),
            family: family.clone(),
        }
    }

    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.clock.nanos()
    }

    /// Takes of the bucket at the present time; where bursts are brief, a refusal looks twice.
    #[inline]
    fn at_present<T>(&self, take: impl Fn(u64) -> Result<T, u64>) -> Result<T, u64> {
        gcra::look_twice(self.now(), || self.now(), || self.bucket.is_brief(), take)
    }

    /// The number of tokens, if so many ever fit.
    #[inline]
    pub(super) fn fitting(&self, cells: u32) -> Result<u64, Error> {
        self.bucket.fitting(cells).map_err(|of| self.telemetry.named(never(of)))
    }

    /// Takes the only token of a call, where that is [plain](Bucket::is_plain).
    #[inline(always)]
    pub(super) fn spend_one(&self) -> Result<(), No> {
        let now = self.now();
        match self.bucket.take_one(now) {
            Ok(()) => Ok(()),
            Err(free) => Err(No::Until { free, now }),
        }
    }

    /// Takes the tokens of a call where none are reserved.
    #[inline(never)]
    pub(super) fn spend(&self, cells: u32) -> Result<(), Error> {
        match self.fitting(cells)? {
            0 => Ok(()),
            cells => self.take_of_bucket(cells).map_err(|wait| self.refuse(wait)),
        }
    }

    /// What a call is answered with that got no tokens.
    #[inline(always)]
    pub(super) fn refusal(&self, no: No) -> Error {
        match no {
            No::Until { free, now } => {
                self.telemetry.refuse_until(REFUSED, self.anchor.stamp_of(free, now))
            }
            No::Told(error) => error,
        }
    }

    /// Takes as many as fit into a bucket. Where tokens may be reserved, these are reserved too,
    /// so that no call takes what another holds.
    #[inline]
    pub(super) fn take(&self, cells: u64) -> Result<(), u64> {
        match &self.member {
            None => self.take_of_bucket(cells),
            Some(at) => {
                self.reserve(at, cells)?;
                self.spend_reserved(at, cells);
                Ok(())
            }
        }
    }

    #[inline]
    fn take_of_bucket(&self, cells: u64) -> Result<(), u64> {
        self.at_present(|now| self.bucket.take(now, cells))
    }

    /// Holds tokens back for one that is ready to call. If there are none: the nanoseconds until
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
            at.token_came_back();
        })
    }

    pub(super) fn spend_reserved(&self, at: &AtMember, cells: u64) {
        self.bucket.spend(self.now(), cells);
        self.release(at, cells);
    }

    /// Release, with the Acquire of [`reserve`](Self::reserve): a thread that no longer sees the tokens held
    /// sees them spent, if they were.
    pub(super) fn release(&self, at: &AtMember, cells: u64) {
        at.held.fetch_sub(cells, Ordering::Release);
    }

    /// Lets calls that wait for tokens look again.
    pub(super) fn tokens_came_back(&self) {
        self.queue.wake_called();
        if let Some(at) = &self.member {
            at.token_came_back();
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
        let free = free_at(&self.anchor, self.now(), retry_after);
        self.telemetry.refuse_until(REFUSED, free)
    }

    /// Lets a call pass, puts it in line if it will get its turn by `until`, or refuses it.
    pub(super) fn enter(
        self: &Arc<Self>,
        cells: u64,
        until: impl FnOnce(Instant) -> Instant,
    ) -> Result<Option<Waiter<Self>>, Error> {
        if cells == 0 || (self.queue.is_empty() && self.take(cells).is_ok()) {
            return Ok(None);
        }
        if Handle::try_current().is_err() {
            // Nothing to wait with.
            return Err(self.refuse(self.wait(cells)));
        }
        let now = time::now();
        let until = until(now);
        let times = (now, time::later(until, TIMER_GRAIN));
        let mut waiting = 0;
        let waiter = Waiter::join(self, cells, times, |line| {
            waiting = line.len() + 1;
            let wait = self.wait(line.weight().saturating_add(cells));
            let turn = time::later(time::now(), Duration::from_nanos(wait));
            if line.len() >= MOST_WAITING || turn > until {
                return Err(self.refuse(wait));
            }
            Ok(())
        })?;
        self.telemetry.began_to_wait(waiting);
        // It may be the first.
        self.call_next();
        Ok(Some(waiter))
    }
}

/// One is called at a time, and takes its tokens when they are there.
impl Supply for State {
    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    fn set_aside(&self, line: &Line<Waker>) -> bool {
        line.len() == line.waiting()
    }

    fn put_back(&self) {
        self.call_next();
    }

    fn lacks(&self, cells: u64) -> Result<u64, Error> {
        // The quota may be another since, and so small that they never fit.
        self.fitting(u32::try_from(cells).unwrap_or(u32::MAX))?;
        Ok(self.wait(cells))
    }

    fn take(waiter: &Waiter<Self>) -> Result<(), u64> {
        waiter.supply().take(waiter.weight())
    }

    fn refusal(&self, cells: u64) -> Error {
        self.refuse(self.wait(cells))
    }
}

/// A call that has its tokens has spent them.
impl Taken<State> for () {
    fn taken(_: &Arc<State>) {}

    fn nothing() {}
}

/// The stamp of the moment to come back, or of the latest that an error tells.
#[inline]
fn free_at(anchor: &Anchor, now: u64, retry_after: u64) -> i64 {
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
