//! The body that is sent, which knows whether anybody began to send it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::error::BoxError;

/// Whether a request may have reached the endpoint. Decided once: either the connection begins to
/// write it, or the caller gives it up before.
#[derive(Debug, Clone, Default)]
pub(super) struct Sending(Arc<AtomicU8>);

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Sending {
    pub(super) fn is_begun(&self) -> bool {
        // Acquire with the Release in `decide`; the decision itself is all that is shared.
        self.0.load(Ordering::Acquire) == BEGUN
    }

    /// Sees to it that the request is never sent; false if it may have been.
    pub(super) fn give_up(&self) -> bool {
        self.decide(GIVEN_UP) == GIVEN_UP
    }

    fn begin(&self) -> bool {
        self.decide(BEGUN) == BEGUN
    }

    fn decide(&self, wanted: u8) -> u8 {
        match self.0.compare_exchange(WAITING, wanted, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => wanted,
            Err(decided) => decided,
        }
    }
}

/// A body held in memory. The connection looks at its length before it writes the first byte of
/// the head, and takes the bytes before it flushes.
#[derive(Debug)]
pub(super) struct Outgoing {
    bytes: Bytes,
    sending: Sending,
}

impl Outgoing {
    pub(super) fn new(bytes: Bytes, sending: Sending) -> Self {
        Self { bytes, sending }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if !self.sending.begin() {
            // Ends the connection before anything of this request is flushed.
            return Poll::Ready(Some(Err("the call was given up".into())));
        }
        let bytes = std::mem::take(&mut self.bytes);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        // A body without bytes is never asked for them. One that was given up must be asked.
        self.sending.begin() && self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_is_not_sent_and_what_is_being_sent_cannot_be_given_up() {
        let sending = Sending::default();
        assert!(sending.give_up());
        let mut body = Outgoing::new(Bytes::from_static(b"x"), sending.clone());
        let frame =
            Pin::new(&mut body).poll_frame(&mut Context::from_waker(std::task::Waker::noop()));
        assert!(matches!(frame, Poll::Ready(Some(Err(_)))) && !sending.is_begun());

        let sending = Sending::default();
        let body = Outgoing::new(Bytes::new(), sending.clone());
        assert!(body.is_end_stream() && sending.is_begun());
        assert!(!sending.give_up());
    }
}
