//! What stands at the end of every stack.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
    task::{Context, Poll},
};

use tower::Service;
use tower_upstream::BoxError;

/// Always ready, and done at once. What it costs is what the loop costs.
#[derive(Clone, Copy)]
pub(crate) struct Inner;

impl Service<u64> for Inner {
    type Response = u64;
    type Error = Infallible;
    type Future = Ready<Result<u64, Infallible>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(request))
    }
}

/// Always ready, and done when it is polled for the second time.
#[derive(Clone, Copy)]
pub(crate) struct Waits;

pub(crate) struct Waiting {
    request: u64,
    polled: bool,
}

impl Future for Waiting {
    type Output = Result<u64, Infallible>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::replace(&mut self.polled, true) {
            return Poll::Ready(Ok(self.request));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Service<u64> for Waits {
    type Response = u64;
    type Error = Infallible;
    type Future = Waiting;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: u64) -> Self::Future {
        Waiting { request, polled: false }
    }
}

/// Fails every call, to open circuits.
#[derive(Clone, Copy)]
pub(crate) struct Broken;

impl Service<u64> for Broken {
    type Response = u64;
    type Error = BoxError;
    type Future = Ready<Result<u64, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u64) -> Self::Future {
        ready(Err("broken".into()))
    }
}
