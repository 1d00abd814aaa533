use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use super::target::Target;

/// Most bodies that are drained at once for one endpoint.
const MAX_DRAINS: u32 = 64;

/// Where requests go, and how many of the bodies that came from there are being drained.
#[derive(Debug, Default)]
pub(super) struct Upstream {
    /// `None` without a member.
    pub(super) target: Option<Target>,
    drains: AtomicU32,
    /// There was a runtime without timers, which only a panic tells: once is enough.
    has_no_timers: AtomicBool,
}

impl Upstream {
    pub(super) fn new(target: Target) -> Self {
        Self { target: Some(target), ..Self::default() }
    }

    #[cfg(test)]
    pub(super) fn drains(&self) -> u32 {
        self.drains.load(Ordering::Relaxed)
    }

    // Relaxed, here and below: each is a value of its own.
    pub(super) fn has_timers(&self) -> bool {
        !self.has_no_timers.load(Ordering::Relaxed)
    }
}

/// One of the bodies that are drained at once.
pub(super) struct Place(Arc<Upstream>);

impl Place {
    pub(super) fn take(from: Arc<Upstream>) -> Option<Self> {
        let free = |count| (count < MAX_DRAINS).then_some(count + 1);
        if !from.has_timers() {
            return None;
        }
        from.drains.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        Some(Self(from))
    }

    /// No body of this upstream is drained any more.
    pub(super) fn has_no_timers(&self) {
        self.0.has_no_timers.store(true, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.drains.fetch_sub(1, Ordering::Relaxed);
    }
}
