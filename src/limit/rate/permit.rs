//! The right of one service value to make one call.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Sleep, sleep_until},
};

use super::{
    bucket::{Lease, Receipt},
    state::{AtMember, No, State},
};
use crate::{error::Error, sync::WaitKey, time};

/// Above a balancer a call is decided on by `spend` alone; below it, a token is reserved first, and
/// given back when this drops.
pub(super) struct Permit {
    state: Arc<State>,
    /// Whether a token is reserved. A word, since it stands beside others in a hot place.
    held: usize,
    waiting: Option<Box<Waiting>>,
    lease: Option<Box<Lease>>,
}

struct Waiting {
    sleep: Pin<Box<Sleep>>,
    key: WaitKey,
}

impl Permit {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, held: 0, waiting: None, lease: None }
    }

    pub(super) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Whether this is below a balancer, where a token is reserved before the call.
    #[inline]
    pub(super) fn is_bound(&self) -> bool {
        self.state.member.is_some()
    }

    /// Reserves a token, below a balancer.
    pub(super) fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.held == 0 { self.poll_token(cx) } else { Poll::Ready(()) }
    }

    /// Gives back the token that is reserved, if there is one, to those who wait.
    pub(super) fn give_back(&mut self) {
        if let (Some(at), true) = (&self.state.member, std::mem::take(&mut self.held) > 0) {
            self.state.release(at, 1);
            at.returned.wake_all();
        }
    }

    fn poll_token(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = &self.state.member else {
            return Poll::Ready(());
        };
        loop {
            let mut reserved = self.state.reserve(at, 1);
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
                reserved = self.state.reserve(at, 1);
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

    /// Spends tokens that are there, the reserved one among them.
    // Always: what is in here for endpoints makes it look larger than it is.
    #[inline(always)]
    pub(super) fn spend(&mut self, cells: u32) -> Result<(), No> {
        match &self.state.member {
            None => self.state.spend(cells),
            Some(_) => self.spend_of_member(cells).map_err(No::Told),
        }
    }

    #[inline(never)]
    fn spend_of_member(&mut self, cells: u32) -> Result<(), Error> {
        let cells = self.state.fitting(cells)?;
        if let (Some(at), true) = (&self.state.member, cells > 0) {
            top_up(&self.state, at, &mut self.held, cells)?;
            self.state.spend_reserved(at, cells);
        }
        Ok(())
    }

    /// The same for tokens that may come back. None where nothing was taken.
    pub(super) fn spend_refundable(&mut self, cells: u32) -> Result<Option<Spent>, Error> {
        let cells = self.state.fitting(cells)?;
        if cells == 0 {
            return Ok(None);
        }
        let state = &self.state;
        let receipt = match &state.member {
            None if state.bucket.is_off() => return Ok(None),
            None => {
                let take = move |now| state.bucket.take_refundable(now, cells);
                match take(state.now()) {
                    Ok(receipt) => receipt,
                    // By itself, since a receipt is not moved for nothing.
                    Err(wait) => state.again(wait, take).map_err(|wait| state.refuse(wait))?,
                }
            }
            Some(at) => {
                top_up(state, at, &mut self.held, cells)?;
                let receipt = state.bucket.spend_refundable(state.now(), cells);
                state.release(at, cells);
                receipt
            }
        };
        Ok(Some(Spent { state: state.clone(), receipt, cells }))
    }

    /// The same of the tokens that this value has leased, or is going to lease. Below a balancer
    /// there are none: there, tokens are reserved one by one.
    #[inline(always)]
    pub(super) fn spend_leased(&mut self, cells: u32) -> Result<(), No> {
        if self.state.member.is_some() || cells == 0 {
            return self.spend_of_member(cells).map_err(No::Told);
        }
        let (now, tokens) = (self.state.now(), u64::from(cells));
        if let Some(lease) = &mut self.lease {
            if lease.tokens >= tokens && now < lease.until {
                lease.tokens -= tokens;
                return Ok(());
            }
        }
        self.lease_more(cells, now).map_err(No::Told)
    }

    #[inline(never)]
    fn lease_more(&mut self, cells: u32, now: u64) -> Result<(), Error> {
        self.give_back_lease();
        let cells = self.state.fitting(cells)?;
        let leased = self.state.at_latest(now, |now| self.state.bucket.lease(now, cells));
        match (leased.map_err(|wait| self.state.refuse(wait))?, &mut self.lease) {
            (Some(lease), Some(place)) => **place = lease,
            (Some(lease), place) => *place = Some(Box::new(lease)),
            (None, _) => {}
        }
        Ok(())
    }

    /// What a call is answered with that got none.
    #[inline(always)]
    pub(super) fn refusal(&self, no: No) -> Error {
        self.state.refusal(no)
    }

    fn give_back_lease(&mut self) {
        if let Some(lease) = &mut self.lease {
            self.state.bucket.end_lease(lease, self.state.now());
        }
    }
}

/// Reserves what is missing to `cells` beside those `held`. Who was not ready holds none: then
/// there are enough now, or there are not.
fn top_up(state: &State, at: &AtMember, held: &mut usize, cells: u64) -> Result<(), Error> {
    let missing = cells.saturating_sub(*held as u64);
    if missing > 0 {
        state.reserve(at, missing).map_err(|wait| state.refuse(wait))?;
    }
    *held = 0;
    Ok(())
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if self.held == 0 && self.waiting.is_none() && self.lease.is_none() {
            return;
        }
        self.give_back_lease();
        if let (Some(at), Some(waiting)) = (&self.state.member, &mut self.waiting) {
            at.returned.leave(&mut waiting.key);
        }
        self.give_back();
    }
}

/// Tokens that a call took and that may come back, once.
pub(super) struct Spent {
    state: Arc<State>,
    receipt: Receipt,
    cells: u64,
}

impl Spent {
    pub(super) fn refund(self) {
        self.state.bucket.refund(&self.receipt, self.state.now(), self.cells);
        self.state.tokens_came_back();
    }
}
