//! For how long a connection that many calls share has answered none of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use crate::time;

/// How long a connection may answer nothing before a call that gives up lets go of it. A busy one
/// answers something meanwhile, however slow one of its calls is.
const LONG: Duration = Duration::from_secs(1);
/// Nothing is to be answered.
const NONE: i64 = i64::MIN;

/// The stamp of the first call since the last answer, or `NONE`. Relaxed: it is only compared.
#[derive(Debug, Clone)]
pub(super) struct Silence(Arc<AtomicI64>);

impl Default for Silence {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(NONE)))
    }
}

impl Silence {
    /// A call is sent.
    pub(super) fn begin(&self) {
        if self.0.load(Ordering::Relaxed) == NONE {
            self.0.store(time::stamp(time::now()).max(NONE + 1), Ordering::Relaxed);
        }
    }

    /// A call was answered.
    pub(super) fn end(&self) {
        self.0.store(NONE, Ordering::Relaxed);
    }

    /// Whether there is another handle of it, which a call has.
    pub(super) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    pub(super) fn is_long(&self) -> bool {
        match self.0.load(Ordering::Relaxed) {
            NONE => false,
            since => time::now().saturating_duration_since(time::at_stamp(since)) >= LONG,
        }
    }
}
