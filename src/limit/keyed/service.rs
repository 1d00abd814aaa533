use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::keys::Keys;
use crate::{
    choose::{Choose, Chooses, Tried},
    connect::Connect,
    error::{BoxError, Error},
    guard::{Avoiding, Hedging, Pass, Plain, ResponseFuture},
    key::Key,
    limit::rate::{Cost, PerCall},
    member::Member,
};

/// Service of a [`KeyedRateLimitLayer`](super::KeyedRateLimitLayer), and its connector below a balancer.
///
/// It reserves nothing: whether a call passes depends on its key, and is decided in `call`.
#[derive(Clone)]
pub struct KeyedRateLimit<S, K, C = PerCall> {
    inner: S,
    keys: Arc<Keys>,
    key: K,
    cost: C,
}

impl<S, K, C> KeyedRateLimit<S, K, C> {
    pub(super) fn new(inner: S, keys: Arc<Keys>, key: K, cost: C) -> Self {
        Self { inner, keys, key, cost }
    }

    /// Returns the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service for changing it. Calls made through it take no token.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }

    // Always: see `RateLimit`.
    #[inline(always)]
    fn pass<Req, P>(&mut self, request: Req, way: P) -> ResponseFuture<P::Future>
    where
        P: Pass<S, Req>,
        K: Key<Req>,
        C: Cost<Req>,
    {
        let hash = self.keys.hash_of(&self.key, &request);
        match self.keys.take(hash, self.cost.of(&request)) {
            Ok(()) => ResponseFuture::called(way.pass(&mut self.inner, request)),
            Err(refusal) => ResponseFuture::refused(refusal),
        }
    }
}

impl<S, K, C> Connect for KeyedRateLimit<S, K, C>
where
    S: Connect,
    K: Clone,
    C: Clone,
{
    type Service = KeyedRateLimit<S::Service, K, C>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let inner = self.inner.connect(member);
        KeyedRateLimit::new(inner, self.keys.clone(), self.key.clone(), self.cost.clone())
    }

    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

impl<S, Req, K, C> Service<Req> for KeyedRateLimit<S, K, C>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
    K: Key<Req>,
    C: Cost<Req>,
{
    type Response = S::Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future>;

    /// Polls the inner service.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_service)
    }

    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        self.pass(request, Plain)
    }
}

impl<S, Req, K, C> Choose<Req> for KeyedRateLimit<S, K, C>
where
    S: Choose<Req>,
    S::Error: Into<BoxError> + 'static,
    K: Key<Req>,
    C: Cost<Req>,
{
    type Choosing = ResponseFuture<S::Choosing>;

    fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
        self.pass(request, Avoiding(tried))
    }

    fn call_hedging(&mut self, request: Req, tried: &Tried) -> Option<Self::Choosing> {
        self.pass(request, Hedging(tried)).hedge()
    }
}

impl<S: Chooses, K, C> Chooses for KeyedRateLimit<S, K, C> {
    inner_chooses!();
}

impl<S: fmt::Debug, K, C> fmt::Debug for KeyedRateLimit<S, K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimit")
            .field("inner", &self.inner)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}
