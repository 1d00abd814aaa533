//! A call that waits below a balancer.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    runtime::Handle,
    time::{Sleep, sleep_until},
};

use super::state::{COME_WITHIN, State};
use crate::{
    limit::queue::Waiter,
    time::{self, Instant},
};

pub(super) struct InLine {
    pub(super) waiter: Waiter<State>,
    look: Option<Pin<Box<Sleep>>>,
}

impl InLine {
    pub(super) fn new(waiter: Waiter<State>) -> Self {
        Self { waiter, look: None }
    }

    /// Ready when it is time to look again though nothing woke it: whether those before it came for their
    /// places. Without a runtime it never is.
    pub(super) fn poll_again(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if self.look.is_none() && Handle::try_current().is_err() {
            return Poll::Pending;
        }
        let next = time::later(now, COME_WITHIN);
        let look = self.look.get_or_insert_with(|| Box::pin(sleep_until(next)));
        ready!(look.as_mut().poll(cx));
        look.as_mut().reset(next);
        Poll::Ready(())
    }
}
