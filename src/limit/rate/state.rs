//! The tokens, shared by all that one layer value made, or by the clones of one member's service.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Sleep, sleep_until},
};

use super::{
    config::Quota,
    gcra::{Decision, Gcra},
    queue::{Queue, Ticket},
};
use crate::{
    error::{Error, Kind},
    guard::ByMember,
    member::Member,
    sync::{Padded, WaitKey, WaitList},
    time::{self, Clock, Instant},
};

pub(super) struct State {
    rule: Gcra,
    quota: Quota,
    clock: Clock,
    tat: Padded<AtomicU64>,
    pub(super) queue: Queue,
    /// What a refusal looks like, but for the moment to come back.
    refusal: Error,
    member: Option<AtMember>,
    /// Of the connector; empty below it.
    pub(super) members: ByMember<State>,
}

/// What there is only below a balancer, where a token is reserved by `poll_ready`.
struct AtMember {
    member: Arc<Member>,
    /// Tokens that are reserved and not spent yet. They are no part of the TAT, so that giving one
    /// back leaves the bucket exactly as it would have been.
    held: AtomicU64,
    /// Those who wait for a token, for the case that a reserved one comes back.
    returned: WaitList,
}

impl State {
    pub(super) fn new(quota: Quota) -> Self {
        Self::build(quota, Error::refused(Kind::RateLimited), None)
    }

    /// The state for `member`: the same as before, if it still lives.
    pub(super) fn of_member(self: &Arc<Self>, member: &Arc<Member>) -> Arc<Self> {
        let is_its = |state: &Self| {
            let of = state.member.as_ref().map(|at| &at.member);
            of.is_some_and(|of| Arc::ptr_eq(of, member))
        };
        self.members.get_or_insert(member, is_its, || {
            let refusal = Error::refused(Kind::RateLimited).at_endpoint(member.shared_key());
            let at = AtMember {
                member: member.clone(),
                held: AtomicU64::new(0),
                returned: WaitList::default(),
            };
            Self::build(self.quota, refusal, Some(at))
        })
    }

    fn build(quota: Quota, refusal: Error, member: Option<AtMember>) -> Self {
        Self {
            rule: quota.rule(),
            quota,
            clock: Clock::new(),
            tat: Padded(AtomicU64::new(0)),
            queue: Queue::default(),
            refusal,
            member,
            members: ByMember::default(),
        }
    }

    pub(super) fn quota(&self) -> Quota {
        self.quota
    }

    /// Takes a token. If there is none: the nanoseconds until there is.
    #[inline]
    pub(super) fn take(&self) -> Result<(), u64> {
        self.take_fitting(1)
    }

    /// Takes several tokens, or none.
    pub(super) fn take_many(&self, cells: u32) -> Result<(), Error> {
        match self.rule.fitting(cells) {
            Ok(cells) => self.take_fitting(cells).map_err(|wait| self.refuse(wait)),
            Err(never) => Err(Error::unsent(Kind::InvalidConfig).message(format!(
                "{} tokens at once never fit: the burst is {}; raise `burst`, or take fewer",
                never.cells, never.burst
            ))),
        }
    }

    /// Takes as many as fit into a bucket. Where tokens may be reserved, these are reserved too,
    /// so that nobody takes what another holds.
    #[inline]
    fn take_fitting(&self, cells: u64) -> Result<(), u64> {
        match &self.member {
            None => self.take_unheld(cells),
            Some(at) => {
                reserve(self, at, cells)?;
                spend_reserved(self, at, cells);
                Ok(())
            }
        }
    }

    #[inline]
    fn take_unheld(&self, cells: u64) -> Result<(), u64> {
        let now = self.clock.nanos();
        // Relaxed, all three: the number is the whole state, and publishes nothing else.
        let mut tat = self.tat.load(Ordering::Relaxed);
        loop {
            match self.rule.decide(tat, now, cells) {
                Decision::Allowed { new_tat } => match self.tat.compare_exchange_weak(
                    tat,
                    new_tat,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => return Ok(()),
                    Err(seen) => tat = seen,
                },
                // Nothing is written, so refusing many costs the others nothing.
                Decision::Refused { retry_after } => return Err(retry_after),
            }
        }
    }

    /// Tokens that are reserved below a balancer.
    fn held(&self) -> u64 {
        self.member.as_ref().map_or(0, |at| at.held.load(Ordering::Relaxed))
    }

    /// Nanoseconds until the last of `calls` that wait gets a token, should all that are reserved
    /// be spent.
    fn wait(&self, calls: u64) -> u64 {
        let tat = self.tat.load(Ordering::Relaxed);
        self.rule.wait(tat, self.clock.nanos(), self.held().saturating_add(calls))
    }

    /// Nanoseconds until there is a token; zero if there is one.
    pub(super) fn wait_for_one(&self) -> u64 {
        self.wait(1)
    }

    pub(super) fn remaining(&self) -> u32 {
        let tat = self.tat.load(Ordering::Relaxed);
        let held = u32::try_from(self.held()).unwrap_or(u32::MAX);
        self.rule.remaining(tat, self.clock.nanos()).saturating_sub(held)
    }

    /// Says no, and when to come back.
    #[cold]
    pub(super) fn refuse(&self, retry_after: u64) -> Error {
        self.refuse_from(time::now(), Duration::from_nanos(retry_after))
    }

    fn refuse_from(&self, now: Instant, retry_after: Duration) -> Error {
        self.refusal.clone().retry_in(now, retry_after)
    }

    /// Lets a call pass, queues it if it will get its turn by `until`, or refuses it.
    pub(super) fn enter(
        self: &Arc<Self>,
        until: impl FnOnce() -> Instant,
    ) -> Result<Option<Ticket>, Error> {
        if self.queue.is_empty() && self.take().is_ok() {
            return Ok(None);
        }
        if Handle::try_current().is_err() {
            // Nothing to wait with.
            return Err(self.refuse(self.wait_for_one()));
        }
        let until = until();
        let ticket = Ticket::draw(self, until, |ahead| {
            let now = time::now();
            let wait = Duration::from_nanos(self.wait(ahead.saturating_add(1)));
            if time::later(now, wait) > until { Err(self.refuse_from(now, wait)) } else { Ok(()) }
        })?;
        Ok(Some(ticket))
    }
}

/// The right of one service value to make one call. Above a balancer it is decided by `spend`
/// alone; below it, a token is reserved first, and given back when this drops.
pub(super) struct Permit {
    state: Arc<State>,
    /// Whether a token is reserved. A word, since it stands beside others in a hot place.
    held: usize,
    waiting: Option<Box<Waiting>>,
}

struct Waiting {
    sleep: Pin<Box<Sleep>>,
    key: WaitKey,
}

impl Permit {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, held: 0, waiting: None }
    }

    pub(super) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Reserves a token below a balancer; above one, there is nothing to wait for.
    #[inline]
    pub(super) fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.state.member {
            Some(_) if self.held == 0 => self.poll_token(cx),
            _ => Poll::Ready(()),
        }
    }

    fn poll_token(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = &self.state.member else {
            return Poll::Ready(());
        };
        loop {
            let mut reserved = reserve(&self.state, at, 1);
            if reserved.is_err() && self.waiting.is_none() && Handle::try_current().is_err() {
                // Nothing to wait with, so `spend` decides.
                return Poll::Ready(());
            }
            if reserved.is_err() {
                let waiting = self.waiting.get_or_insert_with(|| {
                    Box::new(Waiting {
                        sleep: Box::pin(sleep_until(time::now())),
                        key: WaitKey::default(),
                    })
                });
                at.returned.wait(&mut waiting.key, cx.waker());
                // Once more: one may have come back before we were listed.
                reserved = reserve(&self.state, at, 1);
            }
            match (reserved, &mut self.waiting) {
                (Ok(()), _) => {
                    self.held = 1;
                    if let Some(mut waiting) = self.waiting.take() {
                        at.returned.leave(&mut waiting.key);
                    }
                    return Poll::Ready(());
                }
                (Err(wait), Some(waiting)) => {
                    // From now on, not from the start of our clock: the two drift apart.
                    let due = time::later(time::now(), Duration::from_nanos(wait));
                    waiting.sleep.as_mut().reset(due);
                    if waiting.sleep.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
                (Err(_), None) => {}
            }
        }
    }

    /// Spends the reserved token, or one that is there.
    #[inline]
    pub(super) fn spend(&mut self) -> Result<(), Error> {
        match &self.state.member {
            None => self.state.take().map_err(|wait| self.state.refuse(wait)),
            Some(at) => {
                if self.held == 0 {
                    // Called without being ready. Then there is one now, or there is none.
                    reserve(&self.state, at, 1).map_err(|wait| self.state.refuse(wait))?;
                }
                self.held = 0;
                spend_reserved(&self.state, at, 1);
                Ok(())
            }
        }
    }
}

/// Holds tokens back for one who is ready to call. If there are none: the nanoseconds until there
/// are, should all that are held be spent.
fn reserve(state: &State, at: &AtMember, cells: u64) -> Result<(), u64> {
    let now = state.clock.nanos();
    let fits = |held: u64| {
        let tat = state.tat.load(Ordering::Relaxed);
        match state.rule.wait(tat, now, held.saturating_add(cells)) {
            0 => Ok(()),
            wait => Err(wait),
        }
    };
    // Looked at first, so that a refusal writes nothing.
    fits(at.held.load(Ordering::Relaxed))?;
    // Acquire: see `spend_reserved`. Counting first and looking then makes of two who come at once
    // at most one too few, never one too many. The time is that of before, which is on the same
    // side.
    fits(at.held.fetch_add(cells, Ordering::Acquire)).inspect_err(|_| {
        at.held.fetch_sub(cells, Ordering::Release);
        at.returned.wake_all();
    })
}

#[inline]
fn spend_reserved(state: &State, at: &AtMember, cells: u64) {
    let now = state.clock.nanos();
    let _ = state.tat.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tat| {
        Some(state.rule.after(tat, now, cells))
    });
    // Release, with the Acquire of `reserve`: who no longer sees the tokens held sees them spent.
    at.held.fetch_sub(cells, Ordering::Release);
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if self.held == 0 && self.waiting.is_none() {
            return;
        }
        if let Some(at) = &self.state.member {
            if let Some(waiting) = &mut self.waiting {
                at.returned.leave(&mut waiting.key);
            }
            if self.held > 0 {
                at.held.fetch_sub(1, Ordering::Release);
                at.returned.wake_all();
            }
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RateLimit");
        debug
            .field("quota", &self.quota)
            .field("remaining", &self.remaining())
            .field("waiting", &self.queue.len());
        if let Some(at) = &self.member {
            debug.field("member", &at.member.key());
        }
        debug.finish()
    }
}
