use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{
    HeaderValue, Response,
    header::{CACHE_CONTROL, SET_COOKIE},
};
use pin_project_lite::pin_project;

use super::slot::Slot;
use crate::time;

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
    }
}

impl<F> SessionCookieFuture<F> {
    pub(super) fn new(inner: F, slot: Slot) -> Self {
        Self { inner, slot }
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
        let set_cookie = |home| this.slot.terms.set_cookie(home, time::unix());
        if let Some(cookie) = this.slot.bound().and_then(set_cookie) {
            let headers = response.headers_mut();
            headers.append(SET_COOKIE, cookie);
            // A shared cache would give the session of one client to all others.
            headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
        }
        Poll::Ready(Ok(response))
    }
}

impl<F> fmt::Debug for SessionCookieFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCookieFuture").finish_non_exhaustive()
    }
}
