use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{future::SessionCookieFuture, slot::Slot, terms::Terms};
use crate::time;

/// Service of a [`SessionCookieLayer`](super::SessionCookieLayer).
#[derive(Clone)]
pub struct SessionCookie<S> {
    inner: S,
    terms: Arc<Terms>,
}

impl<S> SessionCookie<S> {
    pub(super) fn new(inner: S, terms: Arc<Terms>) -> Self {
        Self { inner, terms }
    }

    /// Returns the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service for changing it.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, A, B> Service<Request<A>> for SessionCookie<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = SessionCookieFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let token = self.terms.token(request.headers(), time::unix());
        let slot = Slot::new(self.terms.clone(), token);
        request.extensions_mut().insert(slot.clone());
        SessionCookieFuture::new(self.inner.call(request), slot)
    }
}

impl<S: fmt::Debug> fmt::Debug for SessionCookie<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCookie")
            .field("inner", &self.inner)
            .field("name", &self.terms.name)
            .finish_non_exhaustive()
    }
}
