use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep_until};

use crate::{error::BoxError, time::Instant};

/// Body of a request to an [`HttpServer`](super::HttpServer), which fails if it takes longer than
/// [`body_timeout`](super::HttpServerConfig::body_timeout).
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower_upstream::serve::RequestBody;
///
/// async fn answer(_: Request<RequestBody>) -> std::io::Result<Response<Full<bytes::Bytes>>> {
///     Ok(Response::default())
/// }
/// # let _ = answer;
/// ```
pub struct RequestBody {
    inner: Incoming,
    until: Instant,
    /// Made when it has to wait: most bodies are there with their head.
    timer: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, until: Instant) -> Self {
        Self { inner, until, timer: None }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let until = self.until;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        timer.as_mut().poll(cx).map(|()| Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").finish_non_exhaustive()
    }
}

/// A body took longer than it may.
#[derive(Debug)]
pub(super) struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body took too long (`body_timeout`)")
    }
}

impl Error for TooSlow {}
