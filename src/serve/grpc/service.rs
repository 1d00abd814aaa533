use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready as at_once},
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use ::http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    about::About,
    body::GrpcBody,
    future::GrpcServeFuture,
    question::{Asked, asked},
    serves::{Both, Serves},
    watch,
};
use crate::{
    error::BoxError,
    grpc::{Json, Native},
    plugin::{Call, HealthStatus, PluginInfo, Reply},
    serve::http::{HttpBind, http_service},
};

/// Serves `plugin` over gRPC.
///
/// The result is a service of HTTP/2 requests. [`bind`](GrpcServe::bind) serves it at an address. It can also
/// be mounted beside services of tonic with `Routes::from(axum::Router)`, and in axum and hyper.
///
/// | method | answer |
/// |---|---|
/// | `/PluginService/Execute` | the reply of the plugin, in JSON |
/// | `/PluginService/Health` | a [`HealthStatus`], in JSON |
/// | `/PluginService/Info` | the [`PluginInfo`], in JSON |
/// | the same of `/plugin.PluginService`, with [`native`](GrpcServe::native) or [`both`](GrpcServe::both) | in Protocol Buffers: see [`Native`] |
/// | `/grpc.health.v1.Health/Check` | `SERVING` if the health is usable, otherwise `NOT_SERVING`: of the server, of a service above, or of the plugin by its name |
/// | `/grpc.health.v1.Health/Watch` | the same at once, and again when it changes; `SERVICE_UNKNOWN` for another service. Ends with `NOT_SERVING` and `UNAVAILABLE` when the server of [`bind`](GrpcServe::bind) stops |
/// | another | `UNIMPLEMENTED` |
///
/// The call has the id, headers, metadata and timeout that are in the metadata of the request; see
/// [`GrpcTransport`](crate::transport::GrpcTransport#what-is-sent). The timeout becomes its deadline, which
/// the plugin has to obey; a call is dropped when its caller resets the stream. Each call goes to a clone of
/// `plugin`, which is driven to readiness first, so a plugin that is not ready can still report its health.
///
/// # Errors
/// | error | status |
/// |---|---|
/// | of the plugin, a `tonic::Status` | that |
/// | of the plugin, any other | `UNKNOWN` with its text |
/// | a refusal of a guard of this crate | `RESOURCE_EXHAUSTED` for limits, otherwise `UNAVAILABLE`; with `grpc-retry-pushback-ms` and `google.rpc.RetryInfo` |
/// | of this crate | that of [`Status::from`](crate::Error); endpoints and causes are left out |
/// | a message that is no call | `INVALID_ARGUMENT` |
/// | a message that is longer than [`max_request_bytes`](GrpcServe::max_request_bytes), or an answer than [`max_response_bytes`](GrpcServe::max_response_bytes) | `OUT_OF_RANGE` |
/// | no message, or more than one | `UNIMPLEMENTED` |
/// | a message that is compressed | `UNIMPLEMENTED`, with `grpc-accept-encoding`; `INTERNAL` without a `grpc-encoding` |
/// | a request that is not of gRPC | the status 405 or 415 of HTTP |
/// | one over HTTP/1.1, to a server of this crate | the status 505 of HTTP; in a server of another, let it speak HTTP/2 alone |
///
/// # Bounds
/// A message has at most 4 MiB. At most 1,024 callers watch the health at once; one more gets
/// `RESOURCE_EXHAUSTED`. There is no time limit for one that comes slowly: put a timeout around
/// this service, or set one in the server.
///
/// # Example
/// ```
/// use tower::service_fn;
/// use tower_upstream::{Call, Reply, plugin::PluginInfo, serve};
///
/// let plugin = service_fn(|call: Call<u64>| async move {
///     Ok::<_, std::io::Error>(Reply::new(call.body() * 2))
/// });
/// let app: axum::Router = axum::Router::new()
///     .fallback_service(serve::grpc(plugin).info(PluginInfo::new("double", "1.0.0")));
/// # let _ = app;
/// ```
pub fn grpc<S, T>(plugin: S) -> GrpcServe<S, T> {
    let health = || at_once(HealthStatus::healthy());
    GrpcServe { inner: plugin, health: health as _, about: Arc::default(), types: PhantomData }
}

/// Service that serves a plugin over gRPC; see [`grpc()`].
///
/// # Example
/// ```
/// use tower_upstream::serve::{self, GrpcServe};
///
/// struct Server<P> {
///     tax: GrpcServe<P, u64>,
/// }
/// # fn serve<P>(plugin: P) -> Server<P> {
/// Server { tax: serve::grpc(plugin) }
/// # }
/// ```
pub struct GrpcServe<S, T, H = fn() -> Ready<HealthStatus>, F = Json> {
    inner: S,
    health: H,
    about: Arc<About>,
    types: PhantomData<fn(T, F)>,
}

impl<S, T, H, F> GrpcServe<S, T, H, F> {
    inner_service!();

    /// Serves messages of Protocol Buffers, in place of JSON.
    #[must_use]
    pub fn native(self) -> GrpcServe<S, T, H, Native> {
        self.flavour()
    }

    /// Serves messages of JSON and of Protocol Buffers.
    #[must_use]
    pub fn both(self) -> GrpcServe<S, T, H, Both> {
        self.flavour()
    }

    fn flavour<G>(self) -> GrpcServe<S, T, H, G> {
        let Self { inner, health, about, .. } = self;
        GrpcServe { inner, health, about, types: PhantomData }
    }

    /// Serves it at `address`: `host:port`, or `unix:/path`. See [`http_service`](crate::serve::http_service).
    ///
    /// Clients over gRPC's C core, such as Python's, send the path of a socket as the authority, which is
    /// none, so that HTTP/2 refuses it: set their `grpc.default_authority` to `localhost`.
    ///
    /// With TLS, if [`HttpServerConfig`](crate::serve::HttpServerConfig) says so. To ask callers for credentials,
    /// put a [`RequireAuthLayer`](crate::auth::RequireAuthLayer) around it and pass that to `http_service`.
    ///
    /// ```no_run
    /// use tower::service_fn;
    /// use tower_upstream::{Call, Reply, serve};
    ///
    /// # async fn example() -> Result<(), tower_upstream::Error> {
    /// let plugin = service_fn(|call: Call<u64>| async move {
    ///     Ok::<_, std::io::Error>(Reply::new(call.body() * 2))
    /// });
    /// serve::grpc(plugin).bind("127.0.0.1:50051").run().await
    /// # }
    /// ```
    pub fn bind(self, address: impl Into<String>) -> HttpBind<Self> {
        http_service(self, address)
    }

    /// Sets the description that `Info` answers. Default: empty.
    #[must_use]
    pub fn info(mut self, info: PluginInfo) -> Self {
        Arc::make_mut(&mut self.about).info = info;
        self
    }

    /// Sets the closure that `Health`, `Check` and `Watch` call.
    ///
    /// If the health has no time, the time of the call is added. While callers watch, it is called again
    /// after each [`watch_interval`](Self::watch_interval), once for all of them, and counts as unhealthy if
    /// it takes more than 5 s. Default: always healthy.
    #[must_use]
    pub fn health<G, R>(self, health: G) -> GrpcServe<S, T, G, F>
    where
        G: Fn() -> R,
        R: Future<Output = HealthStatus>,
    {
        GrpcServe { inner: self.inner, health, about: self.about, types: PhantomData }
    }

    /// Sets how often the health is looked at while callers watch it.
    ///
    /// Default: 1 s, also in place of zero.
    #[must_use]
    pub fn watch_interval(mut self, interval: Duration) -> Self {
        let watches = &mut Arc::make_mut(&mut self.about).watches;
        watches.interval = if interval.is_zero() { Duration::from_secs(1) } else { interval };
        self
    }

    /// Sets the most bytes that the message of a request may have.
    ///
    /// More is answered with `OUT_OF_RANGE`, and not read. Default: 4 MiB.
    #[must_use]
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.about).max_request_bytes = bytes;
        self
    }

    /// Sets the most bytes that the message of an answer may have.
    ///
    /// A longer one is not sent, but `OUT_OF_RANGE`. Default: 4 MiB.
    #[must_use]
    pub fn max_response_bytes(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.about).max_response_bytes = bytes;
        self
    }
}

impl<S, T, U, H, R, F, B> Service<Request<B>> for GrpcServe<S, T, H, F>
where
    S: Service<Call<T>, Response = Reply<U>> + Clone,
    S::Error: Into<BoxError>,
    H: Fn() -> R + Clone + Send + 'static,
    R: Future<Output = HealthStatus> + Send + 'static,
    F: Serves<T, U>,
    B: Body,
{
    type Response = Response<GrpcBody>;
    type Error = Infallible;
    type Future = GrpcServeFuture<S, T, U, R, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let asked = asked::<F, T, U>(&parts, || watch::ask(self.health.clone()));
        let health = matches!(asked, Asked::Check | Asked::Health(_)).then(|| (self.health)());
        let (plugin, about) = (self.inner.clone(), self.about.clone());
        GrpcServeFuture::new(asked, (parts, body), about, plugin, health)
    }
}

impl<S: Clone, T, H: Clone, F> Clone for GrpcServe<S, T, H, F> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            health: self.health.clone(),
            about: self.about.clone(),
            types: PhantomData,
        }
    }
}

impl<S: fmt::Debug, T, H, F> fmt::Debug for GrpcServe<S, T, H, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcServe")
            .field("plugin", &self.inner)
            .field("about", &self.about)
            .finish_non_exhaustive()
    }
}
