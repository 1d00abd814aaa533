//! What stands at the end of every stack: ready at once, done at once, and of no size.

use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    task::{Context, Poll},
};

use axum::body::Body;
use http::{Request, Response};
use tower::Service;

/// The request that fails. All others succeed.
pub(crate) const FAILS: u64 = u64::MAX;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Inner;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed")
    }
}

impl std::error::Error for Failed {}

impl Service<u64> for Inner {
    type Response = u64;
    type Error = Failed;
    type Future = Ready<Result<u64, Failed>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: u64) -> Self::Future {
        ready(if request == FAILS { Err(Failed) } else { Ok(request) })
    }
}

/// The same for peers that only know HTTP.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpInner;

impl Service<Request<u64>> for HttpInner {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, _: Request<u64>) -> Self::Future {
        ready(Ok(Response::new(Body::empty())))
    }
}
