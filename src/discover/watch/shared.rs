//! What the users of one watch, and its driver, share.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::{super::set::EndpointSet, config::WatchConfig, published::Published, source::Source};
use crate::{error::Error, sync::lock, time::Instant};

pub(super) struct Shared<S> {
    pub(super) source: S,
    pub(super) config: WatchConfig,
    /// Its receivers are the users.
    pub(super) sets: watch::Sender<Published>,
    runs: Mutex<Runs>,
    pub(super) answer: watch::Sender<Answer>,
    pub(super) health: Mutex<Health>,
}

/// How the backend is.
#[derive(Debug, Clone, Default)]
pub(super) struct Health {
    pub(super) answered_at: Option<Instant>,
    /// Of the last observation.
    pub(super) error: Option<Error>,
    /// In a row.
    pub(super) failures: u32,
    pub(super) doubt_until: Option<Instant>,
}

/// What the backend told last, believed or not.
#[derive(Debug, Default)]
pub(super) struct Answer {
    run: u64,
    pub(super) set: Option<EndpointSet>,
}

#[derive(Debug, Default)]
struct Runs {
    current: Option<u64>,
    count: u64,
}

impl<S: Source> Shared<S> {
    pub(super) fn new(source: S, config: WatchConfig) -> Self {
        Self {
            source,
            config: config.clamped(),
            sets: watch::Sender::new(Published::default()),
            runs: Mutex::default(),
            answer: watch::Sender::default(),
            health: Mutex::default(),
        }
    }

    /// Whether the backend has answered the run that goes on.
    pub(super) fn is_answered(&self) -> bool {
        let current = lock(&self.runs).current;
        current == Some(self.answer.borrow().run)
    }
}

/// The right to drive a watch. There is one at a time.
pub(super) struct Run<S> {
    pub(super) shared: Arc<Shared<S>>,
    number: u64,
}

impl<S> Run<S> {
    /// `None`: another drives.
    pub(super) fn begin(shared: &Arc<Shared<S>>) -> Option<Self> {
        let mut runs = lock(&shared.runs);
        if runs.current.is_some() {
            return None;
        }
        runs.count += 1;
        runs.current = Some(runs.count);
        Some(Self { shared: shared.clone(), number: runs.count })
    }

    /// The backend has answered with a set.
    pub(super) fn answered(&self, set: EndpointSet) {
        self.shared.answer.send_replace(Answer { run: self.number, set: Some(set) });
    }

    /// Ends unless a user has come: it either finds that this drives, or begins itself.
    pub(super) fn end_without_users(&self) -> bool {
        let mut runs = lock(&self.shared.runs);
        let ends = self.shared.sets.receiver_count() == 0;
        if ends && runs.current == Some(self.number) {
            runs.current = None;
        }
        ends
    }
}

/// Also if its runtime ends: then another of the users begins anew.
impl<S> Drop for Run<S> {
    fn drop(&mut self) {
        let mut runs = lock(&self.shared.runs);
        if runs.current == Some(self.number) {
            runs.current = None;
            drop(runs);
            // The same set again, which wakes.
            self.shared.sets.send_modify(|_| {});
        }
    }
}
