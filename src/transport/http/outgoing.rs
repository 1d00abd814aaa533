//! The body that is sent, which knows whether sending has begun.

use std::{
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use crate::error::BoxError;

/// Whether a request may have reached the endpoint, and its body. Decided once: either the connection
/// begins to write it, or the caller gives it up before.
#[derive(Debug, Clone)]
pub(super) struct Sending(Arc<Sent>);

#[derive(Debug)]
struct Sent {
    state: AtomicU8,
    /// Here, so that one allocation holds both and the body may be sent again.
    body: Bytes,
}

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Sending {
    pub(super) fn new(body: Bytes) -> Self {
        Self(Arc::new(Sent { state: AtomicU8::new(WAITING), body }))
    }

    /// The same body, of which nothing was sent yet.
    pub(super) fn again(&self) -> Self {
        Self::new(self.0.body.clone())
    }

    pub(super) fn outgoing(&self) -> Outgoing {
        Outgoing { sending: self.clone(), taken: self.0.body.is_empty() }
    }

    pub(super) fn is_begun(&self) -> bool {
        // Acquire with the Release in `decide`; the decision itself is all that is shared.
        self.0.state.load(Ordering::Acquire) == BEGUN
    }

    /// Ensures that the request is never sent. False if it may have been.
    pub(super) fn give_up(&self) -> bool {
        self.decide(GIVEN_UP) == GIVEN_UP
    }

    fn begin(&self) -> bool {
        self.decide(BEGUN) == BEGUN
    }

    fn decide(&self, wanted: u8) -> u8 {
        let state = &self.0.state;
        match state.compare_exchange(WAITING, wanted, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => wanted,
            Err(decided) => decided,
        }
    }
}

/// A body held in memory. The connection looks at its length before it writes the first byte of
/// the head, and takes the bytes before it flushes.
#[derive(Debug)]
pub(super) struct Outgoing {
    sending: Sending,
    taken: bool,
}

impl Body for Outgoing {
    type Data = Rest;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Rest>, BoxError>>> {
        if !self.sending.begin() {
            // Ends the connection before anything of this request is flushed.
            return Poll::Ready(Some(Err("the call was given up".into())));
        }
        let taken = mem::replace(&mut self.taken, true);
        Poll::Ready((!taken).then(|| Ok(Frame::data(Rest { of: self.sending.clone(), at: 0 }))))
    }

    fn is_end_stream(&self) -> bool {
        // A body without bytes is never asked for them. One that was given up must be asked.
        self.sending.begin() && self.taken
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(if self.taken { 0 } else { self.sending.0.body.len() as u64 })
    }
}

/// What is left of a body to write. Shares it, so that it costs no allocation.
#[derive(Debug)]
pub(super) struct Rest {
    of: Sending,
    at: usize,
}

impl Buf for Rest {
    fn remaining(&self) -> usize {
        self.of.0.body.len() - self.at
    }

    fn chunk(&self) -> &[u8] {
        &self.of.0.body[self.at..]
    }

    fn advance(&mut self, count: usize) {
        self.at = self.of.0.body.len().min(self.at + count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_is_not_sent_and_what_is_being_sent_cannot_be_given_up() {
        let frame = |sending: &Sending| {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            Pin::new(&mut sending.outgoing()).poll_frame(&mut cx)
        };
        let sending = Sending::new(Bytes::from_static(b"x"));
        assert!(sending.give_up());
        assert!(matches!(frame(&sending), Poll::Ready(Some(Err(_)))) && !sending.is_begun());

        let sending = Sending::new(Bytes::new());
        assert!(sending.outgoing().is_end_stream() && sending.is_begun());
        assert!(!sending.give_up());
    }

    #[test]
    fn a_body_is_written_from_its_start_however_often() {
        let sending = Sending::new(Bytes::from_static(b"body"));
        for sending in [sending.again(), sending] {
            let mut body = sending.outgoing();
            assert_eq!(body.size_hint().exact(), Some(4));
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) else {
                panic!("no bytes");
            };
            let mut data = frame.into_data().unwrap();
            data.advance(2);
            assert_eq!((data.chunk(), data.remaining()), (&b"dy"[..], 2));
            assert!(body.is_end_stream() && body.size_hint().exact() == Some(0));
        }
    }
}
