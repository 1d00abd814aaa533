//! What a call waits for: endpoints, and times.

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio::time::{Sleep, sleep_until};

use super::{
    group::{Choice, Connected},
    probation::Probe,
};
use crate::time::{self, Instant};

/// An endpoint that a call waits for.
pub(super) struct Contender<S> {
    pub(super) connected: Arc<Connected<S>>,
    /// If it is on probation: the place of this call.
    pub(super) probe: Option<Probe>,
    /// A clone of the one that is shared.
    pub(super) service: S,
    /// It said it is dead.
    pub(super) dead: bool,
}

impl<S> Contender<S> {
    pub(super) fn new(Choice { connected, probe }: Choice<S>, service: S) -> Self {
        Self { connected, probe, service, dead: false }
    }

    /// Whether it has no token until after `end`.
    pub(super) fn is_spent_beyond(&self, end: Instant) -> bool {
        self.connected.member.spent_until().is_some_and(|at| at > end)
    }
}

/// Until when a call waits for those that it waits for, and at all.
pub(super) struct Timers {
    pub(super) widen: Pin<Box<Sleep>>,
    pub(super) end: Pin<Box<Sleep>>,
    /// The setting that `end` was made of.
    pub(super) fail_fast_after: Duration,
}

impl Timers {
    pub(super) fn new(widen_after: Duration, fail_fast_after: Duration) -> Self {
        let start = time::now();
        let sleep = |after| Box::pin(sleep_until(time::later(start, after)));
        Self { widen: sleep(widen_after), end: sleep(fail_fast_after), fail_fast_after }
    }
}
