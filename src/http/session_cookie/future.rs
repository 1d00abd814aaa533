use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
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
            keep_private(headers);
        }
        Poll::Ready(Ok(response))
    }
}

/// A shared cache would give the session of one client to all others. What is said to certain caches comes before what
/// is said to all of them (RFC 9213).
fn keep_private(headers: &mut HeaderMap) {
    let is_for_some = |name: &&HeaderName| name.as_str().ends_with("-cache-control");
    let for_some: Vec<_> = headers.keys().filter(is_for_some).cloned().collect();
    for name in for_some.into_iter().chain([CACHE_CONTROL]) {
        headers.append(name, HeaderValue::from_static("private"));
    }
}

impl<F> fmt::Debug for SessionCookieFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCookieFuture").finish_non_exhaustive()
    }
}
