//! What a request and its answer know of their session: an extension of the request.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::{keys::Token, terms::Terms};
use crate::time;

/// Copies of a request share it.
#[derive(Clone)]
pub(super) struct Slot {
    pub(super) token: Option<Token>,
    /// Those of its layer: it means nothing to one of another cookie.
    pub(super) terms: Arc<Terms>,
    bound: Arc<Bound>,
}

#[derive(Default)]
struct Bound {
    is_set: AtomicBool,
    home: AtomicU64,
}

impl Slot {
    pub(super) fn new(terms: Arc<Terms>, token: Option<Token>) -> Self {
        Self { token, terms, bound: Arc::default() }
    }

    /// Whether the client keeps its cookie, which is of the endpoint that it comes to: not if another one has answered
    /// before, by which it would get a new one.
    pub(super) fn is_settled(&self) -> bool {
        let is_kept = |token| !self.terms.is_to_renew(token, time::unix());
        self.token.is_some_and(is_kept) && self.bound().is_none()
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
