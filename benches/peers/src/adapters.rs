//! The peers that are no layers, as thin as can be: nothing boxed, nothing cloned but an `Arc`.

use std::{
    future::Future,
    hash::Hash,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use failsafe::{
    FailurePolicy, StateMachine, futures::CircuitBreaker as _, futures::ResponseFuture,
};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use pin_project_lite::pin_project;
use recloser::{AnyError, AsyncRecloser, Recloser as Circuit, RecloserFuture};
use tower::Service;

pub(crate) struct Failsafe<S, P> {
    inner: S,
    circuit: StateMachine<P, ()>,
}

impl<S, P: FailurePolicy> Failsafe<S, P> {
    pub(crate) fn new(inner: S, policy: P) -> Self {
        let circuit = failsafe::Config::new().failure_policy(policy).build();
        Self { inner, circuit }
    }
}

// Not derived, since the policy need not be `Clone`.
impl<S: Clone, P> Clone for Failsafe<S, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), circuit: self.circuit.clone() }
    }
}

impl<S, P, Req> Service<Req> for Failsafe<S, P>
where
    S: Service<Req>,
    P: FailurePolicy + Send + Sync,
{
    type Response = S::Response;
    type Error = failsafe::Error<S::Error>;
    type Future = ResponseFuture<S::Future, P, (), failsafe::Any>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(failsafe::Error::Inner)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.circuit.call(self.inner.call(request))
    }
}

#[derive(Clone)]
pub(crate) struct Recloser<S> {
    inner: S,
    circuit: AsyncRecloser,
}

impl<S> Recloser<S> {
    pub(crate) fn new(inner: S, circuit: Circuit) -> Self {
        Self { inner, circuit: circuit.into() }
    }
}

impl<S: Service<Req>, Req> Service<Req> for Recloser<S> {
    type Response = S::Response;
    type Error = recloser::Error<S::Error>;
    type Future = RecloserFuture<S::Future, AnyError>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(recloser::Error::Inner)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.circuit.call(self.inner.call(request))
    }
}

/// What a limit says: no, or what the inner service says.
#[derive(Debug)]
pub(crate) enum Limited<E> {
    No,
    #[allow(dead_code, reason = "an error has a cause, even if nobody reads it here")]
    Inner(E),
}

pin_project! {
    #[project = LimitedProj]
    pub(crate) enum LimitedFuture<F> {
        Called { #[pin] inner: F },
        Refused,
    }
}

impl<F, T, E> Future for LimitedFuture<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, Limited<E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            LimitedProj::Called { inner } => inner.poll(cx).map_err(Limited::Inner),
            LimitedProj::Refused => Poll::Ready(Err(Limited::No)),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Governor<S> {
    inner: S,
    limiter: Arc<DefaultDirectRateLimiter>,
}

impl<S> Governor<S> {
    pub(crate) fn new(inner: S, quota: Quota) -> Self {
        Self { inner, limiter: Arc::new(RateLimiter::direct(quota)) }
    }
}

impl<S: Service<Req>, Req> Service<Req> for Governor<S> {
    type Response = S::Response;
    type Error = Limited<S::Error>;
    type Future = LimitedFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Limited::Inner)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        match self.limiter.check() {
            Ok(()) => LimitedFuture::Called { inner: self.inner.call(request) },
            Err(_) => LimitedFuture::Refused,
        }
    }
}

/// The request is its own key.
#[derive(Clone)]
pub(crate) struct KeyedGovernor<S, K: Hash + Eq + Clone> {
    inner: S,
    limiter: Arc<DefaultKeyedRateLimiter<K>>,
}

impl<S, K: Hash + Eq + Clone> KeyedGovernor<S, K> {
    pub(crate) fn new(inner: S, quota: Quota) -> Self {
        Self { inner, limiter: Arc::new(RateLimiter::keyed(quota)) }
    }
}

impl<S, K> Service<K> for KeyedGovernor<S, K>
where
    S: Service<K>,
    K: Hash + Eq + Clone,
{
    type Response = S::Response;
    type Error = Limited<S::Error>;
    type Future = LimitedFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Limited::Inner)
    }

    #[inline]
    fn call(&mut self, key: K) -> Self::Future {
        match self.limiter.check_key(&key) {
            Ok(()) => LimitedFuture::Called { inner: self.inner.call(key) },
            Err(_) => LimitedFuture::Refused,
        }
    }
}
