use std::{fmt, sync::Arc};

use ::http::{Request, Response};
use bytes::Bytes;
use http_body::Body;
use tokio::sync::watch;
use tower_service::Service;

use super::{
    body::RequestBody,
    channel::{self, Protocol, Terms, protocol},
    config::HttpServerConfig,
    pace::Limits,
    place::url,
};
use crate::{
    dial::Socket,
    error::{BoxError, Error},
    serve::{
        accept::{self, Serve, Serving, serve_until},
        listener::Listener,
        stop::terminated,
    },
};
#[cfg(feature = "tls")]
use {
    crate::{dial::ServerTls, error::Kind},
    futures_util::future::{Either, select},
    std::{pin::pin, time::Duration},
    tokio::time::{sleep, timeout},
};

/// How long a TLS handshake may still take once the server stops.
#[cfg(feature = "tls")]
const LAST_HANDSHAKE: Duration = Duration::from_secs(1);

/// HTTP server that listens, of an [`HttpBind`](super::HttpBind).
///
/// Callers that connect wait until it runs.
///
/// # Example
/// ```
/// use tower::service_fn;
/// use tower_upstream::{Call, Reply, serve};
///
/// # #[tokio::main] async fn main() -> Result<(), tower_upstream::Error> {
/// let plugin = service_fn(|call: Call<u64>| async move {
///     Ok::<_, std::io::Error>(Reply::new(call.body() * 2))
/// });
/// let server = serve::http(plugin).bind("127.0.0.1:0").listen().await?;
/// println!("listening on {}", server.address());
/// server.run_until(async { /* a signal of yours */ }).await;
/// # Ok(())
/// # }
/// ```
#[must_use = "a server answers nothing until it runs"]
pub struct HttpServer {
    listener: Listener,
    config: Arc<HttpServerConfig>,
    serve: Serve,
}

/// What all connections have in common.
struct Common {
    protocol: Protocol,
    limits: Limits,
    max_headers: usize,
    #[cfg(feature = "tls")]
    tls: Option<Arc<ServerTls>>,
}

impl HttpServer {
    pub(super) async fn new<S, R>(
        listener: Listener,
        service: S,
        config: HttpServerConfig,
    ) -> Result<Self, Error>
    where
        S: Service<Request<RequestBody>, Response = Response<R>> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        R: Body + From<Bytes> + Send + 'static,
        R::Data: Send,
        R::Error: Into<BoxError>,
    {
        let limits = Limits {
            header: config.header_timeout,
            body: config.body_timeout,
            idle: config.idle_timeout,
        };
        let common = Arc::new(Common {
            protocol: protocol(&config),
            limits,
            max_headers: config.max_headers,
            #[cfg(feature = "tls")]
            tls: config.tls.clone().map(|tls| Arc::new(ServerTls::new(tls))),
        });
        #[cfg(feature = "tls")]
        if let Some(tls) = &common.tls {
            let usable = tls.load().await;
            usable
                .map_err(|error| Error::not_sent(Kind::InvalidConfig).message(error.to_string()))?;
        }
        let serve = Box::new(move |socket, stop| {
            let (common, service) = (common.clone(), service.clone());
            Box::pin(async move { common.serve(socket, service, stop).await }) as Serving
        });
        Ok(Self { listener, config: Arc::new(config), serve })
    }

    /// Returns the address for an [`HttpTransport`](crate::transport::HttpTransport), such as
    /// `http://127.0.0.1:8080` or `http+unix://%2Frun%2Ftax.sock`.
    pub fn address(&self) -> String {
        #[cfg(feature = "tls")]
        let is_secure = self.config.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let is_secure = false;
        url(&self.listener, is_secure)
    }

    /// Serves until the process is asked to stop; see [`terminated`](crate::serve::terminated()).
    ///
    /// Then it stops as [`run_until`](Self::run_until) does.
    pub async fn run(self) {
        self.run_until(terminated()).await;
    }

    /// Serves until `stop` completes, and stops.
    ///
    /// To stop is to take away a socket's file, to accept no more than those that wait already, to close the
    /// connections without a request, and to wait until the others have their answers, for at most
    /// [`drain_timeout`](HttpServerConfig::drain_timeout). A request that had come by then is answered. A
    /// connection of HTTP/2 is told that the server goes away.
    ///
    /// # Cancel safety
    /// Dropping the future stops without waiting, and drops the calls.
    pub async fn run_until(self, stop: impl Future<Output = ()>) {
        let Self { listener, config, serve } = self;
        let terms = accept::Terms {
            max_connections: config.max_connections,
            drain_timeout: config.drain_timeout,
        };
        serve_until(listener, serve, terms, stop).await;
    }
}

impl Common {
    async fn serve<S, R>(&self, socket: Socket, service: S, stop: watch::Receiver<bool>)
    where
        S: Service<Request<RequestBody>, Response = Response<R>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        R: Body + From<Bytes> + Send + 'static,
        R::Data: Send,
        R::Error: Into<BoxError>,
    {
        let (limits, max_headers) = (self.limits, self.max_headers);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let handshake = pin!(timeout(limits.header, tls.accept(socket)));
            let mut stopping = stop.clone();
            let stopping = pin!(async {
                let _ = stopping.wait_for(|stop| *stop).await;
                sleep(LAST_HANDSHAKE).await;
            });
            match select(handshake, stopping).await {
                Either::Left((Ok(Ok((stream, certified))), _)) => {
                    let terms = Terms { limits, max_headers, certified };
                    channel::serve(stream, &self.protocol, service, terms, stop).await;
                }
                Either::Left((Ok(Err(error)), _)) => {
                    tracing::debug!(%error, "a TLS handshake failed");
                }
                _ => tracing::debug!("a TLS handshake took too long"),
            }
            return;
        }
        let terms = Terms { limits, max_headers, certified: false };
        channel::serve(socket, &self.protocol, service, terms, stop).await;
    }
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer")
            .field("address", &self.address())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
