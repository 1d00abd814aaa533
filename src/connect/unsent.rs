use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::connect::Connect;
use crate::{
    error::{BoxError, Error},
    member::Member,
};

/// Says which errors of a client mean that the call was never sent.
type IsUnsent = fn(&BoxError) -> bool;

/// Connector of [`ConnectFn::unsent_if`](super::ConnectFn::unsent_if), and the service that it makes.
///
/// ```
/// use tower_upstream::{BoxError, Endpoint, connect::{ConnectFn, UnsentIf}, connect_fn};
/// let connector = connect_fn(|_: &Endpoint| ()).unsent_if(|error: &BoxError| error.is::<std::io::Error>());
/// let inner: &ConnectFn<_> = connector.get_ref();
/// # let _ = inner;
/// ```
#[derive(Clone, Copy)]
pub struct UnsentIf<S> {
    inner: S,
    is_unsent: IsUnsent,
}

impl<S> UnsentIf<S> {
    pub(super) fn new(inner: S, is_unsent: IsUnsent) -> Self {
        Self { inner, is_unsent }
    }

    inner_service!();
}

impl<C: Connect> Connect for UnsentIf<C> {
    type Service = UnsentIf<C::Service>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        UnsentIf::new(self.inner.connect(member), self.is_unsent)
    }

    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

impl<S, Req> Service<Req> for UnsentIf<S>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
{
    type Response = S::Response;
    type Error = Error;
    type Future = UnsentIfFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(|error| judged(error, self.is_unsent))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        UnsentIfFuture { inner: self.inner.call(request), is_unsent: self.is_unsent }
    }
}

/// What the closure says holds, whatever the type of the error would say.
#[cold]
fn judged<E: Into<BoxError> + 'static>(error: E, is_unsent: IsUnsent) -> Error {
    if Error::find(&error).is_some() {
        return Error::from_service(error);
    }
    let error: BoxError = error.into();
    if is_unsent(&error) { Error::unsent(error) } else { Error::from_service(error).maybe_sent() }
}

pin_project! {
    /// Response future of an [`UnsentIf`].
    #[must_use = "futures do nothing unless polled"]
    pub struct UnsentIfFuture<F> {
        #[pin]
        inner: F,
        is_unsent: IsUnsent,
    }
}

impl<F, T, E> Future for UnsentIfFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError> + 'static,
{
    type Output = Result<T, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(ready!(this.inner.poll(cx)).map_err(|error| judged(error, *this.is_unsent)))
    }
}

impl<S: fmt::Debug> fmt::Debug for UnsentIf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnsentIf").field(&self.inner).finish()
    }
}

impl<F> fmt::Debug for UnsentIfFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnsentIfFuture").finish_non_exhaustive()
    }
}
