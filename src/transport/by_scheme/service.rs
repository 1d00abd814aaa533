use std::{
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    error::{BoxError, Error},
    guard::{Hold, ResponseFuture},
    plugin::{HealthStatus, PluginHealth},
};

/// Service of one endpoint of a [`ByScheme`](super::ByScheme): that of its connector, or an error if there
/// is none for its scheme.
///
/// # Cancel safety
/// Dropping the response drops that of the service inside.
///
/// # Example
/// ```
/// use tower_upstream::{
///     Endpoint, connect::Connect, connect_fn, member::Member,
///     transport::{ByScheme, BySchemeService},
/// };
/// let by_scheme = ByScheme::new(["tcp"], connect_fn(|_: &Endpoint| "a client"));
/// let member = Member::new("tcp://127.0.0.1:9000".parse::<Endpoint>()?);
/// let service: BySchemeService<&str> = by_scheme.connect(&member);
/// # let _ = service;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BySchemeService<S> {
    route: Result<S, Error>,
    judge: Judge,
}

/// Judges whether a call that failed was sent. A part of the response future of a [`BySchemeService`].
///
/// ```
/// use tower_upstream::{guard::ResponseFuture, transport::Judge};
/// type OfScheme<F> = ResponseFuture<F, Judge>;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Judge {
    /// The service is the client itself, so what its errors say by their type holds.
    is_client: bool,
}

impl<S> BySchemeService<S> {
    pub(super) fn new(route: Result<(S, bool), Error>) -> Self {
        let is_client = route.as_ref().is_ok_and(|&(_, is_client)| is_client);
        Self { route: route.map(|(service, _)| service), judge: Judge { is_client } }
    }

    /// For an endpoint to which there is no way.
    #[cfg(feature = "config")]
    pub(crate) fn refusing(error: Error) -> Self {
        Self::new(Err(error))
    }
}

impl Judge {
    #[cold]
    fn judged<E: Into<BoxError> + 'static>(self, error: E) -> Error {
        let error = Error::from_service(error);
        if self.is_client { error.confirm_unsent() } else { error.forget_unsent_by_type() }
    }
}

impl<T, E: Into<BoxError> + 'static> Hold<T, E> for Judge {
    type Response = T;

    #[inline]
    fn settle(&mut self, result: Result<T, E>) -> Result<T, Error> {
        result.map_err(|error| self.judged(error))
    }
}

impl<S, Req> Service<Req> for BySchemeService<S>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
{
    type Response = S::Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future, Judge>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.route {
            Ok(service) => service.poll_ready(cx).map_err(|error| self.judge.judged(error)),
            // It is the call that fails.
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        match &mut self.route {
            Ok(service) => ResponseFuture::holding(self.judge, service.call(request)),
            Err(error) => ResponseFuture::refused_with(self.judge, error.clone()),
        }
    }
}

/// The health of the service inside. Unhealthy, with the error, if there is none.
impl<S: PluginHealth + Sync> PluginHealth for BySchemeService<S> {
    async fn health(&self) -> HealthStatus {
        match &self.route {
            Ok(service) => service.health().await,
            Err(error) => HealthStatus::unhealthy(error.to_string()),
        }
    }
}

/// One of two services with the same response.
///
/// ```
/// use tower_upstream::transport::OneOf;
/// let service: OneOf<&str, u32> = OneOf::First("a client");
/// # let _ = service;
/// ```
#[derive(Debug, Clone)]
pub enum OneOf<A, B> {
    /// The first.
    First(A),
    /// The second.
    Second(B),
}

impl<A, B, Req> Service<Req> for OneOf<A, B>
where
    A: Service<Req>,
    A::Error: Into<BoxError> + 'static,
    B: Service<Req, Response = A::Response>,
    B::Error: Into<BoxError> + 'static,
{
    type Response = A::Response;
    type Error = Error;
    type Future = OneOfFuture<A::Future, B::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Self::First(first) => first.poll_ready(cx).map_err(Error::from_service),
            Self::Second(second) => second.poll_ready(cx).map_err(Error::from_service),
        }
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        match self {
            Self::First(first) => OneOfFuture::First { future: first.call(request) },
            Self::Second(second) => OneOfFuture::Second { future: second.call(request) },
        }
    }
}

impl<A: PluginHealth + Sync, B: PluginHealth + Sync> PluginHealth for OneOf<A, B> {
    async fn health(&self) -> HealthStatus {
        match self {
            Self::First(first) => first.health().await,
            Self::Second(second) => second.health().await,
        }
    }
}

pin_project! {
    /// Response of a [`OneOf`].
    ///
    /// ```
    /// use std::future::{Ready, ready};
    /// use tower_upstream::{BoxError, transport::OneOfFuture};
    ///
    /// type Answer = Ready<Result<u32, BoxError>>;
    /// let future: OneOfFuture<Answer, Answer> = OneOfFuture::First { future: ready(Ok(7)) };
    /// # let _ = future;
    /// ```
    #[project = OneOfProj]
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    #[allow(missing_docs, reason = "the fields are the futures themselves")]
    pub enum OneOfFuture<A, B> {
        /// Of the first.
        First { #[pin] future: A },
        /// Of the second.
        Second { #[pin] future: B },
    }
}

impl<A, B, T, E, G> Future for OneOfFuture<A, B>
where
    A: Future<Output = Result<T, E>>,
    B: Future<Output = Result<T, G>>,
    E: Into<BoxError> + 'static,
    G: Into<BoxError> + 'static,
{
    type Output = Result<T, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            OneOfProj::First { future } => future.poll(cx).map_err(Error::from_service),
            OneOfProj::Second { future } => future.poll(cx).map_err(Error::from_service),
        }
    }
}
