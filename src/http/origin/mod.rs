//! Makes any HTTP client a transport.

mod body;
mod drain;
mod path;
mod target;

use std::{
    any::Any,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use hyper_util::client::legacy;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

pub use self::body::OriginBody;

use self::{drain::Drains, target::Target};
use super::{reused::broke_when_reused, slot::Moment};
use crate::{
    connect::Connect,
    error::{BoxError, Error},
    member::Member,
};

/// Writes the member's scheme, authority and base path into each request, so that any HTTP client
/// serves as a transport below a balancer.
///
/// A request for `/v1/tax?x=1` to the member `http://10.0.0.1:8080/api/` becomes one for
/// `http://10.0.0.1:8080/api/v1/tax?x=1`. Scheme and authority of the request are replaced. An
/// address without a scheme is one of HTTP. Over a service, without a member, requests pass as they
/// are.
///
/// # What is sent
/// * `Host` is the authority that the request was made for: that of its URL (absolute form, or
///   `:authority`), else its `Host`, else the member's. [`preserve_host`](Self::preserve_host) changes
///   that. Neither changes the name that TLS asks for and checks, which is the member's.
/// * Over HTTP/2 the client sends the member's authority as `:authority` in any case, and the caller's as
///   a `Host` beside it. If they differ, the endpoint goes by its own name, or refuses the request as
///   malformed (RFC 9113 §8.3.1). Use [`preserve_host(false)`](Self::preserve_host) where the client
///   speaks HTTP/2 to endpoints, and tell them the caller's authority in a field such as
///   `X-Forwarded-Host`.
/// * The version is set to HTTP/1.1, so that the client decides which one it speaks. Cookies that came
///   over HTTP/2 in several fields become one.
/// * Below a path of the member, a request whose path has a dot segment (`.` or `..`, also as `%2e`) is
///   refused unsent, with [`Kind::InvalidRequest`](crate::error::Kind::InvalidRequest). Without one, paths are
///   sent as they are. `OPTIONS *` stays so.
///
/// # What comes back
/// A response whose body is an [`OriginBody`]. The body of the client must be `Unpin`; box one that is
/// not.
///
/// # Errors
/// Errors name the endpoint, and are what [`Error::from_service`] makes of them: of a client of hyper-util
/// a connection that could not be made is [`Kind::Connection`](crate::error::Kind::Connection) and unsent, and a
/// request body that fails is [`Kind::InvalidRequest`](crate::error::Kind::InvalidRequest), which counts against
/// no endpoint. A client that wraps such errors, as reqwest does, needs
/// [`unsent_if`](crate::connect::ConnectFn::unsent_if). An error of a client of hyper-util that connects with a
/// [`TcpConnector`](crate::dial::TcpConnector), on a connection that had been used before, is
/// [`Kind::Connection`](crate::error::Kind::Connection) too, and does not count against the endpoint.
///
/// # Bodies that stream
/// A request whose body streams, such as axum's, is sent once, whatever happens, unless a
/// [`ReplayBodyLayer`](crate::http::ReplayBodyLayer) stands above the failover.
///
/// # Example
/// A status is an answer, so the breaker and the failover are told which of them are failures.
/// ```no_run
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::ServiceBuilder;
/// use tower_upstream::{
///     Attempts, BalanceLayer, CircuitBreakerLayer, Endpoint, FailoverLayer, LeastRequest,
///     connect_fn, dial::TcpConnector, discover, http::{HttpClassify, OriginLayer},
/// };
///
/// let client: Client<_, Full<Bytes>> =
///     Client::builder(TokioExecutor::new()).build(TcpConnector::new());
/// let endpoints = discover::fixed(["http://10.0.0.1:8080/api", "http://10.0.0.2:8080/api"])?;
/// let stack = ServiceBuilder::new()
///     .layer(FailoverLayer::new(Attempts::up_to(3)).with_classify(HttpClassify))
///     .layer(BalanceLayer::new(endpoints, LeastRequest::new()))
///     .layer(CircuitBreakerLayer::default().with_classify(HttpClassify))
///     .layer(OriginLayer::new())
///     .service(connect_fn(move |_: &Endpoint| client.clone()));
/// # let _ = stack;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct OriginLayer {
    preserve_host: bool,
}

impl OriginLayer {
    /// Creates a layer that keeps the caller's `Host`.
    pub const fn new() -> Self {
        Self { preserve_host: true }
    }

    /// Whether `Host` stays what the caller asked for, as in Apache's `ProxyPreserveHost`. If not, it is
    /// the member's authority. Default: true.
    ///
    /// Switch it off for endpoints that choose among virtual hosts by their own names, and for a client
    /// that speaks HTTP/2 to them: see [What is sent](Self#what-is-sent).
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

impl<S> Layer<S> for OriginLayer {
    type Service = Origin<S>;

    fn layer(&self, inner: S) -> Origin<S> {
        Origin { inner, upstream: Arc::default(), preserve_host: self.preserve_host }
    }
}

/// The connector, and the service, of an [`OriginLayer`].
#[derive(Debug, Clone)]
pub struct Origin<S> {
    inner: S,
    upstream: Arc<Upstream>,
    preserve_host: bool,
}

/// Where requests go.
#[derive(Debug, Default)]
struct Upstream {
    /// `None` without a member.
    target: Option<Target>,
    drains: Drains,
}

impl<C: Connect> Connect for Origin<C> {
    type Service = Origin<C::Service>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let (endpoint, preserve_host) = (member.endpoint(), self.preserve_host);
        let inner = self.inner.connect(member);
        let target = Target::new(member.shared_key(), endpoint.address(), preserve_host);
        let target = Some(target.over_client(self.inner.is_known_client()));
        let upstream = Arc::new(Upstream { target, drains: Drains::default() });
        Origin { inner, upstream, preserve_host }
    }

    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

impl<S, B, R> Service<Request<B>> for Origin<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError> + 'static,
    R: Body + Send + Unpin + 'static,
{
    type Response = Response<OriginBody<R>>;
    type Error = Error;
    type Future = OriginFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let target = self.upstream.target.as_ref();
        self.inner.poll_ready(cx).map_err(|error| named(Error::from_service(error), target))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(target) = &self.upstream.target {
            if let Err(error) = target.aim(&mut request) {
                return OriginFuture {
                    state: State::Unsent { error: Some(error.at_endpoint(&target.key)) },
                };
            }
        }
        let (begun, upstream) = (Moment::now(), Some(self.upstream.clone()));
        OriginFuture { state: State::Called { future: self.inner.call(request), upstream, begun } }
    }
}

/// The error of the client, as ours.
#[cold]
fn failed<E: Into<BoxError> + 'static>(error: E, target: Option<&Target>, begun: Moment) -> Error {
    let any = &error as &dyn Any;
    let boxed = any.downcast_ref::<BoxError>().and_then(|error| error.downcast_ref());
    let client = any.downcast_ref::<legacy::Error>().or(boxed);
    let confirm = |error: Error| match target {
        Some(target) if target.is_over_client() => error.confirm_unsent(),
        _ => error,
    };
    let error = if client.is_none_or(|error| !broke_when_reused(error, begun)) {
        confirm(Error::from_service(error))
    } else if confirm(Error::outline(&error)).is_unsent() {
        confirm(Error::from_service(error)).without_blame()
    } else {
        Error::connection(error)
    };
    named(error, target)
}

fn named(error: Error, target: Option<&Target>) -> Error {
    match target {
        Some(target) => error.or_at_endpoint(&target.key),
        None => error,
    }
}

pin_project! {
    /// The response of an [`Origin`].
    pub struct OriginFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        // For the client.
        Called { #[pin] future: F, upstream: Option<Arc<Upstream>>, begun: Moment },
        // For nothing: the request could not be sent.
        Unsent { error: Option<Error> },
    }
}

impl<F, B, E> Future for OriginFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError> + 'static,
    B: Body + Send + Unpin + 'static,
{
    type Output = Result<Response<OriginBody<B>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Called { future, upstream, begun } => {
                Poll::Ready(match ready!(future.poll(cx)) {
                    Ok(response) => Ok(OriginBody::of(response, upstream.take())),
                    Err(error) => {
                        let target =
                            upstream.as_ref().and_then(|upstream| upstream.target.as_ref());
                        Err(failed(error, target, *begun))
                    }
                })
            }
            StateProj::Unsent { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
        }
    }
}

impl<F> fmt::Debug for OriginFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginFuture").finish_non_exhaustive()
    }
}
