use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Response, Version};
use pin_project_lite::pin_project;

use super::{
    hop_by_hop::strip,
    upgrade::{self, Asked},
    via,
};
use crate::{
    error::{BoxError, Error},
    guard::ResponseFuture,
};

pin_project! {
    /// Future of a response of a [`ReverseProxy`](super::ReverseProxy).
    ///
    /// # Cancel safety
    /// Dropping it drops the inner call.
    #[must_use = "futures do nothing unless polled"]
    pub struct ReverseProxyFuture<F> {
        #[pin]
        inner: ResponseFuture<F>,
        // Rare, so out of line.
        asked: Option<Box<Asked>>,
        via: Option<Arc<str>>,
    }
}

impl<F> ReverseProxyFuture<F> {
    pub(super) fn called(future: F, asked: Option<Asked>, via: Option<Arc<str>>) -> Self {
        Self { inner: ResponseFuture::called(future), asked: asked.map(Box::new), via }
    }

    pub(super) fn refused(error: Error) -> Self {
        Self { inner: ResponseFuture::refused(error), asked: None, via: None }
    }
}

impl<F, B, E> Future for ReverseProxyFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError> + 'static,
{
    type Output = Result<Response<B>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        let changed_to = upgrade::answered(&response);
        strip(response.headers_mut());
        if let Some(protocol) = changed_to {
            upgrade::join(&mut response, this.asked.take().map(|asked| *asked), protocol)?;
        }
        if let Some(name) = &this.via {
            let version = response.version();
            via::add(response.headers_mut(), name, version);
        }
        // The server decides which version it speaks to the client.
        *response.version_mut() = Version::HTTP_11;
        Poll::Ready(Ok(response))
    }
}

impl<F> fmt::Debug for ReverseProxyFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReverseProxyFuture").finish_non_exhaustive()
    }
}
