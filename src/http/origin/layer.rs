/// Writes the scheme, authority and base path of the member into each request.
///
/// Turns any HTTP client into a transport below a balancer. A request for `/v1/tax?x=1` to the member
/// `http://10.0.0.1:8080/api/` becomes one for `http://10.0.0.1:8080/api/v1/tax?x=1`. An address without
/// a scheme is `http`. Over a service, without a member, requests pass unchanged.
///
/// # What is sent
/// * `Host` is the authority that the request was made for: that of its URL (absolute form, or
///   `:authority`), otherwise its `Host`, otherwise the member's; see
///   [`preserve_host`](Self::preserve_host). The name that TLS asks for and verifies is always the
///   member's.
/// * Over HTTP/2 the client always sends the member's authority as `:authority`, and the caller's as a
///   `Host` beside it. If they differ, the endpoint uses `:authority`, or refuses the request as
///   malformed (RFC 9113 §8.3.1). If the client speaks HTTP/2 to endpoints, use
///   [`preserve_host(false)`](Self::preserve_host), and send the caller's authority in a field such as
///   `X-Forwarded-Host`.
/// * The version is set to HTTP/1.1, so that the client decides which one it speaks. Cookies that came
///   over HTTP/2 in several fields become one field.
/// * If the member has a path, a request with a dot segment in its path (`.` or `..`, also as `%2e`) is
///   refused unsent, with [`Kind::InvalidRequest`](crate::error::Kind::InvalidRequest). If it has none,
///   paths are sent unchanged. `OPTIONS *` is always sent unchanged.
/// * A request with a body that streams, such as axum's, is sent once, unless a
///   [`ReplayBodyLayer`](crate::http::ReplayBodyLayer) is above the failover.
///
/// # What comes back
/// A response with an [`OriginBody`](super::OriginBody). The body of the client must be `Unpin`;
/// box one that is not.
///
/// # Errors
/// Errors name the endpoint. Errors of a client of hyper-util are recognised:
///
/// | error of the client | kind | |
/// |---|---|---|
/// | no connection | [`Connection`](crate::error::Kind::Connection) | unsent |
/// | the request body failed | [`InvalidRequest`](crate::error::Kind::InvalidRequest) | counts against no endpoint |
/// | a connection of a [`TcpConnector`](crate::dial::TcpConnector) broke that had been used before, or took no more of the request and brought no answer | [`Connection`](crate::error::Kind::Connection) | counts against no endpoint |
/// | the endpoint ended a connection of HTTP/2 by `ENHANCE_YOUR_CALM`, as if a head is far too large | `Connection` | counts against no endpoint |
/// | any other | what [`Error::from_service`](crate::Error::from_service) makes of it | |
///
/// For a client that wraps such errors, as reqwest does, use
/// [`unsent_if`](crate::connect::ConnectFn::unsent_if).
///
/// # Example
/// A status is an answer, so [`HttpClassify`](crate::http::HttpClassify) tells failover, balancer and breaker
/// which of them are failures.
/// ```no_run
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::ServiceBuilder;
/// use tower_upstream::{
///     Attempts, BalanceLayer, CircuitBreakerLayer, Endpoint, FailoverLayer, LeastRequest,
///     connect_fn, dial::TcpConnector, discover, http::{HttpClassify, OriginLayer},
///     stack::WithClassify,
/// };
///
/// let client: Client<_, Full<Bytes>> =
///     Client::builder(TokioExecutor::new()).build(TcpConnector::new());
/// let endpoints = discover::fixed(["http://10.0.0.1:8080/api", "http://10.0.0.2:8080/api"])?;
/// let layers = (
///     FailoverLayer::new(Attempts::up_to(3)),
///     BalanceLayer::new(endpoints, LeastRequest::new()),
///     CircuitBreakerLayer::default(),
///     OriginLayer::new(),
/// );
/// let stack = ServiceBuilder::new()
///     .layer(layers.with_classify(HttpClassify))
///     .service(connect_fn(move |_: &Endpoint| client.clone()));
/// # let _ = stack;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct OriginLayer {
    pub(super) preserve_host: bool,
}

impl OriginLayer {
    /// Creates a layer that keeps the caller's `Host`.
    pub const fn new() -> Self {
        Self { preserve_host: true }
    }

    /// Sets whether `Host` stays the authority that the caller asked for, as with Apache's
    /// `ProxyPreserveHost`, or becomes the member's.
    ///
    /// Pass `false` for endpoints that choose among virtual hosts by their own names, and for a client
    /// that speaks HTTP/2 to them; see [What is sent](Self#what-is-sent). Default: `true`.
    ///
    /// ```
    /// use tower_upstream::http::OriginLayer;
    /// let layer = OriginLayer::new().preserve_host(false);
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub const fn preserve_host(mut self, preserve: bool) -> Self {
        self.preserve_host = preserve;
        self
    }
}

impl Default for OriginLayer {
    fn default() -> Self {
        Self::new()
    }
}
