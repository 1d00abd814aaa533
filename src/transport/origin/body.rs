//! The body of an answer, which does not waste its connection.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Buf;
use http::{Response, Version};
use http_body::{Body, Frame, SizeHint};
use tokio::{runtime::Handle, time::timeout};

use super::target::Target;

/// What is read of a body that nobody wants, at most.
const MAX_DRAINED: usize = 64 << 10;
/// How long that may take.
const DRAIN: Duration = Duration::from_millis(50);
/// How many at once, for each endpoint.
const MAX_DRAINS: u32 = 64;

/// The response body of an [`OriginLayer`](super::OriginLayer).
///
/// A connection of HTTP/1.1 can be used again only after the body was read. If one is dropped unread,
/// as retries and failover do with the answers that they discard, it is read in the background: at most
/// 64 KiB, for at most 50 ms, and at most 64 bodies at once for each endpoint. The next attempt does not
/// wait for that. A body that was read in part, that is known to be longer, that came over HTTP/2, or
/// that is dropped outside a runtime is dropped as it is.
///
/// # Example
/// ```
/// use http_body_util::BodyExt;
/// use hyper::body::Incoming;
/// use tower_upstream::transport::OriginBody;
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
    unread: Option<Arc<Target>>,
}

impl<B: Body + Send + Unpin + 'static> OriginBody<B> {
    pub(super) fn of(response: Response<B>, target: Option<Arc<Target>>) -> Response<Self> {
        let is_alone = response.version() < Version::HTTP_2;
        response.map(|body| Self {
            unread: target.filter(|_| is_alone && !body.is_end_stream()),
            body: Some(body),
        })
    }
}

impl<B: Body + Send + Unpin + 'static> Drop for OriginBody<B> {
    fn drop(&mut self) {
        if let (Some(target), Some(body)) = (self.unread.take(), self.body.take()) {
            drain(body, target);
        }
    }
}

#[cold]
fn drain<B: Body + Send + Unpin + 'static>(mut body: B, target: Arc<Target>) {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    if body.size_hint().lower() > MAX_DRAINED as u64 {
        return;
    }
    let Some(place) = Place::take(target) else {
        return;
    };
    let read = async move {
        let _place = place;
        let mut left = MAX_DRAINED;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Buf::remaining));
            if left == 0 {
                return;
            }
        }
    };
    runtime.spawn(async {
        // Late makes no difference: the connection closes.
        let _ = timeout(DRAIN, read).await;
    });
}

/// One of the bodies that are drained at once.
struct Place(Arc<Target>);

impl Place {
    fn take(target: Arc<Target>) -> Option<Self> {
        target.may_drain(MAX_DRAINS).then(|| Self(target))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.drained();
    }
}

impl<B: Body + Send + Unpin + 'static> Body for OriginBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.unread = None;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
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
