use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

use super::{authenticate::Authenticate, credentials::Credentials};
use crate::{
    choose::{Choose, Chooses, Tried},
    connect::Connect,
    error::{BoxError, Error},
    guard::{Avoiding, Hedging, Pass, Plain, ResponseFuture},
    member::Member,
};

/// Adds [`Credentials`] to each request, in place of those of the caller.
///
/// Over a service of [`Call`](crate::Call)s, the call carries them, and the transport sends them by its own
/// table: they are not among the headers of the call. An [`HttpTransport`](crate::transport::HttpTransport)
/// sends them as HTTP headers; a [`SocketTransport`](crate::transport::SocketTransport) has its
/// [`token`](crate::transport::SocketConfig::token) instead, and sends none of a call. Over a service of
/// `http::Request`s, they are headers.
///
/// Credentials are not sent without TLS to another host, unless
/// [`allow_plaintext`](Credentials::allow_plaintext) says so. An `HttpTransport` knows where its connection
/// leads. Of an `http::Request`, the address of the member decides, below a balancer; otherwise its URL,
/// which must be a whole one.
///
/// # Errors
/// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), unsent, if the credentials cannot be sent or
/// would be exposed. It counts against no endpoint.
///
/// # Example
/// ```
/// use tower::ServiceBuilder;
/// use tower_upstream::{
///     BalanceLayer, LeastRequest, auth::{AuthLayer, Credentials}, discover,
///     transport::HttpTransport,
/// };
///
/// let plugins = ServiceBuilder::new()
///     .layer(BalanceLayer::new(discover::fixed(["https://tax.internal:8443"])?, LeastRequest::new()))
///     .layer(AuthLayer::new(Credentials::bearer("abc.def")))
///     .service(HttpTransport::<u64, u64>::new());
/// # let _ = plugins;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AuthLayer {
    credentials: Credentials,
}

impl AuthLayer {
    /// Creates a layer that adds `credentials`.
    ///
    /// ```
    /// use tower_upstream::auth::{AuthLayer, Credentials};
    /// let layer = AuthLayer::new(Credentials::api_key("k-17"));
    /// # let _ = layer;
    /// ```
    pub const fn new(credentials: Credentials) -> Self {
        Self { credentials }
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth { inner, credentials: self.credentials.clone(), member: None }
    }
}

/// Service of an [`AuthLayer`], and its connector below a balancer.
///
/// ```
/// use tower_upstream::auth::{Auth, AuthLayer, Credentials};
/// use tower::Layer;
/// let auth: Auth<u8> = AuthLayer::new(Credentials::none()).layer(7);
/// assert_eq!(*auth.get_ref(), 7);
/// ```
#[derive(Clone)]
pub struct Auth<S> {
    inner: S,
    credentials: Credentials,
    /// Where requests go, below a balancer.
    member: Option<Arc<Member>>,
}

impl<S> Auth<S> {
    inner_service!();

    #[inline(always)]
    fn pass<Req, P>(&mut self, mut request: Req, way: P) -> ResponseFuture<P::Future>
    where
        P: Pass<S, Req>,
        Req: Authenticate,
    {
        let endpoint = self.member.as_ref().map(|member| member.endpoint());
        match request.authenticate(&self.credentials, endpoint.as_deref()) {
            Ok(()) => ResponseFuture::called(way.pass(&mut self.inner, request)),
            Err(error) => ResponseFuture::refused(match &self.member {
                Some(member) => error.at_endpoint(member.shared_key()),
                None => error,
            }),
        }
    }
}

impl<C: Connect> Connect for Auth<C> {
    type Service = Auth<C::Service>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let (inner, credentials) = (self.inner.connect(member), self.credentials.clone());
        Auth { inner, credentials, member: Some(member.clone()) }
    }

    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

impl<S, Req> Service<Req> for Auth<S>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
    Req: Authenticate,
{
    type Response = S::Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_service)
    }

    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        self.pass(request, Plain)
    }
}

impl<S, Req> Choose<Req> for Auth<S>
where
    S: Choose<Req>,
    S::Error: Into<BoxError> + 'static,
    Req: Authenticate,
{
    type Choosing = ResponseFuture<S::Choosing>;

    fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
        self.pass(request, Avoiding(tried))
    }

    fn call_hedging(&mut self, request: Req, tried: &Tried) -> Option<Self::Choosing> {
        self.pass(request, Hedging(tried)).hedge()
    }
}

impl<S: Chooses> Chooses for Auth<S> {
    inner_chooses!();
}

impl<S: fmt::Debug> fmt::Debug for Auth<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("inner", &self.inner)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}
