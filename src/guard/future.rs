//! One future for a call, or an error that is there already.

use std::{
    fmt,
    marker::PhantomData,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use crate::{
    choose::Chosen,
    decision::Decision,
    error::{BoxError, Error},
    member::Member,
};

pin_project! {
    /// The response of a guard: that of the inner service, or a refusal.
    ///
    /// `H` is what the guard holds for the call until it ends, such as a place under a limit; `()`
    /// where it holds nothing.
    ///
    /// Polled again after it has finished, it refuses again, without what the refusal said beside
    /// its kind; or polls the inner future again, which does what futures do then.
    ///
    /// # Cancel safety
    /// Dropping it drops the inner call, and then what the guard holds for it.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, H = ()> {
        // First, so that what a dropped call holds is gone when another takes its place.
        #[pin]
        state: State<F>,
        // Beside the state, not in it: what lives in an enum is moved about.
        held: H,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Called { #[pin] inner: F },
        Refused { error: Error },
    }
}

/// What a guard holds for one call. Dropped without [`settle`](Self::settle), the call was cancelled.
///
/// Only this crate implements it.
pub trait Hold<T, E> {
    /// The response, as the guard hands it on.
    type Response;

    /// The call was polled, and is not done.
    #[doc(hidden)]
    #[inline(always)]
    fn pends(&mut self) {}

    /// The call panicked while it was polled.
    #[doc(hidden)]
    #[inline(always)]
    fn panicked(&mut self) {}

    /// The call has ended.
    #[doc(hidden)]
    fn settle(&mut self, result: Result<T, E>) -> Result<Self::Response, Error>;
}

impl<T, E: Into<BoxError> + 'static> Hold<T, E> for () {
    type Response = T;

    #[inline(always)]
    fn settle(&mut self, result: Result<T, E>) -> Result<T, Error> {
        result.map_err(Error::from_service)
    }
}

impl<F> ResponseFuture<F> {
    #[inline]
    pub(crate) fn called(inner: F) -> Self {
        Self::holding((), inner)
    }

    #[inline]
    pub(crate) fn refused(error: Error) -> Self {
        Self::refused_with((), error)
    }
}

impl<F, H> ResponseFuture<F, H> {
    /// Settles `held` when the call ends.
    #[inline]
    pub(crate) fn holding(held: H, inner: F) -> Self {
        Self { state: State::Called { inner }, held }
    }

    /// `held` is of no call, and so never settled.
    #[inline]
    pub(crate) fn refused_with(held: H, error: Error) -> Self {
        Self { state: State::Refused { error }, held }
    }
}

impl<F, H> ResponseFuture<Option<F>, H> {
    /// That of a hedge, if it was made: one that the guard refuses is none.
    pub(crate) fn hedge(self) -> Option<ResponseFuture<F, H>> {
        match self.state {
            State::Called { inner } => Some(ResponseFuture::holding(self.held, inner?)),
            State::Refused { .. } => None,
        }
    }
}

impl<F, H, T, E> Future for ResponseFuture<F, H>
where
    F: Future<Output = Result<T, E>>,
    H: Hold<T, E>,
{
    type Output = Result<H::Response, Error>;

    // It is small, but for what is never run, and the compiler counts that in; and out of line, the
    // result goes through memory, which costs more than a refusal itself.
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(match this.state.project() {
            StateProj::Called { inner } => {
                let panics = IfPanics::<H, T, E>(this.held, PhantomData);
                let polled = inner.poll(cx);
                mem::forget(panics);
                let Poll::Ready(result) = polled else {
                    this.held.pends();
                    return Poll::Pending;
                };
                this.held.settle(result)
            }
            StateProj::Refused { error } => Err(error.take()),
        })
    }
}

/// Dropped only while unwinding.
struct IfPanics<'a, H: Hold<T, E>, T, E>(&'a mut H, PhantomData<fn(T, E)>);

impl<H: Hold<T, E>, T, E> Drop for IfPanics<'_, H, T, E> {
    fn drop(&mut self) {
        self.0.panicked();
    }
}

impl<F: Chosen, H> Chosen for ResponseFuture<F, H> {
    fn chosen(&self) -> Option<&Arc<Member>> {
        match &self.state {
            State::Called { inner } => inner.chosen(),
            State::Refused { .. } => None,
        }
    }

    fn is_unsent(&self) -> bool {
        match &self.state {
            State::Called { inner } => inner.is_unsent(),
            State::Refused { .. } => true,
        }
    }

    fn decision(&self) -> Option<Arc<Decision>> {
        match &self.state {
            State::Called { inner } => inner.decision(),
            State::Refused { .. } => None,
        }
    }
}

impl<F, H: fmt::Debug> fmt::Debug for ResponseFuture<F, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused = matches!(self.state, State::Refused { .. });
        f.debug_struct("ResponseFuture")
            .field("refused", &refused)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{future, panic::AssertUnwindSafe, task::Waker};

    use super::*;
    use crate::error::Kind;

    /// What became of a call.
    #[derive(Debug, Default)]
    struct Log(Vec<&'static str>);

    impl Hold<u32, BoxError> for Log {
        type Response = u32;

        fn pends(&mut self) {
            self.0.push("pends");
        }

        fn panicked(&mut self) {
            self.0.push("panicked");
        }

        fn settle(&mut self, result: Result<u32, BoxError>) -> Result<u32, Error> {
            self.0.push("settled");
            result.map_err(Error::from_service)
        }
    }

    fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
        future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_is_held_is_told_how_the_call_goes() {
        let mut polls = 0;
        let inner = future::poll_fn(|_| {
            polls += 1;
            match polls {
                1 => Poll::Pending,
                2 => Poll::Ready(Ok::<_, BoxError>(7)),
                _ => panic!("polled after it has finished"),
            }
        });
        let mut call = Box::pin(ResponseFuture::holding(Log::default(), inner));
        assert!(poll(&mut call).is_pending());
        assert!(matches!(poll(&mut call), Poll::Ready(Ok(7))));
        assert!(std::panic::catch_unwind(AssertUnwindSafe(|| poll(&mut call))).is_err());
        assert_eq!(call.held.0, ["pends", "settled", "panicked"]);
    }

    #[test]
    fn a_refusal_is_refused_whenever_it_is_polled_and_settles_nothing() {
        type Never = future::Pending<Result<u32, BoxError>>;
        let error = Error::refused(Kind::Overloaded).message("full");
        let mut call = Box::pin(ResponseFuture::<Never, _>::refused_with(Log::default(), error));
        let mut text = Vec::new();
        for _ in 0..3 {
            let Poll::Ready(Err(error)) = poll(&mut call) else { panic!("not refused") };
            assert_eq!(error.kind(), Kind::Overloaded);
            assert!(error.is_refused() && error.is_unsent());
            text.push(error.to_string());
        }
        assert!(text[0].contains("full") && !text[1].contains("full") && text[1] == text[2]);
        assert!(call.held.0.is_empty());
    }
}
