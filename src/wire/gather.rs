//! Reads a body into memory, up to a limit.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use pin_project_lite::pin_project;

pin_project! {
    /// A body being read. What came so far stays readable after an error.
    pub(crate) struct Gather<B> {
        #[pin]
        body: B,
        // All that came, while it came in one piece, which is as it stays.
        first: Bytes,
        // Otherwise.
        bytes: BytesMut,
        limit: usize,
        // In a box, since only gRPC has them.
        trailers: Option<Box<HeaderMap>>,
    }
}

/// Why a body was not read to its end.
#[derive(Debug)]
pub(crate) enum Cut<E> {
    /// It is longer than the limit.
    TooLong,
    /// It broke off.
    Broken(E),
}

impl<B: Body> Gather<B> {
    pub(crate) fn new(body: B, limit: usize) -> Self {
        Self { body, first: Bytes::new(), bytes: BytesMut::new(), limit, trailers: None }
    }

    /// Reads on. Nothing beyond the limit is kept, and a body that says that it is longer is not
    /// read at all.
    pub(crate) fn poll_gather(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Bytes, Cut<B::Error>>> {
        let mut this = self.project();
        let rest = (*this.limit - this.first.len() - this.bytes.len()) as u64;
        if this.body.size_hint().lower() > rest {
            return Poll::Ready(Err(Cut::TooLong));
        }
        loop {
            match ready!(this.body.as_mut().poll_frame(cx)) {
                None => return Poll::Ready(Ok(whole(this.first, this.bytes))),
                Some(Err(error)) => return Poll::Ready(Err(Cut::Broken(error))),
                Some(Ok(frame)) => {
                    let data = match frame.into_data() {
                        Ok(data) => data,
                        Err(frame) => {
                            *this.trailers = frame.into_trailers().ok().map(Box::new);
                            continue;
                        }
                    };
                    let room = *this.limit - this.first.len() - this.bytes.len();
                    let (fits, is_first) = (data.remaining() <= room, this.first.is_empty());
                    let mut data = data.take(room);
                    if is_first && this.bytes.is_empty() {
                        *this.first = data.copy_to_bytes(data.remaining());
                    } else {
                        this.bytes.put(std::mem::take(this.first));
                        this.bytes.put(data);
                    }
                    if !fits {
                        return Poll::Ready(Err(Cut::TooLong));
                    }
                }
            }
        }
    }

    /// The trailers, if there were any. They come last.
    pub(crate) fn trailers(self: Pin<&mut Self>) -> Option<Box<HeaderMap>> {
        self.project().trailers.take()
    }

    /// What came so far.
    pub(crate) fn so_far(self: Pin<&mut Self>) -> Bytes {
        let this = self.project();
        whole(this.first, this.bytes)
    }
}

fn whole(first: &mut Bytes, bytes: &mut BytesMut) -> Bytes {
    match first.is_empty() {
        true => std::mem::take(bytes).freeze(),
        false => std::mem::take(first),
    }
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, future::poll_fn, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use proptest::prelude::*;

    use super::*;

    fn gather(chunks: Vec<Vec<u8>>, limit: usize) -> Result<Bytes, (Cut<()>, Bytes)> {
        let frames = chunks.into_iter().map(|chunk| Ok::<_, ()>(Frame::data(Bytes::from(chunk))));
        let mut gather = Box::pin(Gather::new(StreamBody::new(stream::iter(frames)), limit));
        block_on(poll_fn(|cx| gather.as_mut().poll_gather(cx)))
            .map_err(|cut| (cut, gather.as_mut().so_far()))
    }

    proptest! {
        #[test]
        fn all_of_it_or_just_the_limit(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9),
            limit in 0_usize..40,
        ) {
            let whole = chunks.concat();
            match gather(chunks, limit) {
                Ok(body) => prop_assert!(body == whole && whole.len() <= limit),
                Err((Cut::TooLong, start)) => {
                    prop_assert!(whole.len() > limit);
                    prop_assert_eq!(&start[..], &whole[..limit]);
                }
                Err((Cut::Broken(()), _)) => prop_assert!(false),
            }
        }
    }
}
