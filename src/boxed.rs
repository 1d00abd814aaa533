//! Services of which only the request and the response are known.
//!
//! # When to use
//! Where the type of a stack must have a name or be the same for several stacks: a field of a struct, a
//! map of upstreams, endpoints that need clients of different types, or a compile time that deep generic
//! types make too long.
//!
//! # Differences from tower's
//! | | [`BoxUpstream`] | tower's `BoxCloneSyncService` |
//! |---|---|---|
//! | error | [`Error`], whatever the service's is | that of the service |
//! | response future | a type with a name | an alias of `futures_util`'s |
//! | `Debug` | names the type inside | `BoxCloneSyncService` |
//! | a connection that the client of an endpoint could not make | known as [unsent](Error::is_unsent) | not known |

use std::{
    any::type_name,
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

use crate::{
    connect::is_client,
    error::{BoxError, Error},
};

/// A service on the heap, with the error of this crate.
///
/// Works above a balancer, and below one as the service of an endpoint:
/// `connect_fn(|endpoint| BoxUpstream::new(client_for(endpoint)))`. It is `Clone + Send + Sync`, and so
/// the service inside has to be.
///
/// # What is lost
/// * A balancer inside is no [`Choose`](crate::choose::Choose) any more: put the
///   [`FailoverLayer`](crate::failover::FailoverLayer) into the box as well.
/// * A connector inside is no [`Connect`](crate::connect::Connect): box the services of endpoints, not
///   what makes them.
/// * Each clone and each call allocate once.
///
/// # Cancel safety
/// Dropping the response drops that of the service inside.
///
/// # Example
/// ```
/// use std::collections::HashMap;
/// use tower::{Service, ServiceExt, service_fn};
/// use tower_upstream::{boxed::BoxUpstream, error::BoxError};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let double = service_fn(async |n: u32| Ok::<_, BoxError>(2 * n));
/// let parse = service_fn(async |n: u32| format!("{n}0").parse::<u32>());
/// let upstreams: HashMap<&str, BoxUpstream<u32, u32>> =
///     HashMap::from([("double", BoxUpstream::new(double)), ("parse", BoxUpstream::new(parse))]);
/// assert_eq!(upstreams["parse"].clone().oneshot(4).await?, 40);
/// # Ok(()) }
/// ```
pub struct BoxUpstream<Req, Res> {
    inner: Box<dyn Boxed<Req, Res>>,
}

impl<Req, Res> BoxUpstream<Req, Res> {
    /// Puts `service` on the heap.
    pub fn new<S>(service: S) -> Self
    where
        S: Service<Req, Response = Res> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError> + 'static,
        S::Future: Send + 'static,
    {
        Self { inner: Box::new(service) }
    }

    /// Returns a layer that boxes a service.
    ///
    /// Below a balancer, box the service of each endpoint through an
    /// [`EachLayer`](crate::connect::EachLayer).
    ///
    /// ```
    /// use tower::{ServiceBuilder, service_fn};
    /// use tower_upstream::{boxed::BoxUpstream, error::BoxError, limit::ConcurrencyLimitLayer};
    ///
    /// let service: BoxUpstream<u32, u32> = ServiceBuilder::new()
    ///     .layer(BoxUpstream::layer())
    ///     .layer(ConcurrencyLimitLayer::new(10))
    ///     .service(service_fn(async |n: u32| Ok::<_, BoxError>(n)));
    /// # let _ = service;
    /// ```
    pub const fn layer() -> BoxUpstreamLayer<Req, Res> {
        BoxUpstreamLayer { boxes: PhantomData }
    }
}

/// A service, as the box knows it.
trait Boxed<Req, Res>: Send + Sync {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;
    fn call(&mut self, request: Req) -> BoxUpstreamFuture<Res>;
    fn boxed_clone(&self) -> Box<dyn Boxed<Req, Res>>;
    fn name(&self) -> &'static str;
}

impl<S, Req, Res> Boxed<Req, Res> for S
where
    S: Service<Req, Response = Res> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
{
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Service::poll_ready(self, cx).map_err(of_inner::<S, _>)
    }

    fn call(&mut self, request: Req) -> BoxUpstreamFuture<Res> {
        let inner = Service::call(self, request);
        BoxUpstreamFuture::new(async move { inner.await.map_err(of_inner::<S, _>) })
    }

    fn boxed_clone(&self) -> Box<dyn Boxed<Req, Res>> {
        Box::new(self.clone())
    }

    fn name(&self) -> &'static str {
        type_name::<S>()
    }
}

/// The type of the service is not seen from outside, so what its errors say by their type is sorted out
/// here: a balancer takes a box for a client, and believes it.
#[cold]
fn of_inner<S, E: Into<BoxError> + 'static>(error: E) -> Error {
    let error = Error::from_service(error);
    if is_client::<S>() { error } else { error.forget_unsent_by_type() }
}

impl<Req, Res> Service<Req> for BoxUpstream<Req, Res> {
    type Response = Res;
    type Error = Error;
    type Future = BoxUpstreamFuture<Res>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.inner.call(request)
    }
}

impl<Req, Res> Clone for BoxUpstream<Req, Res> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.boxed_clone() }
    }
}

impl<Req, Res> fmt::Debug for BoxUpstream<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BoxUpstream").field(&format_args!("{}", self.inner.name())).finish()
    }
}

/// The response of a [`BoxUpstream`].
///
/// ```
/// use tower::{Service, service_fn};
/// use tower_upstream::boxed::{BoxUpstream, BoxUpstreamFuture};
///
/// fn start(upstream: &mut BoxUpstream<u32, String>) -> BoxUpstreamFuture<String> {
///     upstream.call(7)
/// }
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct BoxUpstreamFuture<Res> {
    inner: Pin<Box<dyn Future<Output = Result<Res, Error>> + Send>>,
}

impl<Res> BoxUpstreamFuture<Res> {
    pub(crate) fn new(inner: impl Future<Output = Result<Res, Error>> + Send + 'static) -> Self {
        Self { inner: Box::pin(inner) }
    }
}

impl<Res> Future for BoxUpstreamFuture<Res> {
    type Output = Result<Res, Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.as_mut().poll(cx)
    }
}

impl<Res> fmt::Debug for BoxUpstreamFuture<Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxUpstreamFuture").finish_non_exhaustive()
    }
}

/// Makes a [`BoxUpstream`] of a service. See [`BoxUpstream::layer`].
///
/// ```
/// use tower_upstream::{boxed::{BoxUpstream, BoxUpstreamLayer}, plugin::{Call, Reply}};
/// let layer: BoxUpstreamLayer<Call<u32>, Reply<u32>> = BoxUpstream::layer();
/// # let _ = layer;
/// ```
pub struct BoxUpstreamLayer<Req, Res> {
    boxes: PhantomData<fn(Req) -> Res>,
}

impl<S, Req, Res> Layer<S> for BoxUpstreamLayer<Req, Res>
where
    S: Service<Req, Response = Res> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
{
    type Service = BoxUpstream<Req, Res>;

    fn layer(&self, inner: S) -> Self::Service {
        BoxUpstream::new(inner)
    }
}

impl<Req, Res> Clone for BoxUpstreamLayer<Req, Res> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Req, Res> Copy for BoxUpstreamLayer<Req, Res> {}

impl<Req, Res> fmt::Debug for BoxUpstreamLayer<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxUpstreamLayer").finish()
    }
}
