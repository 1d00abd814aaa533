use std::{
    fmt,
    task::{Context, Poll},
    time::Duration,
};

use tower_layer::Layer;
use tower_service::Service;

use crate::{config::Sections, plugin::Call};

/// Gives each call what its plugin says of calls: a deadline, if it has none, and that it may be sent twice.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{BoxError, Call, config::Sections, plugins::TermsLayer};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let sections = Sections::default().with_timeout(Duration::from_secs(5));
/// let service = ServiceBuilder::new()
///     .layer(TermsLayer::new(&sections))
///     .service(service_fn(async |call: Call<()>| Ok::<_, BoxError>(call.timeout())));
/// assert_eq!(service.oneshot(Call::new(())).await?, Some(Duration::from_secs(5)));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct TermsLayer {
    /// Zero is none.
    timeout: Duration,
    idempotent: bool,
}

impl TermsLayer {
    /// Creates a layer by the sections of a plugin: its `timeout`, and `idempotent` of its `retry`.
    pub fn new(sections: &Sections) -> Self {
        Self { timeout: sections.timeout, idempotent: sections.retry.idempotent }
    }
}

impl<S> Layer<S> for TermsLayer {
    type Service = Terms<S>;

    fn layer(&self, inner: S) -> Terms<S> {
        Terms { inner, terms: *self }
    }
}

/// Service of a [`TermsLayer`].
///
/// # Cancel safety
/// The response is that of the inner service.
///
/// ```
/// use tower::Layer;
/// use tower_upstream::{config::Sections, plugins::{Terms, TermsLayer}};
/// let service: Terms<&str> = TermsLayer::new(&Sections::default()).layer("a service");
/// assert_eq!(*service.get_ref(), "a service");
/// ```
#[derive(Clone)]
pub struct Terms<S> {
    inner: S,
    terms: TermsLayer,
}

impl<S> Terms<S> {
    inner_service!();
}

impl<S: Service<Call<Req>>, Req> Service<Call<Req>> for Terms<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut call: Call<Req>) -> S::Future {
        let TermsLayer { timeout, idempotent } = self.terms;
        if !timeout.is_zero() && call.deadline().is_none() {
            call = call.with_timeout(timeout);
        }
        if idempotent {
            call = call.idempotent();
        }
        self.inner.call(call)
    }
}

impl<S: fmt::Debug> fmt::Debug for Terms<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms").field("inner", &self.inner).field("terms", &self.terms).finish()
    }
}
