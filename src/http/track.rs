//! Counts a call as in flight until its response body ends.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::held_body::{HeldBody, hold};
use crate::{
    connect::Connect,
    member::{InFlight, Member},
};

/// Counts each call as in flight on its member until its response body ends.
///
/// # When to use
/// Below a balancer, if responses are streams, or take long to read: a balancer by itself counts a call
/// only until the head of its response, so an endpoint with a thousand open streams looks idle.
///
/// # What is counted
/// The response body counts from the moment the response arrives, when the balancer stops counting. It
/// stops with the last frame, with an error, or when it drops. Over a service, without a member, nothing
/// is counted.
///
/// A response that upgrades its connection, such as to a WebSocket (a status of 101, or a 2xx to
/// `CONNECT`), counts until the connection closes, if the client connects with a
/// [`TcpConnector`](crate::dial::TcpConnector). With another connector, and over HTTP/2, it counts for as
/// long as you keep the [`ConnectionSlot`](crate::http::ConnectionSlot) in the extensions of the response:
///
/// ```
/// use tower_upstream::http::ConnectionSlot;
/// # fn upgrade<B: Send + 'static>(mut response: http::Response<B>) {
/// let slot = response.extensions_mut().remove::<ConnectionSlot>();
/// tokio::spawn(async move {
///     let _slot = slot;
///     if let Ok(upgraded) = hyper::upgrade::on(response).await {
///         // Talk over `upgraded`.
///         drop(upgraded);
///     }
/// });
/// # }
/// ```
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, service_fn};
/// use tower_upstream::{Endpoint, connect_fn, http::TrackLayer};
///
/// let connector = ServiceBuilder::new()
///     .layer(TrackLayer::new())
///     .service(connect_fn(|_: &Endpoint| {
///         service_fn(|_: http::Request<String>| async {
///             Ok::<_, std::io::Error>(http::Response::new(String::new()))
///         })
///     }));
/// # let _ = connector;
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct TrackLayer(());

impl TrackLayer {
    /// Creates a layer. There is nothing to set.
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for TrackLayer {
    type Service = Track<S>;

    fn layer(&self, inner: S) -> Track<S> {
        Track { inner, member: None }
    }
}

/// Connector and service of a [`TrackLayer`].
#[derive(Debug, Clone)]
pub struct Track<S> {
    inner: S,
    member: Option<Arc<Member>>,
}

impl<S> Track<S> {
    inner_service!();
}

impl<C: Connect> Connect for Track<C> {
    type Service = Track<C::Service>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        Track { inner: self.inner.connect(member), member: Some(member.clone()) }
    }

    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

impl<S, Req, B> Service<Req> for Track<S>
where
    S: Service<Req, Response = Response<B>>,
    B: Body,
{
    type Response = Response<TrackedBody<B>>;
    type Error = S::Error;
    type Future = TrackFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        TrackFuture { inner: self.inner.call(request), member: self.member.clone() }
    }
}

pin_project! {
    /// Future of a response of a [`Track`].
    ///
    /// # Cancel safety
    /// Dropping it drops the inner call.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct TrackFuture<F> {
        #[pin]
        inner: F,
        member: Option<Arc<Member>>,
    }
}

impl<F, B, E> Future for TrackFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<TrackedBody<B>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        Poll::Ready(Ok(hold(response, this.member.take().map(InFlight::go_on))))
    }
}

/// Response body of a [`Track`], which counts its call as in flight until it ends.
pub type TrackedBody<B> = HeldBody<B, InFlight>;
