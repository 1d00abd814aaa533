//! One type of a watch, and what stays of it while it cannot be searched for.

use std::{sync::Arc, time::Duration};

use super::{board::Listing, browse::Browse, daemon::Daemon, kind::ServiceType};
use crate::{
    endpoint::Endpoint,
    error::Error,
    time::{self, Instant},
};

/// Between the beginnings of two searches for a type: one that cannot begin, or ends at once, must not make this spin.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Search {
    kind: ServiceType,
    /// `None`: it cannot be searched for now.
    browse: Option<Browse>,
    /// When it began, or was tried to.
    began: Instant,
    /// When it may begin again.
    again_at: Instant,
    found: Vec<Arc<Endpoint>>,
    pub(super) changed_at: Instant,
    /// Instances that left: of this search, and of those before it.
    removals: (u64, u64),
    /// What the search before it had found, until this one had its time.
    kept: Vec<Arc<Endpoint>>,
    /// How often it had to begin again, and how often what was kept ended.
    pub(super) breaks: u64,
}

impl Search {
    pub(super) fn new(kind: &ServiceType, now: Instant) -> Self {
        Self {
            kind: kind.clone(),
            browse: None,
            began: now,
            again_at: now,
            found: Vec::new(),
            changed_at: now,
            removals: (0, 0),
            kept: Vec::new(),
            breaks: 0,
        }
    }

    /// Until when it keeps what the search before it had found.
    fn keeps_until(&self, timeout: Duration) -> Option<Instant> {
        (!self.kept.is_empty()).then(|| time::later(self.began, timeout))
    }

    /// Whether it can be searched for.
    pub(super) fn is_on(&self) -> bool {
        self.browse.is_some()
    }

    /// All that is there.
    pub(super) fn found(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.found.iter().chain(&self.kept)
    }

    /// How many instances have left.
    pub(super) fn removals(&self) -> u64 {
        self.removals.0 + self.removals.1
    }

    /// Takes over what was found, and begins again if the search has ended.
    pub(super) fn follow(
        &mut self,
        daemon: &Arc<Daemon>,
        timeout: Duration,
        now: Instant,
    ) -> Result<(), Error> {
        let seen = self.browse.as_ref().map(|browse| {
            browse.look(|of: &Listing| {
                let found = of.instances().cloned().collect();
                (self.found, self.changed_at, self.removals.0) =
                    (found, of.changed_at, of.removals);
                of.is_over
            })
        });
        // Another user may have begun again already.
        if seen.is_some_and(|is_over| is_over == Some(false)) {
            if self.keeps_until(timeout).is_some_and(|until| until <= now) {
                self.kept.clear();
                self.breaks += 1;
            }
            return Ok(());
        }
        self.breaks += u64::from(seen.is_some());
        self.kept.append(&mut self.found);
        let (of_this, before) = self.removals;
        (self.removals, self.browse, self.began) = ((0, before + of_this), None, now);
        if now >= self.again_at {
            self.again_at = time::later(now, RETRY);
            self.browse = Some(Browse::begin(daemon, &self.kind)?);
        }
        Ok(())
    }

    /// When to look again, if nothing is heard until then.
    pub(super) fn due(&self, timeout: Duration, now: Instant) -> Option<Instant> {
        match self.browse {
            Some(_) => self.keeps_until(timeout),
            None => Some(self.again_at.max(now)),
        }
    }
}
