//! Makes any HTTP client a transport.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{
    Request, Uri,
    uri::{Authority, PathAndQuery, Scheme},
};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    connect::Connect,
    endpoint::Address,
    error::{BoxError, Error, Kind},
    member::Member,
};

/// Writes the member's scheme, authority and base path into each request, so that any HTTP client
/// serves as a transport below a balancer.
///
/// A request for `/v1/tax?x=1` to the member `http://10.0.0.1:8080/api/` becomes one for
/// `http://10.0.0.1:8080/api/v1/tax?x=1`. Scheme and authority of the request are replaced. An
/// address without a scheme is one of HTTP. A `Host` header that the request has stays: a proxy
/// that wants the member's removes it.
///
/// Errors name the endpoint. One of a client over hyper-util, such as reqwest, that says that no
/// connection was made is [`Kind::Connection`] and unsent; all else is as in
/// [`Error::from_service`]. Over a service, without a member, requests pass as they are.
///
/// # Example
/// A status is an answer, so the breaker and the failover are told which of them are failures.
/// ```no_run
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::ServiceBuilder;
/// use tower_upstream::{
///     Attempts, BalanceLayer, CircuitBreakerLayer, Endpoint, FailoverLayer, HttpClassify,
///     LeastRequest, connect_fn, discover, transport::OriginLayer,
/// };
///
/// let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
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
#[derive(Debug, Clone, Copy, Default)]
pub struct OriginLayer(());

impl OriginLayer {
    /// There is nothing to set.
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for OriginLayer {
    type Service = Origin<S>;

    fn layer(&self, inner: S) -> Origin<S> {
        Origin { inner, target: None }
    }
}

/// The connector, and the service, of an [`OriginLayer`].
#[derive(Debug, Clone)]
pub struct Origin<S> {
    inner: S,
    target: Option<Arc<Target>>,
}

#[derive(Debug)]
struct Target {
    key: Arc<str>,
    /// `None` where the address has none, such as a socket path.
    origin: Option<(Scheme, Authority)>,
    /// Without a slash at its end.
    base: Box<str>,
}

impl<C: Connect> Connect for Origin<C> {
    type Service = Origin<C::Service>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let endpoint = member.endpoint();
        Origin {
            inner: self.inner.connect(member),
            target: Some(Arc::new(Target::new(member.shared_key(), endpoint.address()))),
        }
    }
}

impl<S, B> Service<Request<B>> for Origin<S>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError> + 'static,
{
    type Response = S::Response;
    type Error = Error;
    type Future = OriginFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let target = &self.target;
        self.inner.poll_ready(cx).map_err(|error| failed(error, target.as_deref()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(target) = &self.target {
            match target.uri_of(request.uri()) {
                Ok(uri) => *request.uri_mut() = uri,
                Err(error) => {
                    return OriginFuture {
                        state: State::Unsent { error: Some(error.at_endpoint(&target.key)) },
                    };
                }
            }
        }
        OriginFuture {
            state: State::Called { future: self.inner.call(request), target: self.target.clone() },
        }
    }
}

impl Target {
    fn new(key: &Arc<str>, address: &Address) -> Self {
        let scheme = Scheme::try_from(address.scheme().unwrap_or("http")).ok();
        let authority = Authority::try_from(address.authority()).ok();
        Self {
            key: key.clone(),
            origin: scheme.zip(authority),
            base: address.path().trim_end_matches('/').into(),
        }
    }

    fn uri_of(&self, uri: &Uri) -> Result<Uri, Error> {
        let Some((scheme, authority)) = &self.origin else {
            return Err(Error::not_sent(Kind::InvalidConfig).message(
                "`OriginLayer` needs an address with a host, such as `http://10.0.0.1:8080`; for a \
                 socket use a connector of its own",
            ));
        };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(scheme.clone());
        parts.authority = Some(authority.clone());
        parts.path_and_query = Some(self.path(uri.path_and_query())?);
        Uri::from_parts(parts).map_err(unusable)
    }

    fn path(&self, asked: Option<&PathAndQuery>) -> Result<PathAndQuery, Error> {
        match asked {
            // Neither `CONNECT` nor `OPTIONS *` names a path.
            Some(asked) if asked.path() != "*" => {
                if self.base.is_empty() {
                    return Ok(asked.clone());
                }
                PathAndQuery::try_from(format!("{}{asked}", self.base)).map_err(unusable)
            }
            _ if self.base.is_empty() => Ok(PathAndQuery::from_static("/")),
            _ => PathAndQuery::try_from(&*self.base).map_err(unusable),
        }
    }
}

fn unusable(error: impl Into<BoxError> + fmt::Display) -> Error {
    let message = format!("the address and the path of the request make no URL: {error}");
    Error::not_sent(Kind::InvalidConfig).message(message).caused_by(error)
}

/// The error of the client, as ours.
fn failed<E: Into<BoxError> + 'static>(error: E, target: Option<&Target>) -> Error {
    let error = Error::from_service(error);
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
        Called { #[pin] future: F, target: Option<Arc<Target>> },
        // For nothing: the request could not be sent.
        Unsent { error: Option<Error> },
    }
}

impl<F, T, E> Future for OriginFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError> + 'static,
{
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Called { future, target } => {
                let result = ready!(future.poll(cx));
                Poll::Ready(result.map_err(|error| failed(error, target.as_deref())))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn written(address: &str, uri: &str) -> String {
        let address: Address = address.parse().unwrap();
        let target = Target::new(&"a".into(), &address);
        target.uri_of(&uri.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn paths_are_joined_by_one_slash() {
        for (address, uri, expected) in [
            ("http://a:1", "/v1?x=1", "http://a:1/v1?x=1"),
            ("http://a:1/", "/v1", "http://a:1/v1"),
            ("http://a:1/api", "/v1?x=/", "http://a:1/api/v1?x=/"),
            ("http://a:1/api/", "/v1", "http://a:1/api/v1"),
            ("http://a:1/api/", "/", "http://a:1/api/"),
            ("https://a", "http://logical:9/v1", "https://a/v1"),
            ("[::1]:80", "/v1", "http://[::1]:80/v1"),
            ("http://a:1/api", "a:443", "http://a:1/api"),
            ("http://a:1", "*", "http://a:1/"),
            ("http://a:1/api", "http://b?x=1", "http://a:1/api/?x=1"),
            ("http://a:1", "http://b?x=1", "http://a:1/?x=1"),
        ] {
            assert_eq!(written(address, uri), expected, "{address} {uri}");
        }
    }

    #[test]
    fn a_socket_has_no_origin() {
        let address: Address = "unix:/run/a.sock".parse().unwrap();
        let error = Target::new(&"a".into(), &address).uri_of(&Uri::from_static("/")).unwrap_err();
        assert!(error.is_unsent() && error.kind() == Kind::InvalidConfig);
    }
}
