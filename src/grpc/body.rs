use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Request;
use tonic::body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::{connect::Connect, error::BoxError, member::Member};

/// Layer that hands requests with a body of any type to a service that takes tonic's body.
///
/// # When to use
/// Above a `tonic::transport::Channel`, if a layer further up changes the body, such as a
/// [`ReplayBodyLayer`](crate::http::ReplayBodyLayer). A connection that the channel could not make stays
/// [unsent](crate::Error::is_unsent).
///
/// # Example
/// ```
/// use tonic::transport::Channel;
/// use tower::ServiceBuilder;
/// use tower_upstream::{Endpoint, connect_fn, grpc::BodyLayer};
///
/// let connector = ServiceBuilder::new().layer(BodyLayer::new()).service(connect_fn(
///     |server: &Endpoint| {
///         let address = server.address().as_str().to_owned();
///         Channel::from_shared(address).expect("a URL").connect_lazy()
///     },
/// ));
/// # let _ = connector;
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct BodyLayer(());

impl BodyLayer {
    /// Creates a layer. There is nothing to set.
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for BodyLayer {
    type Service = GrpcBodies<S>;

    fn layer(&self, inner: S) -> GrpcBodies<S> {
        GrpcBodies { inner }
    }
}

/// Connector and service of a [`BodyLayer`].
#[derive(Debug, Clone)]
pub struct GrpcBodies<S> {
    inner: S,
}

impl<S> GrpcBodies<S> {
    inner_service!();
}

impl<C: Connect> Connect for GrpcBodies<C> {
    type Service = GrpcBodies<C::Service>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        GrpcBodies { inner: self.inner.connect(member) }
    }

    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

impl<S, B> Service<Request<B>> for GrpcBodies<S>
where
    S: Service<Request<Body>>,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> S::Future {
        self.inner.call(request.map(Body::new))
    }
}
