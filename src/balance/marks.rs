//! What is left to do at the end of a call for which there is more than for most.

use std::sync::Arc;

use super::probation::Probe;
use crate::{
    decision::Decision, error::Error, outcome::Classify, rules::CallEnd, session::Binding,
    telemetry::{EventKind, Reporter},
};

/// Nearly every call has none of them.
#[derive(Default)]
pub(super) struct Marks {
    /// If the endpoint is on probation: the place of this call.
    pub(super) probe: Option<Probe>,
    /// If the endpoint is not the one that the session of the call is known to belong to.
    pub(super) binding: Option<Bound>,
    /// If the call is explained.
    pub(super) decision: Option<Arc<Decision>>,
}

/// What remembers the endpoint of a session, and where it is told of.
pub(super) struct Bound {
    pub(super) binding: Binding,
    pub(super) reporter: Reporter,
    pub(super) endpoint: Arc<str>,
}

impl Marks {
    pub(super) fn is_empty(&self) -> bool {
        self.probe.is_none() && self.binding.is_none() && self.decision.is_none()
    }

    /// The call has `ended` with `answer`.
    pub(super) fn settle<T, E, C>(
        &mut self,
        answer: Result<T, Error>,
        ended: Option<CallEnd>,
        classify: &C,
    ) -> Result<T, Error>
    where
        C: Classify<T, E>,
    {
        Probe::settle(self.probe.take(), ended);
        match answer {
            Ok(mut answer) => {
                if let Some(bound) = self.binding.take() {
                    bound.answered();
                }
                if let Some(decision) = self.decision.take() {
                    classify.explain(&mut answer, decision);
                }
                Ok(answer)
            }
            Err(error) => Err(match self.decision.take() {
                Some(decision) => error.decided(decision),
                None => error,
            }),
        }
    }
}

impl Bound {
    fn answered(self) {
        let moves = self.binding.moves();
        self.binding.answered();
        if moves {
            self.reporter.emit(Some(&self.endpoint), || EventKind::SessionMoved);
        }
    }
}
