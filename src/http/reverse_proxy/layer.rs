use std::{fmt, net::IpAddr, sync::Arc};

use http::{Extensions, uri::Scheme};
use tower_layer::Layer;

use super::{service::ReverseProxy, terms::Terms, via};
use crate::http::ClientIp;

/// Layer that does to requests and responses what every reverse proxy must do.
///
/// # When to use
/// In a server that sends the requests of its clients on to endpoints. Put it above the failover, so that
/// it sees each request once, and below an [`AnswerLayer`](crate::http::AnswerLayer). The
/// [`OriginLayer`](crate::http::OriginLayer) below the balancer writes the address of the endpoint, and
/// decides about `Host`.
///
/// # What is sent
/// | field | what the endpoint gets |
/// |---|---|
/// | `Connection`, the fields that it names, `Keep-Alive`, `Proxy-Connection`, `Transfer-Encoding`, `Upgrade`, `HTTP2-Settings` | nothing: they are meant for one connection (RFC 9110 §7.6.1). `Host` stays, even if `Connection` names it |
/// | `TE` | `trailers`, if the client asks for them; gRPC needs it |
/// | `Proxy-Authorization`, `Expect` | nothing: they are meant for this proxy |
/// | `X-Forwarded-For` | the address of the client, those of trusted proxies between, and that of the peer last |
/// | `X-Forwarded-Host`, `X-Forwarded-Proto` | the host and the protocol that the client used |
/// | `Forwarded` (RFC 7239) | the same as one element for each proxy, such as `for=192.0.2.1;host=example.com;proto=https` |
/// | other `X-Forwarded-*`, `X-Real-IP` | what the client sent, only if it is a trusted proxy that writes `X-Forwarded-For` |
/// | `Via` | one entry more, if [`with_via`](Self::with_via) is set |
///
/// # Earlier proxies
/// A [`ClientIp`] says which peers are trusted proxies, and which of the two kinds of fields they write.
/// Of a peer that is not trusted, both kinds are replaced, so that no client chooses its own address. Of
/// a trusted proxy, the entries that it and trusted proxies before it wrote are kept, this peer is
/// appended, and the other kind is written anew from them. So the first address is always that of the
/// client, and both kinds say the same.
///
/// Pass a clone of that `ClientIp` to `by_key` of limits above this layer.
///
/// # What comes back
/// The response without the fields that are meant for one connection. An upgrade, such as to a WebSocket,
/// is passed on if the server hands out connections, as axum and hyper do, and the client below is one of
/// hyper; a task then copies in both directions until both have ended. `h2c` is no such protocol: serve
/// it by prior knowledge. Upgrades count as load of their endpoint below a
/// [`TrackLayer`](crate::http::TrackLayer).
///
/// # Errors
/// * A `CONNECT` is refused with [`Kind::InvalidRequest`](crate::error::Kind::InvalidRequest): a reverse
///   proxy is no tunnel.
/// * A response of 101 to a request that did not ask for it, or of another protocol than it asked for, is
///   [`Kind::Transport`](crate::error::Kind::Transport).
///
/// # Bounds
/// At most 32 entries of earlier proxies are sent on. Bodies are not looked at. An upgraded connection
/// holds one task with two buffers of 8 KiB.
///
/// # Example
/// Behind a load balancer in `10.0.0.0/8`, with axum, served with
/// `into_make_service_with_connect_info::<SocketAddr>()`. A whole proxy is `examples/reverse_proxy.rs`.
/// ```no_run
/// use std::net::SocketAddr;
/// use axum::{Router, extract::ConnectInfo};
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::ServiceBuilder;
/// use tower_upstream::{
///     Attempts, BalanceLayer, Endpoint, FailoverLayer, LeastRequest, connect_fn,
///     dial::TcpConnector, discover,
///     http::{AnswerLayer, ClientIp, HttpClassify, OriginLayer, ReplayBodyLayer, ReverseProxyLayer},
/// };
///
/// let client_ip = ClientIp::new(|request| {
///     request.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())
/// });
/// let client = Client::builder(TokioExecutor::new()).build(TcpConnector::new());
/// let endpoints = discover::fixed(["http://10.1.0.1:8080"])?;
/// let proxy = ServiceBuilder::new()
///     .layer(AnswerLayer::new())
///     .layer(ReverseProxyLayer::new(client_ip.trust(["10.0.0.0/8"])?))
///     .layer(ReplayBodyLayer::new())
///     .layer(FailoverLayer::new(Attempts::up_to(3)).with_classify(HttpClassify))
///     .layer(BalanceLayer::new(endpoints, LeastRequest::new()).with_classify(HttpClassify))
///     .layer(OriginLayer::new())
///     .service(connect_fn(move |_: &Endpoint| client.clone()));
/// let app: Router = Router::new().fallback_service(proxy);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct ReverseProxyLayer<P> {
    terms: Arc<Terms<P>>,
}

impl<P> ReverseProxyLayer<P>
where
    P: Fn(&Extensions) -> Option<IpAddr>,
{
    /// Creates a layer that finds the address of the peer, and which proxies are trusted, by `client`.
    pub fn new(client: ClientIp<P>) -> Self {
        Self { terms: Arc::new(Terms { client, scheme: Scheme::HTTP, via: None }) }
    }
}

impl<P: Clone> ReverseProxyLayer<P> {
    /// Sets the protocol that clients use towards this server: `Scheme::HTTPS` where it accepts TLS. A
    /// trusted proxy that says otherwise is believed. Default: `http`.
    ///
    /// The scheme in the URL of a request is not looked at: over HTTP/2 clients choose it themselves.
    ///
    /// # Example
    /// ```
    /// use tower_upstream::http::{ClientIp, ReverseProxyLayer};
    /// let proxy = ReverseProxyLayer::new(ClientIp::new(|request| request.get().copied()))
    ///     .with_scheme(http::uri::Scheme::HTTPS);
    /// # let _ = proxy;
    /// ```
    #[must_use]
    pub fn with_scheme(mut self, scheme: Scheme) -> Self {
        Arc::make_mut(&mut self.terms).scheme = scheme;
        self
    }

    /// Adds this proxy to the `Via` of requests and responses (RFC 9110 §7.6.3), under a name of your
    /// choice. Characters that the field cannot hold are removed from the name. Default: none.
    ///
    /// # Example
    /// ```
    /// use tower_upstream::http::{ClientIp, ReverseProxyLayer};
    /// let proxy = ReverseProxyLayer::new(ClientIp::new(|request| request.get().copied()))
    ///     .with_via("edge-1");
    /// # let _ = proxy;
    /// ```
    #[must_use]
    pub fn with_via(mut self, name: &str) -> Self {
        Arc::make_mut(&mut self.terms).via = via::bare(name);
        self
    }
}

impl<P, S> Layer<S> for ReverseProxyLayer<P> {
    type Service = ReverseProxy<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        ReverseProxy::new(inner, self.terms.clone())
    }
}

impl<P> fmt::Debug for ReverseProxyLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Terms { client, scheme, via } = &*self.terms;
        f.debug_struct("ReverseProxyLayer")
            .field("client", client)
            .field("scheme", scheme)
            .field("via", via)
            .finish()
    }
}
