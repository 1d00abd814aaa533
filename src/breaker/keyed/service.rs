use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::keys::Keys;
use crate::{
    breaker::{
        AtResponse, ResponseFuture, Settle,
        circuit::{Circuit, Shared},
        future::Judging,
        permit::Permit,
    },
    choose::{Choose, Chooses, Tried},
    connect::Connect,
    error::{BoxError, Error},
    guard::{Avoiding, Hedging, Pass, Plain},
    key::Key,
    member::Member,
};

/// The service of a [`KeyedCircuitBreakerLayer`](super::KeyedCircuitBreakerLayer), and its connector.
///
/// Reserves nothing: whether a call passes depends on its key, so it is decided in `call`.
#[derive(Clone)]
pub struct KeyedCircuitBreaker<S, K, C = AtResponse> {
    inner: S,
    keys: Arc<Keys>,
    key: K,
    settle: C,
}

impl<S, K, C> KeyedCircuitBreaker<S, K, C> {
    pub(super) fn new(inner: S, keys: Arc<Keys>, key: K, settle: C) -> Self {
        Self { inner, keys, key, settle }
    }

    /// Returns the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service, to be changed. Calls made through it are not counted.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service alone.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, K, C: Clone> KeyedCircuitBreaker<S, K, C> {
    #[inline(always)]
    fn pass<Req, P>(&mut self, request: Req, way: P) -> ResponseFuture<P::Future, C>
    where
        K: Key<Req>,
        P: Pass<S, Req>,
    {
        let shared = self.keys.get(&self.key, &request);
        let settle = self.settle.clone();
        match Circuit::admit(&shared) {
            Some(ticket) => {
                let permit = Permit::new(&shared, ticket);
                let (inner, permit) = permit.call(|| way.pass(&mut self.inner, request));
                ResponseFuture::holding(Judging::new(permit, settle), inner)
            }
            None => ResponseFuture::refused_with(Judging::nothing(settle), refusal(&shared)),
        }
    }
}

#[inline(never)]
fn refusal(shared: &Shared) -> Error {
    shared.local().count_refused();
    shared.core().refusal()
}

impl<S, K, C, Req> Service<Req> for KeyedCircuitBreaker<S, K, C>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
    K: Key<Req>,
    C: Settle<S::Response, S::Error> + Clone,
{
    type Response = C::Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future, C>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_service)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.pass(request, Plain)
    }
}

impl<S: Connect, K: Clone, C: Clone> Connect for KeyedCircuitBreaker<S, K, C> {
    type Service = KeyedCircuitBreaker<S::Service, K, C>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let inner = self.inner.connect(member);
        KeyedCircuitBreaker::new(inner, self.keys.clone(), self.key.clone(), self.settle.clone())
    }

    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

impl<S: Chooses, K, C> Chooses for KeyedCircuitBreaker<S, K, C> {
    inner_chooses!();
}

impl<S, K, C, Req> Choose<Req> for KeyedCircuitBreaker<S, K, C>
where
    S: Choose<Req>,
    S::Error: Into<BoxError> + 'static,
    K: Key<Req>,
    C: Settle<S::Response, S::Error> + Clone,
{
    type Choosing = ResponseFuture<S::Choosing, C>;

    fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
        self.pass(request, Avoiding(tried))
    }

    fn call_hedging(&mut self, request: Req, tried: &Tried) -> Option<Self::Choosing> {
        self.pass(request, Hedging(tried)).hedge()
    }
}

impl<S: fmt::Debug, K, C> fmt::Debug for KeyedCircuitBreaker<S, K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuitBreaker")
            .field("inner", &self.inner)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}
