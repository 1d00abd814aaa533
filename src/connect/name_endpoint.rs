use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::connect::Connect;
use crate::member::Member;

/// Notes in each answer which endpoint it comes from.
///
/// Use it over transports of your own, below a [`BalanceLayer`](crate::BalanceLayer). Answers of
/// `HttpTransport` name their endpoint already, and errors always do. Over a service instead of a
/// connector it changes nothing.
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{
///     BalanceLayer, BoxError, Call, Endpoint, LeastRequest, Reply, connect::NameEndpointLayer,
///     connect_fn, discover,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let stack = ServiceBuilder::new()
///     .layer(BalanceLayer::new(discover::fixed(["a:1"])?, LeastRequest::new()))
///     .layer(NameEndpointLayer::new())
///     .service(connect_fn(|_: &Endpoint| {
///         service_fn(async |call: Call<u32>| Ok::<_, BoxError>(Reply::new(call.into_body())))
///     }));
/// let reply = stack.oneshot(Call::new(7)).await?;
/// assert_eq!(reply.endpoint(), Some("a:1"));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct NameEndpointLayer(());

impl NameEndpointLayer {
    /// Makes the layer. It has no settings.
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for NameEndpointLayer {
    type Service = NameEndpoint<S>;

    fn layer(&self, inner: S) -> NameEndpoint<S> {
        NameEndpoint { inner, key: None }
    }
}

/// An answer that can note which endpoint it comes from.
///
/// Implemented for [`Reply`](crate::Reply), and with the feature `http` for `http::Response`, which gets
/// the extension `http::AnsweredBy`.
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use tower_upstream::connect::AtEndpoint;
///
/// struct Answer { from: Option<Arc<str>> }
/// impl AtEndpoint for Answer {
///     fn at_endpoint(self, key: &Arc<str>) -> Self {
///         Self { from: Some(key.clone()) }
///     }
/// }
/// # assert!(Answer { from: None }.at_endpoint(&"a:1".into()).from.is_some());
/// ```
pub trait AtEndpoint: Sized {
    /// Notes the key of the endpoint.
    #[must_use]
    fn at_endpoint(self, key: &Arc<str>) -> Self;
}

/// Connector of a [`NameEndpointLayer`], and the service that it makes.
///
/// ```
/// use tower::Layer;
/// use tower_upstream::connect::NameEndpointLayer;
/// assert_eq!(*NameEndpointLayer::new().layer("a service").get_ref(), "a service");
/// ```
#[derive(Debug, Clone)]
pub struct NameEndpoint<S> {
    inner: S,
    key: Option<Arc<str>>,
}

impl<S> NameEndpoint<S> {
    inner_service!();
}

impl<C: Connect> Connect for NameEndpoint<C> {
    type Service = NameEndpoint<C::Service>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let key = Some(member.shared_key().clone());
        NameEndpoint { inner: self.inner.connect(member), key }
    }

    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

impl<S, Req> Service<Req> for NameEndpoint<S>
where
    S: Service<Req, Response: AtEndpoint>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = NameEndpointFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        NameEndpointFuture { inner: self.inner.call(request), key: self.key.clone() }
    }
}

pin_project! {
    /// Response future of a [`NameEndpoint`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct NameEndpointFuture<F> {
        #[pin]
        inner: F,
        key: Option<Arc<str>>,
    }
}

impl<F, T, E> Future for NameEndpointFuture<F>
where
    F: Future<Output = Result<T, E>>,
    T: AtEndpoint,
{
    type Output = Result<T, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        Poll::Ready(match this.key {
            Some(key) => answer.map(|answer| answer.at_endpoint(key)),
            None => answer,
        })
    }
}
