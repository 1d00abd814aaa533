use super::{
    gcra::Gcra,
    quotas::{MOST, Rules},
};
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// [`Rules`] that are read on every call, and may be replaced.
///
/// Relaxed, and one number at a time: a call that is decided while they are replaced may see some
/// of both, and is then one call that either, or the mix, let pass.
#[derive(Debug)]
pub(in crate::limit) struct LiveRules {
    count: AtomicUsize,
    /// 1 if there is one rule that need not look twice, and whose refusals tell the moment to come back as
    /// it is; and if no tokens are reserved. A number of its own, so that the fast way asks for all of
    /// it at once.
    plain: AtomicUsize,
    each: [Live; MOST],
    /// Whether tokens are reserved, which the fast way does not know.
    reserves: bool,
}

#[derive(Debug)]
struct Live {
    interval: AtomicU64,
    tolerance: AtomicU64,
}

impl LiveRules {
    pub(in crate::limit) fn new(rules: &Rules, reserves: bool) -> Self {
        let live = |_| Live { interval: AtomicU64::new(1), tolerance: AtomicU64::new(1) };
        let (count, plain) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let these = Self { count, plain, each: std::array::from_fn(live), reserves };
        these.store(rules);
        these
    }

    #[inline]
    pub(in crate::limit) fn is_one(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 1
    }

    /// Whether there is one rule, by which one look at the clock is enough, and the next token comes soon
    /// enough to be told; and no tokens are reserved.
    #[inline]
    pub(in crate::limit) fn is_plain(&self) -> bool {
        self.plain.load(Ordering::Relaxed) == 1
    }

    /// Whether one of the rules looks twice before it refuses.
    pub(in crate::limit) fn is_brief(&self) -> bool {
        self.load().each().iter().any(Gcra::is_brief)
    }

    /// No limit.
    #[inline]
    pub(in crate::limit) fn is_none(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// The first of them, which counts if there is any.
    #[inline]
    pub(in crate::limit) fn first(&self) -> Gcra {
        self.each[0].load()
    }

    pub(in crate::limit) fn load(&self) -> Rules {
        let count = self.count.load(Ordering::Relaxed);
        self.each.iter().take(count).map(Live::load).collect()
    }

    pub(in crate::limit) fn store(&self, rules: &Rules) {
        for (live, rule) in self.each.iter().zip(rules.each()) {
            let (interval, tolerance) = rule.parts();
            live.interval.store(interval, Ordering::Relaxed);
            live.tolerance.store(tolerance, Ordering::Relaxed);
        }
        self.count.store(rules.each().len(), Ordering::Relaxed);
        let plain = matches!(rules.each(), [rule] if !rule.is_brief() && !rule.is_seldom());
        self.plain.store(usize::from(plain && !self.reserves), Ordering::Relaxed);
    }
}

impl Live {
    #[inline]
    fn load(&self) -> Gcra {
        let load = |part: &AtomicU64| part.load(Ordering::Relaxed);
        Gcra::of_parts((load(&self.interval), load(&self.tolerance)))
    }
}
