use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Response, header::SET_COOKIE};
use pin_project_lite::pin_project;

use super::{slot::Slot, terms::Terms};

pin_project! {
    /// Response future of a [`SessionCookie`](super::SessionCookie).
    ///
    /// # Cancel safety
    /// Dropping it only drops the inner call.
    #[must_use = "futures do nothing unless polled"]
    pub struct SessionCookieFuture<F> {
        #[pin]
        inner: F,
        slot: Slot,
        terms: Arc<Terms>,
    }
}

impl<F> SessionCookieFuture<F> {
    pub(super) fn new(inner: F, slot: Slot, terms: Arc<Terms>) -> Self {
        Self { inner, slot, terms }
    }
}

impl<F, B, E> Future for SessionCookieFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if let Some(cookie) = this.slot.bound().and_then(|home| this.terms.set_cookie(home)) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        Poll::Ready(Ok(response))
    }
}

impl<F> fmt::Debug for SessionCookieFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCookieFuture").finish_non_exhaustive()
    }
}
