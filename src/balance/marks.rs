//! What is left to do at the end of a call for which there is more than for most.

use std::sync::Arc;

use super::{
    explain::Told, group::Connected, probation::Probe, set::Set, snapshot::Snapshot, strategy::Pick,
};
use crate::{
    choose::Tried,
    decision::{Decision, Regime},
    error::Error,
    member::Member,
    outcome::Classify,
    rules::CallEnd,
    session::Binding,
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
    binding: Binding,
    reporter: Reporter,
    endpoint: Arc<str>,
}

impl Marks {
    /// Of a call that is made to `connected` now.
    pub(super) fn of<S, P, Req>(
        set: &Set<S, P>,
        connected: &Connected<S>,
        request: &Req,
        probe: Option<Probe>,
        told: Told,
        tried: &Tried,
    ) -> Self
    where
        P: Pick<Req>,
    {
        let member = &connected.member;
        let snapshot = set.snapshot.load();
        let binding = Bound::of(set, &snapshot, member, request);
        let beside = probe.is_some().then_some(Regime::Probation);
        let decision = told.map(|told| snapshot.decide(*told, Some(member), tried, beside));
        Self { binding, decision, probe }
    }

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
        Bound::settle(self.binding.take(), ended, answer.is_ok());
        match answer {
            Ok(mut answer) => {
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
    /// Of a call that is made to `member` now; `None` if there is nothing to remember.
    pub(super) fn of<S, P, Req>(
        set: &Set<S, P>,
        snapshot: &Snapshot<S, P::Table>,
        member: &Arc<Member>,
        request: &Req,
    ) -> Option<Self>
    where
        P: Pick<Req>,
    {
        let home = set.strategy.home(&snapshot.sole.table, request);
        let is_home = home.is_some_and(|home| Arc::ptr_eq(home, member));
        let binding = set.strategy.bind(request, member, is_home)?;
        let (reporter, endpoint) = (set.reporter.clone(), member.shared_key().clone());
        Some(Self { binding, reporter, endpoint })
    }

    /// The call has `ended`. No session is to belong to an endpoint that failed, whatever that said; an error may
    /// be the answer of one that did its work.
    pub(super) fn settle(this: Option<Self>, ended: Option<CallEnd>, is_ok: bool) {
        let Some(this) = this else { return };
        let has_answered = match ended {
            Some(CallEnd::Failed | CallEnd::Throttled) => false,
            Some(CallEnd::Succeeded) => true,
            Some(CallEnd::Ignored) | None => is_ok,
        };
        if has_answered && this.binding.answered() {
            this.reporter.emit(Some(&this.endpoint), || EventKind::SessionMoved);
        }
    }
}
