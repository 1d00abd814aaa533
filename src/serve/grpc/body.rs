use std::{
    convert::Infallible,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use ::http::HeaderMap;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Body of a response of a [`GrpcServe`](super::GrpcServe): at most one message, and the trailers with the
/// status.
///
/// ```
/// use http_body::Body;
/// use tower_upstream::serve::GrpcBody;
/// assert!(GrpcBody::default().is_end_stream());
/// ```
#[derive(Debug, Default)]
pub struct GrpcBody {
    message: Bytes,
    trailers: Option<HeaderMap>,
}

impl GrpcBody {
    pub(super) fn new(message: Bytes, trailers: HeaderMap) -> Self {
        Self { message, trailers: Some(trailers) }
    }
}

impl From<Bytes> for GrpcBody {
    fn from(message: Bytes) -> Self {
        Self { message, trailers: None }
    }
}

impl Body for GrpcBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let message = mem::take(&mut self.message);
        let frame = match message.is_empty() {
            true => self.trailers.take().map(Frame::trailers),
            false => Some(Frame::data(message)),
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.message.len() as u64)
    }
}
