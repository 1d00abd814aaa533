//! What stands at the end of every stack, and two ways to use one.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::Pin,
    sync::atomic::{Ordering, fence},
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

/// A clone for each call, as a server makes one for each request.
#[derive(Clone)]
pub(crate) struct ClonePerCall<S>(pub(crate) S);

impl<S: Service<u64> + Clone> Service<u64> for ClonePerCall<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: u64) -> S::Future {
        self.0.clone().call(request)
    }
}

/// One of many for each call, in turn, so that the caches have forgotten it by its next. And one call
/// after the other: left alone, the processor begins several at once, and the waits for memory overlap
/// as they would not between calls that come one by one.
pub(crate) struct InTurn<S> {
    all: Vec<S>,
    next: usize,
}

impl<S> InTurn<S> {
    pub(crate) fn new(count: usize, build: impl Fn() -> S) -> Self {
        Self { all: (0..count).map(|_| build()).collect(), next: 0 }
    }
}

impl<S: Service<u64>> Service<u64> for InTurn<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.all[self.next].poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: u64) -> S::Future {
        fence(Ordering::SeqCst);
        let now = self.next;
        self.next = if now + 1 == self.all.len() { 0 } else { now + 1 };
        self.all[now].call(request)
    }
}
