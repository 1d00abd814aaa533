use std::fmt;

use super::{permit::Permit, settle::Settle};
use crate::{
    error::{BoxError, Error},
    guard::{self, Hold},
};

/// Response future of a [`CircuitBreaker`](super::CircuitBreaker).
///
/// # Cancel safety
/// Dropped before it finishes, it gives a half-open place back, and counts as
/// [`CircuitBreakerConfig::cancelled`](super::CircuitBreakerConfig::cancelled) says.
pub type ResponseFuture<F, C> = guard::ResponseFuture<F, Judging<C>>;

/// Permit of one call, and how its end is judged. Held by a [`ResponseFuture`].
pub struct Judging<C> {
    permit: Permit,
    settle: C,
}

impl<C> Judging<C> {
    #[inline]
    pub(super) fn new(permit: Permit, settle: C) -> Self {
        Self { permit, settle }
    }

    /// For a call that was refused.
    #[inline]
    pub(super) fn nothing(settle: C) -> Self {
        Self { permit: Permit::nothing(), settle }
    }
}

impl<C, Res, Err> Hold<Res, Err> for Judging<C>
where
    Err: Into<BoxError> + 'static,
    C: Settle<Res, Err>,
{
    type Response = C::Response;

    #[inline(always)]
    fn pends(&mut self) {
        self.permit.has_to_wait();
    }

    #[inline(always)]
    fn panicked(&mut self) {
        self.permit.panicked();
    }

    #[inline(always)]
    fn settle(&mut self, result: Result<Res, Err>) -> Result<C::Response, Error> {
        self.settle.settle(&mut self.permit, result).map_err(Error::from_service)
    }
}

impl<C> fmt::Debug for Judging<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.permit.fmt(f)
    }
}
