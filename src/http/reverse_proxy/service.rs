use std::{
    fmt,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Extensions, Method, Request, Response};
use tower_service::Service;

use super::{future::ReverseProxyFuture, terms::Terms, upgrade::Asked};
use crate::error::{BoxError, Error, Kind};

/// Service of a [`ReverseProxyLayer`](super::ReverseProxyLayer).
pub struct ReverseProxy<S, P> {
    inner: S,
    terms: Arc<Terms<P>>,
}

impl<S, P> ReverseProxy<S, P> {
    pub(super) fn new(inner: S, terms: Arc<Terms<P>>) -> Self {
        Self { inner, terms }
    }

    inner_service!();
}

impl<S: Clone, P> Clone for ReverseProxy<S, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), terms: self.terms.clone() }
    }
}

impl<S, P, A, B> Service<Request<A>> for ReverseProxy<S, P>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Error: Into<BoxError> + 'static,
    P: Fn(&Extensions) -> Option<IpAddr>,
{
    type Response = Response<B>;
    type Error = Error;
    type Future = ReverseProxyFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_service)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        if *request.method() == Method::CONNECT {
            let error = Error::blameless(Kind::InvalidRequest);
            return ReverseProxyFuture::refused(error.message("a reverse proxy is no tunnel"));
        }
        let asked = Asked::take(&mut request);
        self.terms.forward(&mut request);
        if let Some(asked) = &asked {
            asked.ask(&mut request);
        }
        ReverseProxyFuture::called(self.inner.call(request), asked, self.terms.via.clone())
    }
}

impl<S: fmt::Debug, P> fmt::Debug for ReverseProxy<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReverseProxy")
            .field("inner", &self.inner)
            .field("terms", &self.terms)
            .finish()
    }
}
