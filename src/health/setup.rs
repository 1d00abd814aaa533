//! What a layer value is given beside its config.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::check::Checks;
use crate::telemetry::Events;

/// A fresh layer keeps it, and all targets share it.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) checks: Checks,
    pub(super) name: Option<Arc<str>>,
    pub(super) events: Option<Events>,
    /// Of the times of checks.
    pub(super) seed: Option<u64>,
    /// Where the checks run; `None` is the runtime of the call that starts them.
    pub(super) runtime: Option<Handle>,
}

impl Setup {
    pub(super) fn new(checks: Checks) -> Self {
        Self { checks, name: None, events: None, seed: None, runtime: None }
    }
}
