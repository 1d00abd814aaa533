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

use super::state::{No, State};
use crate::{error::Error, sync::WaitKey, time};

/// Above a balancer a call is decided on by `spend` alone; below it, a token is reserved first, and
/// given back when this drops.
pub(super) struct Reservation {
    state: Arc<State>,
    /// Whether a token is reserved. A word, since it stands beside others in a hot place.
    held: usize,
    waiting: Option<Box<Waiting>>,
}

struct Waiting {
    sleep: Pin<Box<Sleep>>,
    key: WaitKey,
}

impl Reservation {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, held: 0, waiting: None }
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

    /// Gives back the token that is reserved, if there is one, to the calls that wait.
    pub(super) fn give_back(&mut self) {
        if let (Some(at), true) = (&self.state.member, std::mem::take(&mut self.held) > 0) {
            self.state.release(at, 1);
            at.token_came_back();
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
                        at.spent_until(due);
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
        if cells == 1 && self.state.bucket.is_plain() {
            return self.state.spend_one();
        }
        match &self.state.member {
            None => self.state.spend(cells).map_err(No::Told),
            Some(_) => self.spend_of_member(cells).map_err(No::Told),
        }
    }

    #[inline(never)]
    fn spend_of_member(&mut self, cells: u32) -> Result<(), Error> {
        let (state, cells) = (&self.state, self.state.fitting(cells)?);
        let (Some(at), true) = (&state.member, cells > 0) else {
            return Ok(());
        };
        // Who was not ready holds none: then there are enough now, or there are not.
        let missing = cells.saturating_sub(self.held as u64);
        if missing > 0 {
            state.reserve(at, missing).map_err(|wait| state.refuse(wait))?;
        }
        self.held = 0;
        state.spend_reserved(at, cells);
        Ok(())
    }

    /// What a call is answered with that got none.
    #[inline(always)]
    pub(super) fn refusal(&self, no: No) -> Error {
        self.state.refusal(no)
    }
}

impl Drop for Reservation {
    #[inline]
    fn drop(&mut self) {
        if self.held == 0 && self.waiting.is_none() {
            return;
        }
        if let (Some(at), Some(waiting)) = (&self.state.member, &mut self.waiting) {
            at.returned.leave(&mut waiting.key);
        }
        self.give_back();
    }
}
