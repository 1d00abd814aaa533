//! What happened to the calls of one transport that did not go well.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    error::{Error, Fault, Kind},
    telemetry::Stats,
};

/// Relaxed throughout: these are only counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    failed: AtomicU64,
    ignored: AtomicU64,
}

impl Counts {
    #[cold]
    pub(super) fn note(&self, error: &Error) {
        let counter = match error.fault() {
            // It is an answer.
            _ if error.kind() == Kind::Plugin => return,
            Fault::Endpoint => &self.failed,
            _ => &self.ignored,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> Stats {
        let count = |of: &AtomicU64| Some(of.load(Ordering::Relaxed));
        let (failed, ignored) = (count(&self.failed), count(&self.ignored));
        Stats { failed, ignored, ..Stats::default() }
    }
}
