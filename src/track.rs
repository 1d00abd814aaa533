//! Counts a call as in flight until the end of its response body.
//!
//! Use it below a balancer where answers are streams, or long: a balancer by itself takes a call
//! for finished when the head of the response is there. With short answers it changes nothing.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

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
/// # Example
/// ```
/// use tower::{ServiceBuilder, service_fn};
/// use tower_upstream::{Endpoint, connect_fn, track::TrackLayer};
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
        let member = this.member.take();
        Poll::Ready(Ok(response.map(|body| TrackedBody {
            in_flight: member.filter(|_| !body.is_end_stream()).map(InFlight::go_on),
            body,
        })))
    }
}

pin_project! {
    /// A response body whose call is in flight until it ends.
    pub struct TrackedBody<B> {
        #[pin]
        body: B,
        in_flight: Option<InFlight>,
    }
}

impl<B: Body> Body for TrackedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        // Who reads to the last frame need not ask for the `None` after it.
        let over = match &frame {
            None | Some(Err(_)) => true,
            Some(Ok(frame)) => frame.is_trailers() || this.body.is_end_stream(),
        };
        if over {
            *this.in_flight = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: Default> Default for TrackedBody<B> {
    /// A body that belongs to no call.
    fn default() -> Self {
        Self { body: B::default(), in_flight: None }
    }
}

impl<B> fmt::Debug for TrackedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackedBody").field("in_flight", &self.in_flight).finish_non_exhaustive()
    }
}
