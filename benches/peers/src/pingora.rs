//! pingora's load balancer, which chooses an address; whoever calls has to find what is there.

use std::{
    hint::black_box,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::FutureExt;
pub(crate) use pingora_load_balancing::selection::{Random, RoundRobin};
use pingora_load_balancing::{
    Backend, Backends, LoadBalancer,
    discovery::Static,
    selection::{BackendIter, BackendSelection},
};
use tower::Service;

/// Calls the same service whatever is chosen, so that finding it costs nothing.
pub(crate) struct Pingora<S, A: BackendSelection> {
    inner: S,
    balancer: Arc<LoadBalancer<A>>,
}

impl<S, A> Pingora<S, A>
where
    A: BackendSelection<Iter: BackendIter> + 'static,
{
    pub(crate) fn new(inner: S, members: usize, weight: fn(usize) -> u32) -> Self {
        let backend = |member| {
            let address = format!("10.{}.{}.1:80", member / 256, member % 256);
            Backend::new_with_weight(&address, weight(member) as usize).expect("an address")
        };
        let backends = Backends::new(Static::new((0..members).map(backend).collect()));
        let balancer = LoadBalancer::from_backends(backends);
        balancer.update().now_or_never().expect("a fixed list is there").expect("a fixed list");
        Self { inner, balancer: Arc::new(balancer) }
    }
}

// Not derived, since the algorithm need not be `Clone`.
impl<S: Clone, A: BackendSelection> Clone for Pingora<S, A> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), balancer: self.balancer.clone() }
    }
}

impl<S, A, Req> Service<Req> for Pingora<S, A>
where
    S: Service<Req>,
    A: BackendSelection<Iter: BackendIter> + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> S::Future {
        let chosen = self.balancer.select(b"", TRIES).expect("all are healthy");
        black_box(chosen);
        self.inner.call(request)
    }
}

/// Of addresses that are not healthy, before it gives up.
const TRIES: usize = 16;
