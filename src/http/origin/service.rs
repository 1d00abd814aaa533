use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    body::OriginBody,
    future::{OriginFuture, named},
    layer::OriginLayer,
    target::Target,
    upstream::Upstream,
};
use crate::{
    connect::Connect,
    error::{BoxError, Error},
    http::connection::Moment,
    member::Member,
};

impl<S> Layer<S> for OriginLayer {
    type Service = Origin<S>;

    fn layer(&self, inner: S) -> Origin<S> {
        Origin { inner, upstream: Arc::default(), preserve_host: self.preserve_host }
    }
}

/// Connector and service of an [`OriginLayer`].
#[derive(Debug, Clone)]
pub struct Origin<S> {
    inner: S,
    upstream: Arc<Upstream>,
    preserve_host: bool,
}

impl<S> Origin<S> {
    inner_service!();
}

impl<C: Connect> Connect for Origin<C> {
    type Service = Origin<C::Service>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let (endpoint, preserve_host) = (member.endpoint(), self.preserve_host);
        let inner = self.inner.connect(member);
        let target = Target::new(member.shared_key(), endpoint.address(), preserve_host);
        let target = target.over_client(self.inner.is_known_client());
        Origin { inner, upstream: Arc::new(Upstream::new(target)), preserve_host }
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
                return OriginFuture::unsent(error.at_endpoint(&target.key));
            }
        }
        let begun = Moment::now();
        OriginFuture::called(self.inner.call(request), self.upstream.clone(), begun)
    }
}
