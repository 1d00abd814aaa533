//! What a request and its answer know of their session: an extension of the request.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::keys::Token;

/// Copies of a request share it.
#[derive(Clone)]
pub(super) struct Slot {
    pub(super) token: Option<Token>,
    /// Of which layer it is: it means nothing to another one.
    pub(super) of: usize,
    bound: Arc<Bound>,
}

#[derive(Default)]
struct Bound {
    is_set: AtomicBool,
    home: AtomicU64,
}

impl Slot {
    pub(super) fn new(of: usize, token: Option<Token>) -> Self {
        Self { token, of, bound: Arc::default() }
    }

    /// An endpoint of this name has answered.
    pub(super) fn bind(&self, home: u64) {
        self.bound.home.store(home, Ordering::Relaxed);
        // Release, with the Acquire of `bound`: that it is set tells what to.
        self.bound.is_set.store(true, Ordering::Release);
    }

    pub(super) fn bound(&self) -> Option<u64> {
        let is_set = self.bound.is_set.load(Ordering::Acquire);
        is_set.then(|| self.bound.home.load(Ordering::Relaxed))
    }
}
