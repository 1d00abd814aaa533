//! Why a call that waits is given up.

use std::{sync::Arc, time::Duration};

use super::{explain::Choices, snapshot::Snapshot, strategy::Strategy, waiting::Waiting};
use crate::{
    decision::Decision,
    error::{Error, Kind},
    time::{self, Instant},
};

impl<S, P: Strategy, Req> Waiting<S, P, Req> {
    #[cold]
    pub(super) fn too_late(
        &mut self,
        snapshot: &Snapshot<S, P::Table>,
        fail_fast_after: Duration,
    ) -> Error {
        // Spent at any time of this wait: it waited for tokens, and others got them.
        let start = self
            .timers
            .as_ref()
            .and_then(|timers| timers.end.deadline().checked_sub(fail_fast_after));
        if let Some(free_at) = start.and_then(|start| snapshot.all_spent(start)) {
            return self.spent(free_at);
        }
        let error = if !snapshot.has_candidates() {
            self.set.explained(snapshot.refusal.clone())
        } else {
            let what = match self.contenders.len() {
                0 => "all endpoints were busy for".to_owned(),
                tried => format!("none of {tried} endpoints got ready within"),
            };
            let message = format!("{what} `fail_fast_after`, {fail_fast_after:?}");
            self.set.refusal(Kind::AllEndpointsDown).message(message)
        };
        self.with_cause(error)
    }

    /// Every endpoint is spent by its own rate limit, until `free_at` at the earliest.
    #[cold]
    pub(super) fn spent(&mut self, free_at: Instant) -> Error {
        let now = time::now();
        let wait = free_at.saturating_duration_since(now);
        let refusal = self.set.refusal(Kind::RateLimited).retry_in(now, wait);
        self.with_cause(refusal.message("every endpoint is spent by its own rate limit"))
    }

    /// The same error, with why there was none to choose, if the call is explained.
    pub(super) fn decided(&self, error: Error) -> Error {
        match self.decision() {
            Some(decision) => error.decided(decision),
            None => error,
        }
    }

    /// Why the call has gone to none, if it is explained.
    #[cold]
    pub(super) fn decision(&self) -> Option<Arc<Decision>> {
        let told = Choices::clone(self.told.as_deref()?);
        Some(self.set.snapshot.load().decide(told, None, &self.tried, None))
    }

    pub(super) fn with_cause(&mut self, error: Error) -> Error {
        match self.last_error.take() {
            Some(cause) => error.caused_by(cause),
            None => error,
        }
    }
}
