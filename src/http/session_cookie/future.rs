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
/// is said to all of them (RFC 9213), also in the fields that are older than that.
fn keep_private(headers: &mut HeaderMap) {
    let for_some: Vec<_> =
        headers.keys().filter_map(|name| Some((name.clone(), forbids(name)?))).collect();
    for (name, forbids) in for_some.into_iter().chain([(CACHE_CONTROL, PRIVATE)]) {
        headers.append(name, HeaderValue::from_static(forbids));
    }
}

const PRIVATE: &str = "private";

/// What keeps an answer out of those caches that go by the field of this name; `None` of any other field.
fn forbids(name: &HeaderName) -> Option<&'static str> {
    match name.as_str() {
        // Of content delivery networks, by the Edge Architecture, which knows no `private`.
        "surrogate-control" | "edge-control" => Some("no-store, private"),
        name => name.ends_with("-cache-control").then_some(PRIVATE),
    }
}

impl<F> fmt::Debug for SessionCookieFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCookieFuture").finish_non_exhaustive()
    }
}
