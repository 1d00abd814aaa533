use std::{
    convert::Infallible,
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
};

use ::http::HeaderMap;
use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body, Frame, SizeHint};

/// Body of a response of a [`GrpcServe`](super::GrpcServe): at most one message, and the trailers with the
/// status; or the messages of `Health/Watch`.
///
/// ```
/// use http_body::Body;
/// use tower_upstream::serve::GrpcBody;
/// assert!(GrpcBody::default().is_end_stream());
/// ```
pub struct GrpcBody {
    content: Content,
}

enum Content {
    Whole { message: Bytes, trailers: Option<HeaderMap> },
    Streamed(Pin<Box<dyn Stream<Item = Frame<Bytes>> + Send>>),
}

impl GrpcBody {
    pub(super) fn new(message: Bytes, trailers: HeaderMap) -> Self {
        Self { content: Content::Whole { message, trailers: Some(trailers) } }
    }

    pub(super) fn streaming(frames: impl Stream<Item = Frame<Bytes>> + Send + 'static) -> Self {
        Self { content: Content::Streamed(Box::pin(frames)) }
    }
}

impl From<Bytes> for GrpcBody {
    fn from(message: Bytes) -> Self {
        Self { content: Content::Whole { message, trailers: None } }
    }
}

impl Default for GrpcBody {
    /// Returns an empty body.
    fn default() -> Self {
        Bytes::new().into()
    }
}

impl Body for GrpcBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (message, trailers) = match &mut self.content {
            Content::Whole { message, trailers } => (mem::take(message), trailers),
            Content::Streamed(frames) => return frames.as_mut().poll_next(cx).map(|of| of.map(Ok)),
        };
        let frame = match message.is_empty() {
            true => trailers.take().map(Frame::trailers),
            false => Some(Frame::data(message)),
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole { message, trailers: None } if message.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole { message, .. } => SizeHint::with_exact(message.len() as u64),
            Content::Streamed(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for GrpcBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcBody").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}
