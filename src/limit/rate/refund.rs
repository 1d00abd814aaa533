use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

use super::permit::Spent;
use crate::{
    choose::Chosen,
    error::{BoxError, Error},
    guard::ResponseFuture,
    member::Member,
};

pin_project! {
    /// The response of a [`RateLimit`](super::RateLimit) that gives back the tokens of calls that
    /// were never sent.
    ///
    /// Dropping it before its first poll gives them back; later it does not, since the call may have
    /// been sent. See [`refund_unsent`](super::RateLimitLayer::refund_unsent) for services that send
    /// before the first poll.
    #[must_use = "futures do nothing unless polled"]
    pub struct RefundFuture<F> {
        #[pin]
        response: ResponseFuture<F>,
        claim: Claim,
    }
}

/// Tokens that may come back still.
struct Claim {
    spent: Option<Spent>,
    polled: bool,
}

impl<F> RefundFuture<F> {
    pub(super) fn called(inner: F, spent: Option<Spent>) -> Self {
        Self { response: ResponseFuture::called(inner), claim: Claim { spent, polled: false } }
    }

    pub(super) fn refused(error: Error) -> Self {
        let claim = Claim { spent: None, polled: false };
        Self { response: ResponseFuture::refused(error), claim }
    }
}

impl<F, T, E> Future for RefundFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError> + 'static,
{
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.claim.polled = true;
        let result = ready!(this.response.poll(cx));
        let spent = this.claim.spent.take();
        if let (Err(error), Some(spent)) = (&result, spent) {
            if error.is_unsent() {
                spent.refund();
            }
        }
        Poll::Ready(result)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let (Some(spent), false) = (self.spent.take(), self.polled) {
            spent.refund();
        }
    }
}

impl<F: Chosen> Chosen for RefundFuture<F> {
    fn chosen(&self) -> Option<&Arc<Member>> {
        self.response.chosen()
    }

    fn is_unsent(&self) -> bool {
        self.response.is_unsent()
    }
}

impl<F> fmt::Debug for RefundFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refundable = self.claim.spent.is_some();
        f.debug_struct("RefundFuture").field("refundable", &refundable).finish_non_exhaustive()
    }
}
