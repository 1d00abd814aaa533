//! Several quotas, one decision: pure, as the rule for one of them is.

use super::{
    gcra::{Gcra, NeverFits},
    quota::Quota,
};

/// So many quotas at once, at most.
pub(in crate::limit) const MOST: usize = 4;

/// The state of each quota; see [`Gcra`]. What is beyond their number is zero.
pub(in crate::limit) type Tats = [u64; MOST];

/// Up to four quotas that hold at once, such as 10 calls a second and 100 a minute.
///
/// A call passes if all quotas allow it, and takes a token of each, or of none. A refusal has the time
/// from which on all allow the call. Without a quota there is no limit.
///
/// # Example
/// ```
/// use tower_upstream::{Quota, RateLimitLayer};
///
/// let layer = RateLimitLayer::new([
///     Quota::per_second(10),
///     Quota::per_minute(100),
/// ]);
/// assert_eq!(layer.handle().remaining(), 10);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quotas {
    each: [Option<Quota>; MOST],
}

impl Quotas {
    /// Returns no quota, which is no limit: every call passes.
    ///
    /// ```
    /// use tower_upstream::{RateLimitLayer, limit::Quotas};
    /// let layer = RateLimitLayer::new(Quotas::none());
    /// layer.handle().take(1_000_000)?;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub const fn none() -> Self {
        Self { each: [None; MOST] }
    }

    pub(in crate::limit) fn iter(&self) -> impl Iterator<Item = Quota> + '_ {
        self.each.iter().flatten().copied()
    }

    pub(in crate::limit) fn rules(&self) -> Rules {
        self.iter().map(Quota::rule).collect()
    }
}

impl From<Quota> for Quotas {
    fn from(quota: Quota) -> Self {
        [quota].into()
    }
}

macro_rules! from_arrays {
    ($($number:literal)*) => {$(
        impl From<[Quota; $number]> for Quotas {
            fn from(quotas: [Quota; $number]) -> Self {
                let mut quotas = quotas.into_iter();
                Self { each: std::array::from_fn(|_| quotas.next()) }
            }
        }
    )*};
}

from_arrays! { 1 2 3 4 }

/// The rules of several quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::limit) struct Rules {
    count: usize,
    each: [Gcra; MOST],
}

impl FromIterator<Gcra> for Rules {
    /// As many as there may be; what follows is left out.
    fn from_iter<I: IntoIterator<Item = Gcra>>(rules: I) -> Self {
        let mut these = Self { count: 0, each: [Gcra::new(1, 1); MOST] };
        for (place, rule) in these.each.iter_mut().zip(rules) {
            *place = rule;
            these.count += 1;
        }
        these
    }
}

impl Rules {
    pub(in crate::limit) fn each(&self) -> &[Gcra] {
        &self.each[..self.count]
    }

    /// Decides on `cells` that come together: all of the new states, or how long until all allow
    /// them.
    #[inline]
    pub(in crate::limit) fn decide(&self, tats: &Tats, now: u64, cells: u64) -> Result<Tats, u64> {
        match self.wait(tats, now, cells) {
            0 => Ok(self.after(tats, now, cells)),
            wait => Err(wait),
        }
    }

    /// How long until the last of `cells` conforms to all: the latest moment of those that refuse.
    #[inline]
    pub(in crate::limit) fn wait(&self, tats: &Tats, now: u64, cells: u64) -> u64 {
        self.paired(tats).map(|(rule, tat)| rule.wait(tat, now, cells)).max().unwrap_or(0)
    }

    /// The states after `cells` passed.
    #[inline]
    pub(in crate::limit) fn after(&self, tats: &Tats, now: u64, cells: u64) -> Tats {
        let mut after = *tats;
        for (rule, tat) in self.each().iter().zip(&mut after) {
            *tat = rule.after(*tat, now, cells);
        }
        after
    }

    /// How many cells would pass now.
    pub(in crate::limit) fn remaining(&self, tats: &Tats, now: u64) -> u32 {
        self.paired(tats).map(|(rule, tat)| rule.remaining(tat, now)).min().unwrap_or(u32::MAX)
    }

    /// The number of `cells` that come together, if they ever fit into all.
    pub(in crate::limit) fn fitting(&self, cells: u32) -> Result<u64, NeverFits> {
        let refused = self.each().iter().filter_map(|rule| rule.fitting(cells).err());
        refused.min_by_key(|never| never.burst).map_or(Ok(u64::from(cells)), Err)
    }

    /// The states under these rules in which the same share of each bucket is used as under
    /// `before`, by their order; what is new is full.
    pub(in crate::limit) fn rescale(&self, before: &Self, tats: &Tats, now: u64) -> Tats {
        let mut scaled = [0; MOST];
        let old = before.paired(tats);
        for ((tat, rule), (was, used)) in scaled.iter_mut().zip(self.each()).zip(old) {
            *tat = rule.rescale(was, used, now);
        }
        scaled
    }

    #[cfg(feature = "http")]
    pub(in crate::limit) fn each_remaining(
        &self,
        quotas: &Quotas,
        tats: &Tats,
        now: u64,
    ) -> Vec<Remaining> {
        let each = quotas.iter().zip(self.paired(tats)).map(|(quota, (rule, tat))| Remaining {
            quota,
            tokens: rule.remaining(tat, now),
            reset: tat.saturating_sub(now),
        });
        each.collect()
    }

    fn paired<'a>(&'a self, tats: &'a Tats) -> impl Iterator<Item = (&'a Gcra, u64)> {
        self.each().iter().zip(tats.iter().copied())
    }
}

/// What is left of one quota.
#[cfg(feature = "http")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remaining {
    pub(crate) quota: Quota,
    pub(crate) tokens: u32,
    /// Nanoseconds until all of it is there again.
    pub(crate) reset: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A token bucket counted in nanoseconds of its filling.
    #[derive(Debug, Clone)]
    struct Naive {
        interval: u64,
        full: u64,
        tokens: u64,
    }

    fn rules(given: &[(u64, u32)]) -> Rules {
        given.iter().map(|&(interval, burst)| Gcra::new(interval, burst)).collect()
    }

    proptest! {
        #[test]
        fn all_or_nothing_of_several_token_buckets(
            given in prop::collection::vec((1..50_u64, 1..8_u32), 0..=MOST),
            steps in prop::collection::vec((0..60_u64, 0..10_u32), 1..100),
        ) {
            let (rules, mut tats) = (rules(&given), [0; MOST]);
            let full = |&(interval, burst): &(u64, u32)| interval * u64::from(burst);
            let mut naive: Vec<_> = given
                .iter()
                .map(|given| Naive { interval: given.0, full: full(given), tokens: full(given) })
                .collect();
            let mut now = 0;
            for (passed, cells) in steps {
                now += passed;
                naive.iter_mut().for_each(|it| it.tokens = it.full.min(it.tokens + passed));
                let least = naive.iter().map(|it| it.tokens / it.interval).min();
                let remaining = u64::from(rules.remaining(&tats, now));
                prop_assert_eq!(remaining, least.unwrap_or(u64::from(u32::MAX)));
                let cost = |it: &Naive| it.interval * u64::from(cells);
                let never = naive.iter().any(|it| cost(it) > it.full);
                let Ok(fitting) = rules.fitting(cells) else {
                    prop_assert!(never);
                    continue;
                };
                prop_assert!(!never);
                let short = naive.iter().map(|it| cost(it).saturating_sub(it.tokens)).max();
                match rules.decide(&tats, now, fitting) {
                    Ok(new) => {
                        prop_assert_eq!(short.unwrap_or(0), 0);
                        naive.iter_mut().for_each(|it| it.tokens -= it.interval * fitting);
                        tats = new;
                    }
                    Err(wait) => prop_assert_eq!(Some(wait), short),
                }
            }
        }

        #[test]
        fn rescaling_keeps_the_share_and_never_gives_more(
            before in (1..1_000_u64, 1..100_u32),
            after in (1..1_000_u64, 1..100_u32),
            used in 0.0..1.0_f64,
            now in 0..1_000_000_u64,
        ) {
            let (old, new) = (rules(&[before]), rules(&[after]));
            let tolerance = |(interval, burst): (u64, u32)| interval * u64::from(burst);
            let debt = (tolerance(before) as f64 * used) as u64;
            let scaled = new.rescale(&old, &[now + debt, 0, 0, 0], now)[0] - now;
            let share = debt as f64 / tolerance(before) as f64;
            let exact = share * tolerance(after) as f64;
            prop_assert!(scaled as f64 >= exact - 1e-6 && (scaled as f64) < exact + 1.0 + 1e-6);
            prop_assert_eq!(old.rescale(&old, &[now + debt, 0, 0, 0], now)[0], now + debt);
        }
    }

    #[test]
    fn none_is_no_limit() {
        let none = Quotas::none().rules();
        assert_eq!(none.decide(&[0; MOST], 7, u64::MAX), Ok([0; MOST]));
        assert_eq!(none.remaining(&[0; MOST], 7), u32::MAX);
        assert_eq!(none.fitting(u32::MAX), Ok(u64::from(u32::MAX)));
    }
}
