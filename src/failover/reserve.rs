//! What a call takes along for the case that it fails.

use std::sync::Arc;

use crate::{
    course::{LiveAttempts, Plan},
    sync::Lease,
};

/// Whatever another attempt needs.
pub(super) struct Reserve<S, R, C> {
    pub(super) live: Arc<LiveAttempts>,
    pub(super) plan: Arc<Plan<R, C>>,
    /// Never made ready or called itself: the next attempt is made by a clone.
    pub(super) service: S,
}

/// A [`Reserve`], as a call holds it.
pub(super) type InReserve<S, R, C> = Arc<Lease<Reserve<S, R, C>, ()>>;
