//! The ways in which a guard passes a call on, so that it writes its own part once.
//!
//! ```text
//! impl<S> Guard<S> {
//!     #[inline(always)]
//!     fn pass<Req, P: Pass<S, Req>>(&mut self, request: Req, way: P) -> ResponseFuture<P::Future> {
//!         match self.admit() {
//!             Ok(()) => ResponseFuture::called(way.pass(&mut self.inner, request)),
//!             Err(refusal) => ResponseFuture::refused(refusal),
//!         }
//!     }
//! }
//! // `Service::call` is `self.pass(request, Plain)`,
//! // `Choose::call_avoiding` is `self.pass(request, Avoiding(tried))`,
//! // `Choose::call_hedging` is `self.pass(request, Hedging(tried)).hedge()`.
//! ```

use tower_service::Service;

use crate::choose::{Choose, Tried};

/// How a call goes on to the inner service.
pub(crate) trait Pass<S, Req>: Copy {
    /// The response of the inner service.
    type Future;

    /// Calls `inner`, which said that it is ready.
    fn pass(self, inner: &mut S, request: Req) -> Self::Future;

    /// The same for a call that is to be made later.
    fn later(self) -> Later<S, Req, Self::Future>;
}

/// By [`Service::call`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain;

/// By [`Choose::call_avoiding`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avoiding<'a>(pub(crate) &'a Tried);

/// By [`Choose::call_hedging`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hedging<'a>(pub(crate) &'a Tried);

impl<S: Service<Req>, Req> Pass<S, Req> for Plain {
    type Future = S::Future;

    #[inline(always)]
    fn pass(self, inner: &mut S, request: Req) -> S::Future {
        inner.call(request)
    }

    fn later(self) -> Later<S, Req, S::Future> {
        Later { tried: Tried::default(), call: |inner, request, _| inner.call(request) }
    }
}

impl<S: Choose<Req>, Req> Pass<S, Req> for Avoiding<'_> {
    type Future = S::Choosing;

    #[inline(always)]
    fn pass(self, inner: &mut S, request: Req) -> S::Choosing {
        inner.call_avoiding(request, self.0)
    }

    fn later(self) -> Later<S, Req, S::Choosing> {
        let call = |inner: &mut S, request, tried: &_| inner.call_avoiding(request, tried);
        Later { tried: self.0.clone(), call }
    }
}

impl<S: Choose<Req>, Req> Pass<S, Req> for Hedging<'_> {
    type Future = Option<S::Choosing>;

    fn pass(self, inner: &mut S, request: Req) -> Option<S::Choosing> {
        inner.call_hedging(request, self.0)
    }

    fn later(self) -> Later<S, Req, Option<S::Choosing>> {
        let call = |inner: &mut S, request, tried: &_| inner.call_hedging(request, tried);
        Later { tried: self.0.clone(), call }
    }
}

/// One of the ways, for a call that waits: what it needs is kept, and its type is only that of
/// the response.
pub(crate) struct Later<S, Req, F> {
    tried: Tried,
    call: fn(&mut S, Req, &Tried) -> F,
}

impl<S, Req, F> Later<S, Req, F> {
    pub(crate) fn pass(&self, inner: &mut S, request: Req) -> F {
        (self.call)(inner, request, &self.tried)
    }
}
