//! Counts a call as in flight until the end of its response body.
//!
//! Use it below a balancer where answers are streams, or long: a balancer by itself takes a call
//! for finished when the head of the response is there. With short answers it changes nothing. A call
//! that upgrades its connection, such as a WebSocket, counts until that closes.

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

/// Keeps each call counted as in flight on its member until its response body ends.
///
/// The body holds the count from the moment the response arrives, when the balancer gives up its
/// own. It ends with the last frame, an error, or when the body is dropped. Over a service, without
/// a member, nothing is counted.
///
/// # Upgraded connections
/// After a status of 101, or a 2xx to `CONNECT`, the call counts until the connection closes, if the
/// client connects with a [`TcpConnector`](crate::dial::TcpConnector). With another connector, and over
/// HTTP/2, it counts as long as you keep the [`ConnectionSlot`](crate::http::ConnectionSlot) that is
/// in the extensions of the response:
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
    /// There is nothing to set.
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

/// The connector, and the service, of a [`TrackLayer`].
#[derive(Debug, Clone)]
pub struct Track<S> {
    inner: S,
    member: Option<Arc<Member>>,
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
    /// The response of a [`Track`].
    #[derive(Debug)]
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

/// A response body whose call is in flight until it ends.
pub type TrackedBody<B> = HeldBody<B, InFlight>;
