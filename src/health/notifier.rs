//! Tells a listener which targets are healthy.

use std::{fmt, sync::Arc};

use super::{report::HealthySet, roster::Roster};
use crate::sync::EventQueue;

pub(super) type Listener = Arc<dyn Fn(&HealthySet) + Send + Sync>;

/// Tells one listener, in order and never twice at once, outside of all locks.
///
/// An event is only the number of the run in which there was news. What the news is, is looked up
/// when the listener has time for it, so a slow one is told the latest.
pub(super) struct Notifier {
    pub(super) listener: Option<Listener>,
    events: EventQueue<u64>,
}

impl Notifier {
    pub(super) fn new(listener: Option<Listener>, roster: &Arc<Roster>) -> Self {
        let tell = listener.clone().map(|listener| {
            let roster = roster.clone();
            Arc::new(move |run| {
                if let Some((set, _telling)) = roster.news(run) {
                    listener(&set);
                }
            }) as Arc<dyn Fn(u64) + Send + Sync>
        });
        Self { listener, events: EventQueue::new(tell) }
    }

    /// Notes that there was news in `run`.
    pub(super) fn note(&self, run: u64) {
        self.events.note(run);
    }

    /// Runs the listener. It may block.
    pub(super) fn deliver(&self) {
        self.events.deliver();
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.events.fmt(f)
    }
}
