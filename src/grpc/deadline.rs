use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::timeout;
use crate::{connect::Connect, deadline::HasDeadline, http::Deadline, member::Member, time};

/// Layer that keeps the `grpc-timeout` of a call and its deadline in step.
///
/// # When to use
/// Twice. Above failover and limits that wait: a call with a `grpc-timeout`, as
/// `tonic::Request::set_timeout` sets it, gets a [`Deadline`], which those layers obey. And above the
/// channel of each endpoint: `grpc-timeout` becomes the time that is left, so that a later attempt is not
/// told more than that. In a server, outermost.
///
/// A request that has a [`Deadline`] keeps it, whatever its `grpc-timeout` says.
///
/// A channel that ends a call by itself, by its `grpc-timeout` or by `tonic::transport::Endpoint::timeout`, counts
/// against no endpoint more than a call that was dropped; below a [`StatusLayer`](super::StatusLayer) the caller
/// gets `DEADLINE_EXCEEDED`. For a time limit that is the endpoint's, use
/// [`Attempts::with_timeout`](crate::Attempts::with_timeout).
///
/// # Example
/// ```
/// use tower::{Service, ServiceExt, service_fn, Layer};
/// use tower_upstream::{deadline::HasDeadline, grpc::DeadlineLayer};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let service = DeadlineLayer::new().layer(service_fn(async |request: http::Request<()>| {
///     Ok::<_, std::io::Error>(request.deadline().is_some())
/// }));
/// let request = http::Request::post("/a.B/C").header("grpc-timeout", "2S").body(()).unwrap();
/// assert!(service.oneshot(request).await.unwrap());
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct DeadlineLayer(());

impl DeadlineLayer {
    /// Creates a layer. There is nothing to set.
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = GrpcDeadlines<S>;

    fn layer(&self, inner: S) -> GrpcDeadlines<S> {
        GrpcDeadlines { inner }
    }
}

/// Connector and service of a [`DeadlineLayer`].
#[derive(Debug, Clone)]
pub struct GrpcDeadlines<S> {
    inner: S,
}

impl<S> GrpcDeadlines<S> {
    inner_service!();
}

impl<C: Connect> Connect for GrpcDeadlines<C> {
    type Service = GrpcDeadlines<C::Service>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        GrpcDeadlines { inner: self.inner.connect(member) }
    }

    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

impl<S, B> Service<Request<B>> for GrpcDeadlines<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if let Some(deadline) = request.deadline() {
            let left = deadline.saturating_duration_since(time::now());
            timeout::write(request.headers_mut(), left);
        } else if let Some(timeout) = timeout::read(request.headers()) {
            let deadline = Deadline(time::later(time::now(), timeout));
            request.extensions_mut().insert(deadline);
        }
        self.inner.call(request)
    }
}
