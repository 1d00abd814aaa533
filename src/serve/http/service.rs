use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready as at_once},
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use http_body::Body;
use http_body_util::Full;
use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use super::{
    answer,
    future::ServeFuture,
    places::Places,
    question::{Route, route},
};
use crate::{
    error::BoxError,
    plugin::{Call, HealthStatus, PluginInfo, Reply},
    wire,
};

/// Serves `plugin` over HTTP.
///
/// The result is a service. [`bind`](HttpServe::bind) serves it at an address; behind layers of yours,
/// [`http_service`](crate::serve::http_service) does. It can also be mounted in axum with `route_service` or
/// `fallback_service`, and in hyper with `TowerToHyperService`.
///
/// | request | response |
/// |---|---|
/// | `POST`, any path | 200 with the reply of the plugin |
/// | `GET …/health` | a [`HealthStatus`]; 200 if it is usable, otherwise 503 |
/// | `GET …/info` | the [`PluginInfo`] |
/// | another `GET` | 404 |
/// | `HEAD`, any path | status and fields of the `GET`; the server leaves out the body |
/// | another method | 405, with `Allow: GET, HEAD, POST` |
///
/// The call has the id, headers, metadata and timeout that the caller wrote into the body. The timeout
/// becomes its deadline, which the plugin has to obey. Each call goes to a clone of `plugin`, which is
/// driven to readiness first, so a plugin that is not ready can still report its health.
///
/// # Errors
/// | error | response |
/// |---|---|
/// | of the plugin | 200 with its text in `error`, as Go plugins answer |
/// | of this crate | 200 with its code and what that stands for; endpoints and causes are left out |
/// | a refusal of a guard of this crate | 429 for a rate limit, otherwise 503; with `Retry-After`, rounded up |
/// | a body that is no call | 400 |
/// | more calls at once than [`max_in_flight`](HttpServe::max_in_flight) | 503, with `Retry-After: 1` |
/// | a body that takes longer than [`HttpServerConfig::body_timeout`](crate::serve::HttpServerConfig::body_timeout) | 408 |
/// | a body that is longer than [`max_request_bytes`](HttpServe::max_request_bytes) | 413 |
/// | a body that is encoded | 415 |
///
/// # Bounds
/// The body has at most 16 MiB, unless [`max_request_bytes`](HttpServe::max_request_bytes) sets another
/// bound, and there are at most 1,024 calls at once, unless [`max_in_flight`](HttpServe::max_in_flight) does.
/// [`HttpServerConfig`](crate::serve::HttpServerConfig) bounds the rest; behind a server of another crate, there is no time limit for
/// a body that comes slowly, unless you put a timeout around this service.
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
///     .fallback_service(serve::http(plugin).info(PluginInfo::new("double", "1.0.0")));
/// # let _ = app;
/// ```
pub fn http<S, T>(plugin: S) -> HttpServe<S, T> {
    HttpServe { inner: plugin, health: always_healthy, about: Arc::default(), types: PhantomData }
}

fn always_healthy() -> Ready<HealthStatus> {
    at_once(HealthStatus::healthy())
}

/// Service that serves a plugin over HTTP; see [`http()`].
///
/// # Example
/// ```
/// use tower_upstream::serve::{self, HttpServe};
///
/// struct Server<P> {
///     tax: HttpServe<P, u64>,
/// }
/// # fn serve<P>(plugin: P) -> Server<P> {
/// Server { tax: serve::http(plugin) }
/// # }
/// ```
pub struct HttpServe<S, T, H = fn() -> Ready<HealthStatus>> {
    inner: S,
    health: H,
    about: Arc<About>,
    types: PhantomData<fn(T)>,
}

#[derive(Debug, Clone)]
struct About {
    info: PluginInfo,
    max_request_bytes: usize,
    places: Places,
}

impl Default for About {
    fn default() -> Self {
        Self {
            info: PluginInfo::default(),
            max_request_bytes: wire::MAX_BODY,
            places: Places::new(MAX_IN_FLIGHT),
        }
    }
}

const MAX_IN_FLIGHT: usize = 1_024;

impl<S, T, H> HttpServe<S, T, H> {
    inner_service!();

    /// Sets the description that `GET …/info` answers. Default: empty.
    #[must_use]
    pub fn info(mut self, info: PluginInfo) -> Self {
        Arc::make_mut(&mut self.about).info = info;
        self
    }

    /// Sets the closure that `GET …/health` calls.
    ///
    /// If the health has no time, the time of the call is added. Default: always healthy.
    ///
    /// ```
    /// # use tower::service_fn;
    /// # use tower_upstream::{Call, Reply};
    /// use tower_upstream::{plugin::HealthStatus, serve};
    /// # let plugin = service_fn(|call: Call<u64>| async move {
    /// #     Ok::<_, std::io::Error>(Reply::new(*call.body()))
    /// # });
    /// let served = serve::http(plugin).health(|| async { HealthStatus::unhealthy("no database") });
    /// # let _: axum::Router = axum::Router::new().fallback_service(served);
    /// ```
    #[must_use]
    pub fn health<G, F>(self, health: G) -> HttpServe<S, T, G>
    where
        G: Fn() -> F,
        F: Future<Output = HealthStatus>,
    {
        HttpServe { inner: self.inner, health, about: self.about, types: PhantomData }
    }

    /// Sets the most bytes that a body may have.
    ///
    /// More is answered with 413, and not read. Default: 16 MiB.
    #[must_use]
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.about).max_request_bytes = bytes;
        self
    }

    /// Sets the most calls at once, from the first byte of their body to the answer of the plugin.
    ///
    /// Those that wait until the plugin is ready count as well. One more is answered with 503 and a
    /// `Retry-After` of 1 s, and its body is not read. Health and description are always answered.
    /// Default: 1,024.
    ///
    /// ```
    /// # use tower::service_fn;
    /// # use tower_upstream::{Call, Reply, serve};
    /// # let plugin = service_fn(|call: Call<u64>| async move {
    /// #     Ok::<_, std::io::Error>(Reply::new(*call.body()))
    /// # });
    /// let served = serve::http(plugin).max_in_flight(64);
    /// # let _: axum::Router = axum::Router::new().fallback_service(served);
    /// ```
    #[must_use]
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        Arc::make_mut(&mut self.about).places = Places::new(calls);
        self
    }
}

impl<S, T, U, H, F, B> Service<Request<B>> for HttpServe<S, T, H>
where
    S: Service<Call<T>, Response = Reply<U>> + Clone,
    S::Error: Into<BoxError>,
    T: DeserializeOwned,
    U: Serialize,
    H: Fn() -> F,
    F: Future<Output = HealthStatus>,
    B: Body,
    B::Error: Into<BoxError>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = ServeFuture<S, T, F, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        match route(&parts) {
            Route::Execute => {
                let Some(place) = self.about.places.take() else {
                    return ServeFuture::answered(answer::full());
                };
                let plugin = self.inner.clone();
                ServeFuture::read(parts, body, self.about.max_request_bytes, plugin, place)
            }
            Route::Health => ServeFuture::check((self.health)()),
            Route::Info => ServeFuture::answered(answer::json(StatusCode::OK, &self.about.info)),
            Route::Nowhere(response) => ServeFuture::answered(response),
        }
    }
}

impl<S: Clone, T, H: Clone> Clone for HttpServe<S, T, H> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            health: self.health.clone(),
            about: self.about.clone(),
            types: PhantomData,
        }
    }
}

impl<S: fmt::Debug, T, H> fmt::Debug for HttpServe<S, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServe")
            .field("plugin", &self.inner)
            .field("about", &self.about)
            .finish_non_exhaustive()
    }
}
