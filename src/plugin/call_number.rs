//! What the ids of calls are made of.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use crate::time::{self, Instant};

/// Nanoseconds since 1970 at `created`, or one more than the last number if that is later.
pub(super) fn call_number(created: Instant) -> u64 {
    static BASE: OnceLock<(Instant, u64)> = OnceLock::new();
    static LAST: AtomicU64 = AtomicU64::new(0);
    let &(base, base_nanos) = BASE.get_or_init(|| {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (created, time::nanos(since_1970))
    });
    let number = base_nanos + time::nanos(created.saturating_duration_since(base));
    // Relaxed: only that no two get the same number matters, and `fetch_max` sees to it.
    let last = LAST.fetch_max(number, Ordering::Relaxed);
    if last < number { number } else { LAST.fetch_add(1, Ordering::Relaxed) + 1 }
}

/// Tells the ids of this process from those of others.
pub(super) fn process_number() -> &'static str {
    static NUMBER: OnceLock<String> = OnceLock::new();
    // Keyed by the operating system's randomness.
    NUMBER.get_or_init(|| format!("{:016x}", RandomState::new().build_hasher().finish()))
}
