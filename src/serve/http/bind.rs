use std::fmt;

use ::http::{Request, Response};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body::Body;
use tower_service::Service;

use super::{
    body::RequestBody, config::HttpServerConfig, place, server::HttpServer, service::HttpServe,
};
use crate::error::{BoxError, Error};

/// Serves an HTTP service at `address`: `host:port`, or `unix:/path`.
///
/// For [`http`](super::http()) below layers of yours, such as a
/// [`RequireAuthLayer`](crate::auth::RequireAuthLayer), and for routers. Speaks HTTP/1.1 and HTTP/2, with
/// TLS if the settings say so. Each request goes to a clone of `service`, which is driven to readiness
/// first; one that fails loses its connection.
///
/// The rules of the socket are those of [`serve::unix`](crate::serve::unix()). A response cannot upgrade its
/// connection.
///
/// A request that is no HTTP, or one of HTTP/1.1 without a `Host`, with two, or with one that cannot be a host, is
/// answered with 400, one of gRPC over HTTP/1.1 with 505, and one with a transfer coding other than `chunked` with 501. The
/// service does not see them.
///
/// # Bounds
/// Those of [`HttpServerConfig`].
///
/// # Example
/// ```no_run
/// use tower::{ServiceBuilder, service_fn};
/// use tower_upstream::{Call, Reply, auth::{Credentials, RequireAuthLayer}, serve};
///
/// # async fn example() -> Result<(), tower_upstream::Error> {
/// let plugin = service_fn(|call: Call<u64>| async move {
///     Ok::<_, std::io::Error>(Reply::new(call.body() * 2))
/// });
/// let guarded = ServiceBuilder::new()
///     .layer(RequireAuthLayer::new([Credentials::bearer("abc.def")]))
///     .service(serve::http(plugin));
/// serve::http_service(guarded, "127.0.0.1:8080").run().await
/// # }
/// ```
pub fn http_service<S>(service: S, address: impl Into<String>) -> HttpBind<S> {
    HttpBind { service, address: address.into(), config: HttpServerConfig::default() }
}

impl<S, T, H> HttpServe<S, T, H> {
    /// Serves it at `address`: `host:port`, or `unix:/path`. See [`http_service`](super::http_service).
    ///
    /// ```no_run
    /// use tower::service_fn;
    /// use tower_upstream::{Call, Reply, serve};
    ///
    /// # async fn example() -> Result<(), tower_upstream::Error> {
    /// let plugin = service_fn(|call: Call<u64>| async move {
    ///     Ok::<_, std::io::Error>(Reply::new(call.body() * 2))
    /// });
    /// serve::http(plugin).bind("127.0.0.1:8080").run().await
    /// # }
    /// ```
    pub fn bind(self, address: impl Into<String>) -> HttpBind<Self> {
        http_service(self, address)
    }
}

/// HTTP service to be served at an address; see [`http_service`].
///
/// # Example
/// ```
/// use tower::service_fn;
/// use tower_upstream::{Call, Reply, serve::{self, HttpServerConfig}};
///
/// # #[tokio::main] async fn main() -> Result<(), tower_upstream::Error> {
/// let plugin = service_fn(|call: Call<u64>| async move {
///     Ok::<_, std::io::Error>(Reply::new(call.body() * 2))
/// });
/// let config = HttpServerConfig::default().with_max_connections(100);
/// let server = serve::http(plugin).bind("127.0.0.1:0").config(config).listen().await?;
/// println!("listening on {}", server.address());
/// # Ok(())
/// # }
/// ```
#[must_use = "a service answers nothing until it runs"]
pub struct HttpBind<S> {
    service: S,
    address: String,
    config: HttpServerConfig,
}

impl<S> HttpBind<S> {
    /// Replaces the settings.
    pub fn config(mut self, config: HttpServerConfig) -> Self {
        self.config = config;
        self
    }
}

impl<S, R> HttpBind<S>
where
    S: Service<Request<RequestBody>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    R: Body + From<Bytes> + Send + 'static,
    R::Data: Send,
    R::Error: Into<BoxError>,
{
    /// Begins to listen. Callers can connect from then on.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig) for settings that cannot be, such as
    /// files of TLS that cannot be used, and for an address where nothing can listen.
    pub async fn listen(self) -> Result<HttpServer, Error> {
        self.config.validate()?;
        let listener = place::bind(&self.address, &self.config).await?;
        HttpServer::new(listener, self.service, self.config).await
    }

    /// Listens, and serves until the process is asked to stop.
    ///
    /// See [`HttpServer::run`].
    ///
    /// # Errors
    /// Those of [`listen`](Self::listen).
    pub async fn run(self) -> Result<(), Error> {
        self.listen().await?.run().await;
        Ok(())
    }
}

/// Is [`HttpBind::run`], with its errors.
impl<S, R> IntoFuture for HttpBind<S>
where
    S: Service<Request<RequestBody>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    R: Body + From<Bytes> + Send + 'static,
    R::Data: Send,
    R::Error: Into<BoxError>,
{
    type Output = Result<(), Error>;
    type IntoFuture = BoxFuture<'static, Result<(), Error>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<S: fmt::Debug> fmt::Debug for HttpBind<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpBind")
            .field("service", &self.service)
            .field("address", &self.address)
            .field("config", &self.config)
            .finish()
    }
}
