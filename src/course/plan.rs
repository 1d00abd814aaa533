//! What all calls of a layer go by, apart from what may change while they run.

use std::{fmt, sync::Arc, time::Duration};

use super::attempts::Attempts;
use crate::{
    backoff,
    budget::{Budget, Cause},
    outcome::ErrIsFailure,
    replay::ByReplay,
    sync::RandomSource,
    telemetry::{Events, Reporter},
};

/// What the services of one layer value have in common.
#[derive(Debug, Clone)]
pub(crate) struct Plan<R, C> {
    pub(crate) budget: Budget,
    backoff: OwnBackoff,
    random: RandomSource,
    pub(super) reporter: Reporter,
    pub(crate) replay: R,
    pub(crate) classify: C,
}

/// The waits of a caller's own: of the number of a wait, from 1, and its cause.
#[derive(Clone, Default)]
struct OwnBackoff(Option<Arc<dyn Fn(u32, Cause) -> Duration + Send + Sync>>);

impl Default for Plan<ByReplay, ErrIsFailure> {
    fn default() -> Self {
        Self {
            budget: Budget::default(),
            backoff: OwnBackoff::default(),
            random: RandomSource::default(),
            reporter: Reporter::default(),
            replay: ByReplay,
            classify: ErrIsFailure,
        }
    }
}

impl<R, C> Plan<R, C> {
    pub(crate) fn with_budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    pub(crate) fn named(self, name: impl Into<Arc<str>>) -> Self {
        Self { reporter: self.reporter.named(name), ..self }
    }

    pub(crate) fn with_events(self, events: &Events) -> Self {
        Self { reporter: self.reporter.with_events(events), ..self }
    }

    pub(crate) fn with_backoff<F>(self, backoff: F) -> Self
    where
        F: Fn(u32, Cause) -> Duration + Send + Sync + 'static,
    {
        Self { backoff: OwnBackoff(Some(Arc::new(backoff))), ..self }
    }

    pub(crate) fn with_seed(self, seed: u64) -> Self {
        Self { random: RandomSource::of(Some(seed)), ..self }
    }

    pub(crate) fn with_replay<Q>(self, replay: Q) -> Plan<Q, C> {
        let Self { budget, backoff, random, reporter, classify, .. } = self;
        Plan { budget, backoff, random, reporter, replay, classify }
    }

    pub(crate) fn with_classify<D>(self, classify: D) -> Plan<R, D> {
        let Self { budget, backoff, random, reporter, replay, .. } = self;
        Plan { budget, backoff, random, reporter, replay, classify }
    }

    /// How long to wait for the `number`th time, from 1, if no endpoint asks for another wait.
    pub(super) fn wait(
        &self,
        attempts: &Attempts,
        number: u32,
        previous: Option<Duration>,
        cause: Cause,
    ) -> Duration {
        match &self.backoff.0 {
            Some(own) => backoff::sane(own(number, cause)),
            None => attempts.waits().wait(number, previous, self.random.fraction()),
        }
    }
}

impl fmt::Debug for OwnBackoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "of its own" } else { "by config" })
    }
}
