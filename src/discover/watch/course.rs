//! The decisions of a watch, as arithmetic: whether to believe an answer, when to ask again, and when what is
//! known is too old.

use std::time::Duration;

use super::{super::retries::Retries, config::WatchConfig};
use crate::time::{self, Instant};

/// What an answer says, compared to the set that was believed last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Seen {
    /// Endpoints that were believed last.
    pub(super) known: usize,
    /// How many of those the answer lacks.
    pub(super) gone: usize,
    /// Endpoints in the answer.
    pub(super) found: usize,
    pub(super) is_certain: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Verdict {
    Believe,
    /// Add what is new and remove nothing. The answer of an observation that starts then is believed.
    DoubtUntil(Instant),
}

/// How a watch stands.
#[derive(Debug, Clone)]
pub(super) struct Course {
    config: WatchConfig,
    /// Since when all answers were empty.
    empty_since: Option<Instant>,
    /// Since when all answers lacked too many.
    thinned_since: Option<Instant>,
    doubt_until: Option<Instant>,
    answered_at: Option<Instant>,
    /// When this watch began, until its first observation has ended: time without a watch makes nothing too old
    /// before the backend was asked.
    began_at: Option<Instant>,
    /// Whether the last observation failed.
    is_failing: bool,
    is_expired: bool,
    retries: Retries,
}

impl Course {
    /// `answered_at` is when a watch before this one had its last answer.
    pub(super) fn new(config: WatchConfig, answered_at: Option<Instant>, now: Instant) -> Self {
        Self {
            config,
            empty_since: None,
            thinned_since: None,
            doubt_until: None,
            answered_at,
            began_at: Some(now),
            is_failing: false,
            is_expired: false,
            retries: Retries::default(),
        }
    }

    /// An answer came that says what the one before it said.
    pub(super) fn confirmed(&mut self, now: Instant) {
        (self.answered_at, self.began_at) = (Some(now), None);
        (self.is_failing, self.is_expired) = (false, false);
        self.retries.succeeded(now);
    }

    /// An answer came.
    pub(super) fn answered(&mut self, seen: Seen, now: Instant) -> Verdict {
        self.confirmed(now);
        let allowed = self.config.max_removed * seen.known as f64;
        let since = |since: Option<Instant>, is_so: bool| is_so.then(|| since.unwrap_or(now));
        self.empty_since = since(self.empty_since, seen.known > 0 && seen.found == 0);
        self.thinned_since = since(self.thinned_since, seen.gone as f64 > allowed);
        let due = |since: Option<Instant>, grace| since.map(|since| time::later(since, grace));
        let empty = due(self.empty_since, self.config.empty_grace);
        let thinned = due(self.thinned_since, self.config.removal_grace);
        self.doubt_until = empty.max(thinned).filter(|due| !seen.is_certain && now < *due);
        match self.doubt_until {
            Some(due) => Verdict::DoubtUntil(due),
            None => {
                // What follows is compared to this answer.
                (self.empty_since, self.thinned_since) = (None, None);
                Verdict::Believe
            }
        }
    }

    /// An observation failed. Tells how long to wait before the next one: at most `max`.
    /// `random` is from 0 up to 1.
    pub(super) fn failed(&mut self, max: Duration, random: f64, now: Instant) -> Duration {
        (self.began_at, self.is_failing) = (None, true);
        self.retries.failed(max, random, now)
    }

    /// When an observation has to start, with nothing remembered, that settles a doubt.
    pub(super) fn doubt_until(&self) -> Option<Instant> {
        self.doubt_until
    }

    /// When an observation has to start, with nothing remembered, since the backend has been quiet for half of
    /// the time after which what is known is too old. So only a failure, which that would find, makes it so.
    pub(super) fn asks_anew_at(&self) -> Option<Instant> {
        let is_quiet = !self.is_expired && !self.is_failing;
        let max_stale = self.config.max_stale.filter(|_| is_quiet)?;
        Some(time::later(self.answered_at?, max_stale / 2))
    }

    /// When what is known is too old.
    pub(super) fn expires_at(&self) -> Option<Instant> {
        let max_stale = self.config.max_stale.filter(|_| !self.is_expired)?;
        let first = self.began_at.map(|began| time::later(began, max_stale / 2));
        Some(time::later(self.answered_at?, max_stale)).max(first)
    }

    /// Whether what is known has just become too old. Then nothing is known.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let is_due = self.expires_at().is_some_and(|at| at <= now);
        if is_due {
            self.is_expired = true;
            (self.empty_since, self.thinned_since, self.doubt_until) = (None, None, None);
        }
        is_due
    }
}

#[cfg(test)]
#[path = "course_tests.rs"]
mod tests;
