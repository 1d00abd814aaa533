//! A call that waits below a balancer.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Sleep, sleep_until},
};

use super::state::State;
use crate::{limit::queue::Waiter, time::Instant};

/// How long a place is kept for a call that was called for it. Below a balancer a call waits for as long as it
/// takes, and one that is not polled any more would keep the place from all others.
const COME_WITHIN: Duration = Duration::from_millis(250);

pub(super) struct InLine {
    pub(super) waiter: Waiter<State>,
    look: Option<Pin<Box<Sleep>>>,
}

impl InLine {
    pub(super) fn new(waiter: Waiter<State>) -> Self {
        Self { waiter: waiter.coming_within(COME_WITHIN), look: None }
    }

    /// Ready when it is time to look again though nothing woke it: whether those before it came for their
    /// places. Without a runtime it never is.
    pub(super) fn poll_again(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<()> {
        let Some(at) = at.filter(|_| self.look.is_some() || Handle::try_current().is_ok()) else {
            return Poll::Pending;
        };
        let look = self.look.get_or_insert_with(|| Box::pin(sleep_until(at)));
        // A later time has to wait for its turn: each poll looks, and most need no timer anew.
        if look.is_elapsed() || at < look.deadline() {
            look.as_mut().reset(at);
        }
        ready!(look.as_mut().poll(cx));
        Poll::Ready(())
    }
}
