//! The calls that wait for a child.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use tokio::sync::mpsc::UnboundedReceiver;

use super::seat::Ticket;
use crate::error::Error;

/// The calls that wait, in their order. Those whose callers have gone are forgotten from time to time, so
/// there are never many more than callers.
#[derive(Debug)]
pub(super) struct Letters {
    channel: UnboundedReceiver<Ticket>,
    waiting: VecDeque<Ticket>,
    /// How many may wait before those that have gone are looked for.
    look_at: usize,
    is_closed: bool,
}

const LOOK_AT: usize = 64;

impl Letters {
    pub(super) fn new(channel: UnboundedReceiver<Ticket>) -> Self {
        Self { channel, waiting: VecDeque::new(), look_at: LOOK_AT, is_closed: false }
    }

    /// Collects those that have come. Ready once there will be no more, since no caller is left.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.is_closed {
            match self.channel.poll_recv(cx) {
                Poll::Ready(Some(ticket)) => self.waiting.push_back(ticket),
                Poll::Ready(None) => self.is_closed = true,
                Poll::Pending => break,
            }
            if self.waiting.len() >= self.look_at {
                self.waiting.retain(|ticket| !ticket.is_gone());
                self.look_at = (self.waiting.len() * 2).max(LOOK_AT);
            }
        }
        if self.is_closed { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(super) fn next(&mut self) -> Option<Ticket> {
        self.waiting.pop_front()
    }

    /// Puts those back that come before all others.
    pub(super) fn put_back(&mut self, tickets: Vec<Ticket>) {
        tickets.into_iter().rev().for_each(|ticket| self.waiting.push_front(ticket));
    }

    /// Answers all that wait with an error.
    pub(super) fn fail_all(&mut self, error: impl Fn() -> Error) {
        self.waiting.drain(..).for_each(|ticket| ticket.answer(Err(error())));
    }
}
