use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tonic::Status;
use tower_layer::Layer;
use tower_service::Service;

use crate::error::{BoxError, Error};

/// Layer that turns the errors of a stack into statuses of gRPC.
///
/// # When to use
/// As the outermost layer below a generated client, or of a server of tonic: the status of a refusal
/// then says when to come back. What each error becomes is listed at [`Status`'s `From`](Error). Without
/// this layer, tonic makes a status of each error by itself: with the right code for a refusal, but
/// with the whole text of the error, and without the time to come back. An error of this crate with a
/// cause of another, such as an I/O error, is `UNKNOWN` then.
///
/// # Example
/// ```
/// use tonic::Code;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{ConcurrencyLimitLayer, Quota, RateLimitLayer, grpc::StatusLayer};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let service = ServiceBuilder::new()
///     .layer(StatusLayer::new())
///     .layer(RateLimitLayer::new(Quota::per_minute(1).burst(1)))
///     .service(service_fn(async |_: u8| Ok::<_, std::io::Error>(())));
/// assert!(service.clone().oneshot(1).await.is_ok());
/// let status = service.oneshot(2).await.unwrap_err();
/// assert_eq!(status.code(), Code::ResourceExhausted);
/// assert!(status.metadata().contains_key("grpc-retry-pushback-ms"));
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct StatusLayer(());

impl StatusLayer {
    /// Creates a layer. There is nothing to set.
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for StatusLayer {
    type Service = Statuses<S>;

    fn layer(&self, inner: S) -> Statuses<S> {
        Statuses { inner }
    }
}

/// Service of a [`StatusLayer`].
#[derive(Debug, Clone)]
pub struct Statuses<S> {
    inner: S,
}

impl<S> Statuses<S> {
    inner_service!();
}

impl<S, Req> Service<Req> for Statuses<S>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
{
    type Response = S::Response;
    type Error = Status;
    type Future = StatusFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx).map_err(status)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        StatusFuture { inner: self.inner.call(request) }
    }
}

#[cold]
fn status<E: Into<BoxError> + 'static>(error: E) -> Status {
    Error::from_service(error).into()
}

pin_project! {
    /// Response future of a [`Statuses`].
    ///
    /// # Cancel safety
    /// Dropping it drops the inner call.
    #[must_use = "futures do nothing unless polled"]
    pub struct StatusFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F, T, E> Future for StatusFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError> + 'static,
{
    type Output = Result<T, Status>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(self.project().inner.poll(cx)).map_err(status))
    }
}

impl<F> fmt::Debug for StatusFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusFuture").finish_non_exhaustive()
    }
}
