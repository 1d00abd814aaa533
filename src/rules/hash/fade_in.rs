use std::time::Duration;

/// How fast a newcomer gets the keys that it will own, so that its cache is warm when it has all of them.
///
/// It has `(elapsed / window)^exponent` of its keys. Which of them depends on the key alone, so one that has
/// moved stays moved, and nothing is kept for a key. Source: Zalando, "client-side load balancing at a million
/// requests per second" (2026), with this window and exponent.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::rules::hash::FadeIn;
/// let fade_in = FadeIn::default();
/// let percent = |seconds| (fade_in.share(Duration::from_secs(seconds)) * 1_000.0).round() / 10.0;
/// assert_eq!((percent(3), percent(15), percent(27), percent(30)), (0.3, 17.7, 76.8, 100.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FadeIn {
    /// How long it takes until it has all of its keys. Zero is at once. At the end it gets `exponent / window` of them in
    /// a second, 8 % with the defaults: it must be able to learn as many beside its load. Default: 30 s.
    pub window: Duration,
    /// Above 1, it gets few keys at first and many at the end; 1 is evenly. Not above 0 is taken for 1.
    /// Default: 2.5.
    pub exponent: f64,
}

impl Default for FadeIn {
    fn default() -> Self {
        Self { window: Duration::from_secs(30), exponent: 2.5 }
    }
}

impl FadeIn {
    /// Returns the share of its keys that a newcomer has after `elapsed`, from 0 to 1.
    pub fn share(&self, elapsed: Duration) -> f64 {
        if elapsed >= self.window {
            return 1.0;
        }
        let exponent = if self.exponent > 0.0 { self.exponent } else { 1.0 };
        (elapsed.as_secs_f64() / self.window.as_secs_f64()).powf(exponent).clamp(0.0, 1.0)
    }

    /// Whether a key with `hash` has moved to a newcomer that has `share` of its keys.
    ///
    /// ```
    /// use tower_upstream::rules::hash::FadeIn;
    /// let moved = (0..10_000_u64).filter(|hash| FadeIn::has_moved(*hash, 0.3)).count();
    /// assert!((2_900..3_100).contains(&moved));
    /// assert!(FadeIn::has_moved(7, 1.0) && !FadeIn::has_moved(7, 0.0));
    /// ```
    #[inline]
    pub fn has_moved(hash: u64, share: f64) -> bool {
        // Another hash: the first one decides which keys are a newcomer's.
        let (_, other) = crate::sync::wyrand(hash);
        crate::sync::fraction(other) < share
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_has_moved_stays_moved(
            hash: u64,
            one in 0..60_000_u64,
            other in 0..60_000_u64,
            window in 0..40_000_u64,
            exponent in -1.0..4.0,
        ) {
            let fade_in = FadeIn { window: Duration::from_millis(window), exponent };
            let share = |at| fade_in.share(Duration::from_millis(at));
            let (earlier, later) = (share(one.min(other)), share(one.max(other)));
            prop_assert!((0.0..=1.0).contains(&earlier) && earlier <= later);
            prop_assert!(!FadeIn::has_moved(hash, earlier) || FadeIn::has_moved(hash, later));
            prop_assert_eq!(share(window), 1.0);
        }
    }
}
