//! What a pool does, in the plainest words: for the test of its rules.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{kept::Pooled, limits::Limits};
use crate::time::{self, Instant};

#[derive(Debug, Clone)]
pub(super) struct Conn {
    pub(super) id: u32,
    pub(super) is_open: Arc<AtomicBool>,
}

impl Conn {
    pub(super) fn new(id: u32) -> Self {
        Self { id, is_open: Arc::new(AtomicBool::new(true)) }
    }
}

impl Pooled for Conn {
    fn is_open(&self) -> bool {
        self.is_open.load(Relaxed)
    }
}

/// What the model knows of a connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Known {
    pub(super) id: u32,
    pub(super) epoch: u64,
    pub(super) born: Instant,
}

/// One that waits: its ticket, and the connection or the error that it has got.
pub(super) type Waiter = (u64, Option<Result<Known, u32>>);

#[derive(Debug)]
pub(super) struct Model {
    pub(super) now: Instant,
    pub(super) limits: Limits,
    pub(super) epoch: u64,
    /// With the instant until which each is kept; the newest last.
    pub(super) idle: Vec<(Known, Instant)>,
    pub(super) line: Vec<Waiter>,
    pub(super) next_ticket: u64,
    /// Woken, and did not look yet.
    pub(super) woken: BTreeSet<u64>,
    /// The epochs in which they were begun.
    pub(super) dialing: Vec<u64>,
    /// Let go of, but not closed yet.
    pub(super) closing: usize,
    pub(super) leased: usize,
}

impl Model {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            now: time::now(),
            limits,
            epoch: 0,
            idle: Vec::new(),
            line: Vec::new(),
            next_ticket: 0,
            woken: BTreeSet::new(),
            dialing: Vec::new(),
            closing: 0,
            leased: 0,
        }
    }

    fn retires(&self, known: Known) -> Option<Instant> {
        self.limits.max_age.map(|age| known.born + age)
    }

    pub(super) fn waiting(&self) -> usize {
        self.line.iter().filter(|(_, got)| got.is_none()).count()
    }

    pub(super) fn live(&self) -> usize {
        let given = self.line.iter().filter(|(_, got)| matches!(got, Some(Ok(_)))).count();
        self.idle.len() + self.leased + given + self.closing + self.dialing.len()
    }

    pub(super) fn take(&mut self) -> Option<Known> {
        while let Some((known, until)) = self.idle.pop() {
            if self.now < until {
                return Some(known);
            }
            self.closing += 1;
        }
        None
    }

    pub(super) fn due(&mut self) -> usize {
        let mut due = 0;
        let room = |live| self.limits.max.is_none_or(|max| live < max);
        while self.waiting() > self.dialing.len() && room(self.live()) {
            self.dialing.push(self.epoch);
            due += 1;
        }
        due
    }

    pub(super) fn give(&mut self, got: Result<Known, u32>) -> bool {
        let waiting = |(_, (_, got)): &(usize, &Waiter)| got.is_none();
        let looks = |(_, (ticket, _)): &(usize, &Waiter)| !self.woken.contains(ticket);
        let first = self.line.iter().enumerate().filter(waiting).find(looks);
        let first = first.or_else(|| self.line.iter().enumerate().find(waiting));
        let Some((at, _)) = first else { return false };
        self.line[at].1 = Some(got);
        true
    }

    pub(super) fn hand_on(&mut self, known: Known) {
        let is_old = self.retires(known).is_some_and(|at| at <= self.now);
        if is_old || known.epoch != self.epoch {
            self.closing += 1;
        } else if !self.give(Ok(known)) {
            if self.idle.len() >= self.limits.max_idle {
                self.sweep();
            }
            if self.idle.len() >= self.limits.max_idle {
                self.closing += 1;
            } else {
                let until = self.now + self.limits.idle_timeout;
                let until = self.retires(known).map_or(until, |retires| retires.min(until));
                self.idle.push((known, until));
            }
        }
    }

    pub(super) fn sweep(&mut self) {
        let (now, before) = (self.now, self.idle.len());
        self.idle.retain(|(_, until)| now < *until);
        self.closing += before - self.idle.len();
    }
}
