//! The body of an answer, which does not waste its connection.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Response, Version};
use http_body::{Body, Frame, SizeHint};

use super::{Upstream, drain::drain};

/// The response body of an [`OriginLayer`](super::OriginLayer).
///
/// A connection of HTTP/1.1 can be used again only after the body was read. If one is dropped unread,
/// as retries and failover do with the answers that they discard, it is read in the background: at most
/// 64 KiB, for at most 50 ms, and at most 64 bodies at once for each endpoint (or for each service, where
/// it stands over a service, without members). The next attempt does not wait for that. A body that was
/// read in part, that is known to be longer, that came over HTTP/2, or that is dropped outside a runtime
/// with timers is dropped as it is.
///
/// # Example
/// ```
/// use http_body_util::BodyExt;
/// use hyper::body::Incoming;
/// use tower_upstream::http::OriginBody;
///
/// async fn read(response: http::Response<OriginBody<Incoming>>) -> hyper::Result<bytes::Bytes> {
///     Ok(response.into_body().collect().await?.to_bytes())
/// }
/// # let _ = read;
/// ```
pub struct OriginBody<B: Body + Send + Unpin + 'static> {
    /// `None` while it drops, and in a body of no answer.
    body: Option<B>,
    /// Where it came from, while nothing of it was read.
    unread: Option<Arc<Upstream>>,
}

impl<B: Body + Send + Unpin + 'static> OriginBody<B> {
    pub(super) fn of(response: Response<B>, from: Option<Arc<Upstream>>) -> Response<Self> {
        let is_alone = response.version() < Version::HTTP_2;
        response.map(|body| Self {
            unread: from.filter(|_| is_alone && !body.is_end_stream()),
            body: Some(body),
        })
    }
}

impl<B: Body + Send + Unpin + 'static> Drop for OriginBody<B> {
    fn drop(&mut self) {
        if let (Some(from), Some(body)) = (self.unread.take(), self.body.take()) {
            drain(body, from);
        }
    }
}

impl<B: Body + Send + Unpin + 'static> Body for OriginBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = match &mut self.body {
            Some(body) => ready!(Pin::new(body).poll_frame(cx)),
            None => None,
        };
        self.unread = None;
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

/// An empty body, of no answer: also where `B` has no empty one, as hyper's `Incoming` has not.
impl<B: Body + Send + Unpin + 'static> Default for OriginBody<B> {
    fn default() -> Self {
        Self { body: None, unread: None }
    }
}

impl<B: Body + Send + Unpin + 'static> fmt::Debug for OriginBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginBody").field("unread", &self.unread.is_some()).finish_non_exhaustive()
    }
}
