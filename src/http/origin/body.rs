//! Response bodies that do not waste their connection.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Response, Version};
use http_body::{Body, Frame, SizeHint};

use super::{drain::drain, upstream::Upstream};

/// Response body of an [`OriginLayer`](super::OriginLayer), which is read in the background if it drops
/// unread.
///
/// A connection of HTTP/1.1 can be used again only after its body was read. Retries and failover drop
/// the responses that they discard, so without this each of them would cost a connection. The next
/// attempt does not wait for it.
///
/// A body drops without being read if a part of it was read, if it is known to be longer than the bound,
/// if it came over HTTP/2, or outside a runtime with timers.
///
/// `Default` is an empty body, also if `B` has none, as hyper's `Incoming`.
///
/// # Bounds
/// At most 64 KiB are read, for at most 50 ms, of at most 64 bodies at once for each endpoint. Over a
/// service, without members, the bound is for each service.
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
    /// `None` while it drops, and in an empty body of no response.
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
