//! Serves a plugin over HTTP.

mod answer;
mod future;
mod question;

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

pub use self::future::ServeFuture;

use self::question::{Route, route};
use crate::{
    error::BoxError,
    plugin::{Call, Reply},
    plugin::{HealthStatus, PluginInfo},
    wire,
};

/// Serves `plugin` over HTTP: a service that mounts in axum as `route_service` or
/// `fallback_service`, and in hyper through `TowerToHyperService`.
///
/// | request | answer |
/// |---|---|
/// | `POST`, any path | calls the plugin |
/// | `GET …/health` | a [`HealthStatus`]; 200 if it is usable, else 503 |
/// | `GET …/info` | the [`PluginInfo`] |
/// | another `GET` | 404 |
/// | `HEAD`, any path | as `GET`, with the same status and fields; the server leaves out the body |
/// | another method | 405, with `Allow: GET, HEAD, POST` |
///
/// An error of the plugin is an answer of 200 with its text in `error`, as Go plugins answer it. Of
/// an error of this crate it is only the code and what it stands for: no endpoint, no cause. A
/// refusal of this crate's guards is 429 for a rate limit and 503 otherwise, with `Retry-After`
/// rounded up. A body that is no call is 400; one over
/// [`max_request_bytes`](HttpServe::max_request_bytes) is 413; one that is encoded is 415.
///
/// The call has the id, headers, metadata and timeout that the caller wrote into the body; the
/// timeout becomes its deadline, which is the plugin's to obey. A body that comes slowly is the
/// server's to end: put a timeout around this, or set one there.
///
/// Each call goes to a clone of `plugin`, which is driven to readiness first, so a plugin that is
/// not ready does not hide its health.
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
    HttpServe {
        plugin,
        health: always_healthy,
        about: Arc::new(About { info: PluginInfo::default(), max_request_bytes: wire::MAX_BODY }),
        types: PhantomData,
    }
}

fn always_healthy() -> Ready<HealthStatus> {
    at_once(HealthStatus::healthy())
}

/// A plugin, served over HTTP. See [`http()`].
pub struct HttpServe<S, T, H = fn() -> Ready<HealthStatus>> {
    plugin: S,
    health: H,
    about: Arc<About>,
    types: PhantomData<fn(T)>,
}

#[derive(Debug, Clone)]
struct About {
    info: PluginInfo,
    max_request_bytes: usize,
}

impl<S, T, H> HttpServe<S, T, H> {
    /// What `GET …/info` answers. Default: empty.
    #[must_use]
    pub fn info(mut self, info: PluginInfo) -> Self {
        Arc::make_mut(&mut self.about).info = info;
        self
    }

    /// What `GET …/health` asks. Default: always healthy. The time is noted where the closure
    /// notes none.
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
        HttpServe { plugin: self.plugin, health, about: self.about, types: PhantomData }
    }

    /// How many bytes a body may have. Default 16 MiB. More is answered by 413, and not read.
    #[must_use]
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        Arc::make_mut(&mut self.about).max_request_bytes = bytes;
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
                let plugin = self.plugin.clone();
                ServeFuture::read(parts, body, self.about.max_request_bytes, plugin)
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
            plugin: self.plugin.clone(),
            health: self.health.clone(),
            about: self.about.clone(),
            types: PhantomData,
        }
    }
}

impl<S: fmt::Debug, T, H> fmt::Debug for HttpServe<S, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServe")
            .field("plugin", &self.plugin)
            .field("about", &self.about)
            .finish_non_exhaustive()
    }
}
