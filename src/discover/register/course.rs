//! The decisions of a registry, as arithmetic: what to call next, and when, until the backend has what is
//! wanted and nothing else.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    super::retries::Retries,
    entry::{Entry, Ticket},
    instance::Instance,
    registrar::Kept,
};
use crate::{
    backoff,
    error::{Error, Kind},
    time::{self, Instant},
};

/// Between two attempts that fail, so that no backend makes this spin.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a removal is tried when nothing else is announced. What is left then expires.
pub(super) const GIVE_UP: Duration = Duration::from_secs(90);

const INTERVAL: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(86_400)];

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    Put(Ticket),
    Remove(Ticket),
    KeepAlive(Vec<Instance>),
    /// Nothing is announced any more.
    End,
    /// Nothing to do until then, or until something else is wanted.
    Wait(Option<Instant>),
    /// There is nothing to do, and no session.
    Done,
}

/// How long the backend wants to be left alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) keep_alive_every: Option<Duration>,
    pub(super) max_backoff: Duration,
}

/// How a registry stands.
#[derive(Debug)]
pub(super) struct Course {
    pace: Pace,
    entries: BTreeMap<Arc<str>, Entry>,
    /// Registrations there were.
    count: u64,
    /// Whether there may be a session.
    is_open: bool,
    keep_alive_at: Option<Instant>,
    keeping: Retries,
}

impl Course {
    pub(super) fn new(pace: Pace) -> Self {
        let [least, most] = INTERVAL;
        let keep_alive_every = pace.keep_alive_every.map(|every| every.clamp(least, most));
        Self {
            pace: Pace { keep_alive_every, ..pace },
            entries: BTreeMap::new(),
            count: 0,
            is_open: false,
            keep_alive_at: None,
            keeping: Retries::default(),
        }
    }

    /// An instance is wanted. Tells the number of its registration.
    ///
    /// # Errors
    /// Its id is taken.
    pub(super) fn announce(&mut self, instance: Instance) -> Result<u64, Error> {
        let id = instance.shared_id().clone();
        let was = self.entries.get(&id);
        if let Some(was) =
            was.filter(|was| !was.is_leaving() || was.instance.service() != instance.service())
        {
            let text = format!("`{id}` is announced already, for `{}`", was.instance.service());
            return Err(Error::not_sent(Kind::InvalidConfig).message(text));
        }
        let is_known = was.is_some_and(|was| was.is_known);
        self.count += 1;
        self.entries.insert(id, Entry { is_known, ..Entry::new(self.count, instance) });
        Ok(self.count)
    }

    /// Another version of an instance is wanted.
    pub(super) fn update(&mut self, number: u64, instance: Instance) {
        if let Some(entry) = self.entry(number, instance.shared_id().clone()) {
            entry.instance = instance;
            entry.version += 1;
            entry.due = None;
        }
    }

    /// An instance is not wanted any more.
    pub(super) fn withdraw(&mut self, number: u64, id: &Arc<str>, now: Instant) {
        if let Some(entry) = self.entry(number, id.clone()).filter(|entry| !entry.is_leaving()) {
            entry.leaving_since = Some(now);
            entry.due = None;
        }
    }

    /// No instance is wanted any more.
    pub(super) fn withdraw_all(&mut self, now: Instant) {
        for entry in self.entries.values_mut().filter(|entry| !entry.is_leaving()) {
            entry.leaving_since = Some(now);
            entry.due = None;
        }
    }

    pub(super) fn next(&mut self, now: Instant) -> Step {
        let is_due = |at: Option<Instant>| at.is_none_or(|at| at <= now);
        if self.keep_alive_at.is_some_and(|at| at <= now) {
            let written = self.entries.values().filter(|entry| entry.written.is_some());
            return Step::KeepAlive(written.map(|entry| entry.instance.clone()).collect());
        }
        // What was never sent need not be removed.
        self.entries.retain(|_, entry| entry.is_known || !entry.is_leaving());
        if self.entries.values().all(Entry::is_leaving) {
            self.entries.retain(|id, entry| {
                let since = entry.leaving_since.unwrap_or(now);
                let gives_up = time::later(since, GIVE_UP) <= now;
                if gives_up {
                    tracing::warn!(%id, error = ?entry.error, "could not deregister; it has to expire");
                }
                !gives_up
            });
        }
        let due = self.entries.values_mut().filter(|of| of.is_pending() && is_due(of.due));
        // What leaves goes first, so that no call is sent to it.
        if let Some(entry) = due.min_by_key(|entry| !entry.is_leaving()) {
            if entry.is_leaving() {
                return Step::Remove(entry.ticket());
            }
            (entry.is_known, self.is_open) = (true, true);
            return Step::Put(entry.ticket());
        }
        match (self.entries.is_empty(), self.is_open) {
            (true, true) => Step::End,
            (true, false) => Step::Done,
            (false, _) => {
                let pending = self.entries.values().filter(|entry| entry.is_pending());
                let due = pending.filter_map(|entry| entry.due).min();
                Step::Wait(time::earlier(due, self.keep_alive_at))
            }
        }
    }

    /// A put has ended. `random` is from 0 up to 1.
    pub(super) fn put(
        &mut self,
        ticket: &Ticket,
        result: Result<(), Error>,
        random: f64,
        now: Instant,
    ) {
        if result.is_ok() && self.keep_alive_at.is_none() {
            self.keep_alive_at = self.next_keep_alive(random, now);
        }
        let max = self.pace.max_backoff;
        let Some(entry) = self.entry(ticket.number, ticket.instance.shared_id().clone()) else {
            return;
        };
        match result {
            Ok(()) => {
                entry.written = Some(ticket.version);
                (entry.error, entry.due) = (None, None);
                entry.retries.succeeded(now);
            }
            Err(error) => entry.fail(error, max, random, now),
        }
    }

    /// A removal has ended.
    pub(super) fn removed(
        &mut self,
        ticket: &Ticket,
        result: Result<(), Error>,
        random: f64,
        now: Instant,
    ) {
        let (id, max) = (ticket.instance.shared_id(), self.pace.max_backoff);
        let Some(entry) = self.entry(ticket.number, id.clone()) else { return };
        match result {
            Ok(()) => drop(self.entries.remove(id)),
            Err(error) => entry.fail(error, max, random, now),
        }
    }

    /// A session was kept alive, or not.
    pub(super) fn kept(&mut self, result: Result<Kept, Error>, random: f64, now: Instant) {
        match result {
            Ok(Kept::Alive) => {
                self.keeping.succeeded(now);
                self.keep_alive_at = self.next_keep_alive(random, now);
            }
            Ok(Kept::Lost) => {
                self.keeping.succeeded(now);
                self.lose();
            }
            Err(_) => {
                let wait = self.keeping.failed(self.pace.max_backoff, random, now).max(PAUSE);
                let regular = self.next_keep_alive(random, now);
                self.keep_alive_at = time::earlier(Some(time::later(now, wait)), regular);
            }
        }
    }

    /// There is no session any more: all has to be written again.
    pub(super) fn lose(&mut self) {
        self.is_open = false;
        self.keep_alive_at = None;
        self.entries.values_mut().for_each(|entry| entry.written = None);
    }

    fn next_keep_alive(&self, random: f64, now: Instant) -> Option<Instant> {
        let every = self.pace.keep_alive_every?;
        Some(time::later(now, backoff::spread(every, 0.9, 1.0, random)))
    }

    fn entry(&mut self, number: u64, id: Arc<str>) -> Option<&mut Entry> {
        self.entries.get_mut(&id).filter(|entry| entry.number == number)
    }

    /// What is known of the instance of a registration.
    pub(super) fn get(&self, number: u64, id: &str) -> Option<&Entry> {
        self.entries.get(id).filter(|entry| entry.number == number)
    }

    /// Whether nothing is left, not even a session.
    pub(super) fn is_over(&self) -> bool {
        self.entries.is_empty() && !self.is_open
    }

    /// Whether an instance is gone, and the session with it if it was the last.
    pub(super) fn is_gone(&self, number: u64, id: &str) -> bool {
        self.is_over() || !self.entries.is_empty() && self.get(number, id).is_none()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.entries.keys()
    }
}

impl Entry {
    fn fail(&mut self, error: Error, max: Duration, random: f64, now: Instant) {
        let wait = self.retries.failed(max, random, now).max(PAUSE);
        let wait = error.retry_after().unwrap_or_default().max(wait);
        self.due = Some(time::later(now, wait));
        self.error = Some(error);
    }
}

#[cfg(test)]
#[path = "course_tests.rs"]
mod tests;
