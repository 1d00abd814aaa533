//! The body of an answer, whose parts tell how far they are sent.

use std::{
    io::IoSlice,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use pin_project_lite::pin_project;

use super::pace::{Pace, Unsent};

pin_project! {
    pub(super) struct Parted<B> {
        #[pin]
        pub(super) body: B,
        pub(super) pace: Arc<Pace>,
    }
}

impl<B: Body> Body for Parted<B> {
    type Data = Part<B::Data>;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        let part = |data| Part { data, unsent: this.pace.hand_out() };
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(part))))
    }

    inner_body!();
}

/// Bytes that are dropped once all of them are sent, or the connection has ended.
pub(super) struct Part<D> {
    data: D,
    // After the bytes, so that it drops after them.
    unsent: Unsent,
}

impl<D: Buf> Buf for Part<D> {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.data.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
        self.unsent.moved();
    }

    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        self.unsent.moved();
        self.data.copy_to_bytes(count)
    }
}
