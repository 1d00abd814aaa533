//! pingora's ring, which chooses an address; whoever calls has to find what is there.

use std::{
    hint::black_box,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use pingora_ketama::{Bucket, Continuum};
use tower::Service;

/// Calls the same service whatever is chosen, so that finding it costs nothing.
#[derive(Clone)]
pub(crate) struct Ketama<S> {
    inner: S,
    ring: Arc<Continuum>,
    key: fn(&u64) -> u128,
}

impl<S> Ketama<S> {
    pub(crate) fn new(inner: S, members: usize, key: fn(&u64) -> u128) -> Self {
        let bucket = |member: usize| {
            let host = [10, (member / 256) as u8, (member % 256) as u8, 1];
            Bucket::new(SocketAddr::from((host, 80)), 1)
        };
        let buckets: Vec<_> = (0..members).map(bucket).collect();
        Self { inner, ring: Arc::new(Continuum::new(&buckets)), key }
    }
}

impl<S: Service<u64>> Service<u64> for Ketama<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: u64) -> S::Future {
        let key = (self.key)(&request).to_ne_bytes();
        black_box(self.ring.node(&key).expect("there are some"));
        self.inner.call(request)
    }
}
