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
    /// How long it takes until it has all of its keys. Zero is at once. Default: 30 s.
    ///
    /// At the end it gets `exponent / window` of its keys in a second, 8 % with the defaults, and must be able to learn as
    /// many beside its load. To learn 960 keys that take 200 ms each, it is busy with 16 calls more than in the long run, and
    /// with 32 if they take 400 ms. If that is more than it can do at once, calls queue up there: take a longer
    /// window, or an exponent of 1, with which it is two fifths of that.
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
        self.part(elapsed).powf(self.exponent()).clamp(0.0, 1.0)
    }

    /// After what time a newcomer has this share.
    pub(crate) fn share_after(&self, share: f64) -> Duration {
        if share <= 0.0 {
            return Duration::ZERO;
        }
        self.window.mul_f64(share.min(1.0).powf(self.exponent().recip()))
    }

    /// The share of its keys that an endpoint knows after `elapsed`, if it has had all of them since then: it learns as
    /// many in a second as a newcomer has to at most.
    pub(crate) fn learned(&self, elapsed: Duration) -> f64 {
        if elapsed >= self.learns_in() {
            return 1.0;
        }
        let (part, exponent) = (self.part(elapsed), self.exponent());
        (part * exponent).max(part.powf(exponent)).clamp(0.0, 1.0)
    }

    /// After what time that is all of them.
    pub(crate) fn learns_in(&self) -> Duration {
        self.window.div_f64(self.exponent().max(1.0))
    }

    /// After what time it knows this share of them.
    pub(crate) fn learned_after(&self, share: f64) -> Duration {
        let (share, exponent) = (share.clamp(0.0, 1.0), self.exponent());
        self.window.mul_f64((share / exponent).min(share.powf(exponent.recip())))
    }

    fn exponent(&self) -> f64 {
        if self.exponent > 0.0 { self.exponent } else { 1.0 }
    }

    fn part(&self, elapsed: Duration) -> f64 {
        elapsed.as_secs_f64() / self.window.as_secs_f64()
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

        #[test]
        fn what_is_known_is_at_least_what_a_newcomer_has_and_each_time_is_that_of_its_share(
            elapsed in 0..60_000_u64,
            window in 1..40_000_u64,
            exponent in prop_oneof![-1.0..4.0, Just(f64::INFINITY), Just(f64::NAN), Just(1e-300)],
            share in prop_oneof![0.0..=1.0, Just(0.0), Just(1.0)],
        ) {
            let fade_in = FadeIn { window: Duration::from_millis(window), exponent };
            let elapsed = Duration::from_millis(elapsed);
            prop_assert!(fade_in.learned(elapsed) >= fade_in.share(elapsed));
            prop_assert_eq!(fade_in.learned(fade_in.learns_in()), 1.0);
            for after in [fade_in.share_after(share), fade_in.learned_after(share)] {
                prop_assert!(after <= fade_in.window);
            }
            // Of others a nanosecond is much.
            if window >= 1_000 && (0.3..4.0).contains(&exponent) {
                prop_assert!((fade_in.share(fade_in.share_after(share)) - share).abs() < 1e-3);
                prop_assert!((fade_in.learned(fade_in.learned_after(share)) - share).abs() < 1e-3);
            }
        }
    }
}
