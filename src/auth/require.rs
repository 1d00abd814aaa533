use std::{
    fmt,
    future::{Ready, ready as at_once},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    credentials::{Credentials, Way},
    proof::Shown,
    refusal::Refusal,
};
use crate::wire;

/// Lets in only requests that prove one of a list of [`Credentials`].
///
/// For the serving side: around [`serve::http`](crate::serve::http()), `serve::grpc`, a router of axum or tonic, or
/// any HTTP service. Each plugin has a layer of its own, with its own list: one for each caller, and two of one caller while they change. An
/// empty list lets nothing in, [`Credentials::none`] everything, and credentials that cannot be sent, such
/// as an empty token, are never proven. Comparing takes the same time, whatever is wrong.
///
/// | request | response | over gRPC |
/// |---|---|---|
/// | proves one of the list | that of the inner service | the same |
/// | proves one of [`forbidding`](Self::forbidding) | 403 | `PERMISSION_DENIED` |
/// | another | 401 with a `WWW-Authenticate` for each method of the list (RFC 9110 §15.5.2), or 403 if no header can prove one | `UNAUTHENTICATED`, or `PERMISSION_DENIED` likewise |
///
/// Neither says which part was wrong. The body of the request is not read. A request is one of gRPC by its
/// `content-type`; then [`Credentials::basic`] is also proven by `x-username` and `x-password`, which the Go
/// plugin manager and a [`GrpcTransport`](crate::transport) send.
///
/// [`Credentials::mtls`] is proven by [`ClientCertified`] among the extensions of a request, which
/// [`HttpServer`](crate::serve::HttpServer) adds for a connection with a client certificate that it
/// verified.
///
/// # Differences from tower-http's
/// `ValidateRequestHeaderLayer` compares with `==`, which may end at the first byte that differs, and takes
/// one token. Its challenge is fixed.
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, service_fn};
/// use tower_upstream::{Call, Reply, auth::{Credentials, RequireAuthLayer}, serve};
///
/// let plugin = service_fn(|call: Call<u64>| async move {
///     Ok::<_, std::io::Error>(Reply::new(call.body() * 2))
/// });
/// let served = ServiceBuilder::new()
///     .layer(RequireAuthLayer::new([Credentials::bearer("new"), Credentials::bearer("old")]))
///     .service(serve::http(plugin));
/// # let _: axum::Router = axum::Router::new().fallback_service(served);
/// ```
#[derive(Debug, Clone)]
pub struct RequireAuthLayer {
    rules: Arc<ArcSwap<Rules>>,
}

#[derive(Debug, Clone)]
struct Rules {
    accepted: Vec<Credentials>,
    forbidden: Vec<Credentials>,
    challenges: Vec<HeaderValue>,
}

/// Extension of a request whose connection showed a client certificate that the server verified.
///
/// A server of your own that requires client certificates adds it for [`Credentials::mtls`].
///
/// ```
/// use tower_upstream::auth::ClientCertified;
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(ClientCertified);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientCertified;

impl RequireAuthLayer {
    /// Creates a layer that lets in requests which prove one of `accepted`.
    ///
    /// ```
    /// use tower_upstream::auth::{Credentials, RequireAuthLayer};
    /// let layer = RequireAuthLayer::new([Credentials::api_key("k-17")]);
    /// # let _ = layer;
    /// ```
    pub fn new(accepted: impl IntoIterator<Item = Credentials>) -> Self {
        let rules = Rules::new(accepted.into_iter().collect(), Vec::new());
        Self { rules: Arc::new(ArcSwap::from_pointee(rules)) }
    }

    /// Sets credentials that are right elsewhere, such as those of other plugins of this program: a request
    /// that proves one is answered with 403 rather than 401. Default: none.
    ///
    /// ```
    /// use tower_upstream::auth::{Credentials, RequireAuthLayer};
    /// let layer = RequireAuthLayer::new([Credentials::bearer("admin")])
    ///     .forbidding([Credentials::bearer("guest")]);
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn forbidding(self, credentials: impl IntoIterator<Item = Credentials>) -> Self {
        let rules = Rules { forbidden: credentials.into_iter().collect(), ..self.rules() };
        Self { rules: Arc::new(ArcSwap::from_pointee(rules)) }
    }

    /// Replaces the list of this layer, its clones and its services. Requests that were let in are not
    /// affected.
    ///
    /// ```
    /// use tower_upstream::auth::{Credentials, RequireAuthLayer};
    /// let layer = RequireAuthLayer::new([Credentials::bearer("old")]);
    /// layer.update([Credentials::bearer("new"), Credentials::bearer("old")]);
    /// ```
    pub fn update(&self, accepted: impl IntoIterator<Item = Credentials>) {
        let forbidden = self.rules().forbidden;
        self.rules.store(Arc::new(Rules::new(accepted.into_iter().collect(), forbidden)));
    }

    fn rules(&self) -> Rules {
        Rules::clone(&self.rules.load())
    }
}

impl Rules {
    fn new(accepted: Vec<Credentials>, forbidden: Vec<Credentials>) -> Self {
        let mut challenges: Vec<_> = accepted.iter().filter_map(challenge).collect();
        challenges.sort_unstable();
        challenges.dedup();
        let challenges = challenges.into_iter().map(HeaderValue::from_static).collect();
        Self { accepted, forbidden, challenges }
    }

    /// Why a request is not let in, if it is not.
    fn refusal(&self, shown: &Shown<'_>) -> Option<Refusal> {
        if shown.proves_one_of(&self.accepted) {
            None
        } else if self.challenges.is_empty() || shown.proves_one_of(&self.forbidden) {
            Some(Refusal::Forbidden)
        } else {
            Some(Refusal::NotAuthorized)
        }
    }
}

/// What a caller is asked for. There is no registered scheme for keys in headers.
fn challenge(credentials: &Credentials) -> Option<&'static str> {
    match credentials.way() {
        Way::Bearer(_) => Some(r#"Bearer realm="plugin""#),
        Way::Basic { .. } => Some(r#"Basic realm="plugin", charset="UTF-8""#),
        Way::ApiKey(_) => Some(r#"ApiKey realm="plugin", header="X-Api-Key""#),
        Way::Headers => Some(r#"Custom realm="plugin""#),
        Way::None | Way::Mtls => None,
    }
}

impl<S> Layer<S> for RequireAuthLayer {
    type Service = RequireAuth<S>;

    fn layer(&self, inner: S) -> RequireAuth<S> {
        RequireAuth { inner, rules: self.rules.clone() }
    }
}

/// Service of a [`RequireAuthLayer`].
///
/// ```
/// use tower::Layer;
/// use tower_upstream::auth::{RequireAuth, RequireAuthLayer};
/// let guarded: RequireAuth<u8> = RequireAuthLayer::new([]).layer(7);
/// assert_eq!(guarded.into_inner(), 7);
/// ```
#[derive(Clone)]
pub struct RequireAuth<S> {
    inner: S,
    rules: Arc<ArcSwap<Rules>>,
}

impl<S> RequireAuth<S> {
    inner_service!();
}

impl<S, B, R> Service<Request<B>> for RequireAuth<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = RequireAuthFuture<S::Future, R, S::Error>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let rules = self.rules.load();
        let certified = request.extensions().get::<ClientCertified>().is_some();
        let (headers, over_grpc) = (request.headers(), wire::is_grpc(request.headers()));
        let state = match rules.refusal(&Shown { headers, certified, over_grpc }) {
            None => State::Called { future: self.inner.call(request) },
            Some(refusal) => State::Refused {
                response: at_once(Ok(match over_grpc {
                    true => refusal.over_grpc(headers),
                    false => refusal.over_http(&rules.challenges),
                })),
            },
        };
        RequireAuthFuture { state }
    }
}

impl<S: fmt::Debug> fmt::Debug for RequireAuth<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireAuth")
            .field("inner", &self.inner)
            .field("rules", &self.rules.load())
            .finish()
    }
}

pin_project! {
    /// Future of a response of a [`RequireAuth`].
    ///
    /// # Cancel safety
    /// Dropping it drops the inner call.
    #[must_use = "futures do nothing unless polled"]
    pub struct RequireAuthFuture<F, R, E> {
        #[pin]
        state: State<F, R, E>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, R, E> {
        // It was let in.
        Called { #[pin] future: F },
        // It was not.
        Refused { #[pin] response: Ready<Result<Response<R>, E>> },
    }
}

impl<F, R, E> Future for RequireAuthFuture<F, R, E>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project().state.project() {
            StateProj::Called { future } => future.poll(cx),
            StateProj::Refused { response } => response.poll(cx),
        }
    }
}

impl<F, R, E> fmt::Debug for RequireAuthFuture<F, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireAuthFuture").finish_non_exhaustive()
    }
}
