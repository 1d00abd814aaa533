//! The generic cell rate algorithm (ITU-T I.371), pure: a state and the time in, a decision out.
//!
//! The state is one number, the theoretical arrival time (TAT): when the bucket will be full
//! again. A cell moves it on by one interval, and conforms while it stays within the tolerance.

use std::time::Duration;

use crate::error::Error;

/// The longest wait that a refusal tells, in nanoseconds.
pub(in crate::limit) const LONGEST_WAIT: u64 = Error::LONGEST_WAIT.as_nanos() as u64;

/// One interval per cell, and a tolerance of `burst` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::limit) struct Gcra {
    interval: u64,
    tolerance: u64,
}

/// What to do with a cell, or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::limit) enum Decision {
    /// Let it pass, and keep `new_tat`.
    Allowed { new_tat: u64 },
    /// Turn it away, and keep the state as it is. After exactly so many nanoseconds it conforms.
    Refused { retry_after: u64 },
}

/// So many cells at once never conform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::limit) struct NeverFits {
    pub(in crate::limit) cells: u32,
    pub(in crate::limit) burst: u32,
}

/// Nanoseconds per cell, rounded up so that a quota is never exceeded; `None` where there is no
/// rate: no cells, or no time.
pub(in crate::limit) const fn interval(cells: u32, per: Duration) -> Option<u64> {
    if cells == 0 || per.is_zero() {
        return None;
    }
    let nanos = per.as_nanos().div_ceil(cells as u128);
    if nanos > u64::MAX as u128 { Some(u64::MAX) } else { Some(nanos as u64) }
}

/// A full burst that lasts less than this may come back while a thread is preempted between its
/// look at the clock and its decision.
const BRIEF: u64 = 10_000_000;

impl Gcra {
    /// Values are taken as they come, but for zero, which becomes one.
    pub(in crate::limit) fn new(interval: u64, burst: u32) -> Self {
        let interval = interval.max(1);
        Self { interval, tolerance: interval.saturating_mul(u64::from(burst.max(1))) }
    }

    /// How many cells fit at once.
    pub(in crate::limit) fn burst(&self) -> u32 {
        u32::try_from(self.tolerance / self.interval).unwrap_or(u32::MAX)
    }

    /// The number of `cells` that come together, if they ever fit.
    #[inline]
    pub(in crate::limit) fn fitting(&self, cells: u32) -> Result<u64, NeverFits> {
        // A product, since this is asked on hot paths and a quotient takes ten times as long.
        if self.interval.saturating_mul(u64::from(cells)) > self.tolerance {
            return Err(NeverFits { cells, burst: self.burst() });
        }
        Ok(u64::from(cells))
    }

    /// Decides on `cells` that come together; more than fit at once are refused for ever.
    #[inline]
    pub(in crate::limit) fn decide(&self, tat: u64, now: u64, cells: u64) -> Decision {
        match self.wait(tat, now, cells) {
            0 => Decision::Allowed { new_tat: self.after(tat, now, cells) },
            retry_after => Decision::Refused { retry_after },
        }
    }

    /// [`decide`](Self::decide) on one cell, which fits: the new state, or the moment from which on
    /// it conforms. That does not depend on the present, so a processor has it before the clock is
    /// read.
    #[inline(always)]
    pub(in crate::limit) fn decide_one(&self, tat: u64, now: u64) -> Result<u64, u64> {
        // No less than zero, unless the parts of two rules meet while one replaces the other: then the
        // cell conforms.
        let slack = self.tolerance.wrapping_sub(self.interval);
        if tat > now.saturating_add(slack) {
            return Err(tat - slack);
        }
        Ok(self.after(tat, now, 1))
    }

    /// How long until the last of `cells` conforms, if they take their turns as soon as they can;
    /// so there may be more of them than fit at once.
    #[inline]
    pub(in crate::limit) fn wait(&self, tat: u64, now: u64, cells: u64) -> u64 {
        self.after(tat, now, cells).saturating_sub(now.saturating_add(self.tolerance))
    }

    /// The state after `cells` passed.
    #[inline]
    pub(in crate::limit) fn after(&self, tat: u64, now: u64, cells: u64) -> u64 {
        tat.max(now).saturating_add(self.interval.saturating_mul(cells))
    }

    /// The state under this rule in which the same share of the bucket is used as in `tat` under
    /// `before`.
    pub(in crate::limit) fn rescale(&self, before: &Self, tat: u64, now: u64) -> u64 {
        let used = u128::from(tat.saturating_sub(now)) * u128::from(self.tolerance);
        let used = used.div_ceil(u128::from(before.tolerance.max(1)));
        now.saturating_add(u64::try_from(used).unwrap_or(u64::MAX))
    }

    /// Nanoseconds per cell, and how many of them fit.
    pub(in crate::limit) fn parts(&self) -> (u64, u64) {
        (self.interval, self.tolerance)
    }

    pub(in crate::limit) fn of_parts((interval, tolerance): (u64, u64)) -> Self {
        Self { interval, tolerance }
    }

    /// Whether a look at the clock may be too old to refuse by; see [`look_twice`].
    pub(in crate::limit) fn is_brief(&self) -> bool {
        self.tolerance < BRIEF
    }

    /// Whether the next cell may be so far away that an error cannot tell it.
    pub(in crate::limit) fn is_seldom(&self) -> bool {
        self.interval > LONGEST_WAIT
    }

    /// How many cells would pass now.
    pub(in crate::limit) fn remaining(&self, tat: u64, now: u64) -> u32 {
        let free = self.tolerance.saturating_sub(tat.saturating_sub(now));
        u32::try_from(free / self.interval).unwrap_or(u32::MAX)
    }
}

/// Asks `take` at the time `first`; where it refuses and the rule `is_brief`, at the time of a second
/// look at the clock.
///
/// A thread may be preempted for milliseconds after it has read the clock. Others go on meanwhile, and
/// move the state to where their, later, time has it; by the old time that looks like a bucket without
/// tokens, though there are some. With a burst that lasts longer than such a pause it does not.
#[inline]
pub(in crate::limit) fn look_twice<T, E>(
    first: u64,
    second: impl FnOnce() -> u64,
    is_brief: impl FnOnce() -> bool,
    take: impl Fn(u64) -> Result<T, E>,
) -> Result<T, E> {
    match take(first) {
        Err(no) => second_look(no, second, is_brief, take),
        taken => taken,
    }
}

/// [`look_twice`] for one that was refused at its first look.
// Out of line, so that what takes is laid out as without all this.
#[cold]
#[inline(never)]
pub(super) fn second_look<T, E>(
    no: E,
    second: impl FnOnce() -> u64,
    is_brief: impl FnOnce() -> bool,
    take: impl Fn(u64) -> Result<T, E>,
) -> Result<T, E> {
    if is_brief() { take(second()) } else { Err(no) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    const MILLI: u64 = 1_000_000;

    /// The rule with a state, as a limiter has it.
    struct Bucket {
        rule: Gcra,
        tat: u64,
    }

    impl Bucket {
        fn take(&mut self, now: u64, cells: u32) -> Result<Option<u64>, NeverFits> {
            let cells = self.rule.fitting(cells)?;
            Ok(match self.rule.decide(self.tat, now, cells) {
                Decision::Allowed { new_tat } => {
                    self.tat = new_tat;
                    None
                }
                Decision::Refused { retry_after } => Some(retry_after),
            })
        }
    }

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../../tests/vectors/gcra.json")).unwrap()
    }

    fn number(value: &Value) -> u64 {
        value.as_u64().unwrap()
    }

    #[test]
    fn throttled_s_table() {
        let vectors = vectors();
        let steps = vectors["cases"]["throttled_table_limit5_1_per_s"].as_array().unwrap();
        assert_eq!(steps.len(), 16);
        let mut bucket = Bucket { rule: Gcra::new(1_000 * MILLI, 5), tat: 0 };
        for step in steps {
            let now = number(&step["t_ms"]) * MILLI;
            let taken = bucket.take(now, number(&step["volume"]) as u32);
            let expect = &step["expect"];
            let retry = expect["retry_after_ms"].as_u64().map(|ms| ms * MILLI);
            assert_eq!(expect["limited"].as_bool().unwrap(), taken != Ok(None), "{step}");
            assert_eq!(taken.unwrap_or(None), retry, "{step}");
            let remaining = u64::from(bucket.rule.remaining(bucket.tat, now));
            assert_eq!(remaining, number(&expect["remaining"]), "{step}");
            let reset = bucket.tat.saturating_sub(now);
            assert_eq!(reset, number(&expect["reset_after_ms"]) * MILLI, "{step}");
        }
    }

    #[test]
    fn governor_s_cases() {
        let vectors = vectors();
        let cases = vectors["cases"]["governor"].as_array().unwrap();
        assert_eq!(cases.len(), 8);
        for case in cases {
            let interval = number(&case["period_ms"]) * MILLI;
            let burst = number(&case["burst"]) as u32;
            let mut bucket = Bucket { rule: Gcra::new(interval, burst), tat: 0 };
            let Some(steps) = case["steps"].as_array() else {
                // The one case that is a rule.
                assert_eq!(case["expect"], "all 20 conform");
                let mut now = 0;
                for _ in 0..20 {
                    now += MILLI;
                    if let Some(wait) = bucket.take(now, 1).unwrap() {
                        now += wait;
                        assert_eq!(bucket.take(now, 1), Ok(None));
                    }
                }
                continue;
            };
            for step in steps {
                let now = number(&step["t_ms"]) * MILLI;
                let got = match bucket.take(now, number(&step["n"]) as u32) {
                    Ok(None) => "ok",
                    Ok(Some(_)) => "not_until",
                    Err(_) => "insufficient_capacity",
                };
                assert_eq!(step["expect"], got, "{}: {step}", case["name"]);
            }
        }
    }

    #[test]
    fn rates_become_intervals() {
        let vectors = vectors();
        let rates = vectors["cases"]["rates"].as_array().unwrap();
        assert_eq!(rates.len(), 6);
        for rate in rates {
            let text = rate["rate"].as_str().unwrap();
            let expect = number(&rate["period_ms"]) * MILLI;
            let given = |cells, secs| interval(cells, Duration::from_secs(secs));
            match text {
                "24 per day" => assert_eq!(given(24, 86_400), Some(expect)),
                "6 per hour" => assert_eq!(given(6, 3_600), Some(expect)),
                "6 per minute" => assert_eq!(given(6, 60), Some(expect)),
                "6 per 2 minutes" => assert_eq!(given(6, 120), Some(expect)),
                "5 per second" => assert_eq!(given(5, 1), Some(expect)),
                "0 per any period or any per zero period" => {
                    assert_eq!((given(0, 1), given(1, 0)), (None, None));
                }
                other => panic!("no test for `{other}`"),
            }
        }
        assert_eq!(interval(3, Duration::from_secs(1)), Some(333_333_334));
        assert_eq!(interval(1, Duration::MAX), Some(u64::MAX));
    }

    proptest! {
        /// A token bucket in fractions of a token, counted in whole nanoseconds.
        #[test]
        fn it_is_a_token_bucket(
            interval in 1..50_u64,
            burst in 1..8_u32,
            steps in prop::collection::vec((0..60_u64, 0..10_u32), 1..200),
        ) {
            let mut bucket = Bucket { rule: Gcra::new(interval, burst), tat: 0 };
            let full = interval * u64::from(burst);
            let (mut now, mut tokens) = (0, full);
            for (passed, cells) in steps {
                now += passed;
                tokens = full.min(tokens + passed);
                let cost = interval * u64::from(cells);
                prop_assert_eq!(u64::from(bucket.rule.remaining(bucket.tat, now)), tokens / interval);
                match bucket.take(now, cells) {
                    Ok(None) => {
                        prop_assert!(cost <= tokens);
                        tokens -= cost;
                    }
                    Ok(Some(wait)) => prop_assert_eq!(wait, cost - tokens),
                    Err(_) => prop_assert!(cells > burst),
                }
            }
        }

        #[test]
        fn one_cell_is_decided_on_as_several_are(
            interval in 1..50_u64,
            burst in 1..8_u32,
            tat in 0..500_u64,
            now in 0..500_u64,
        ) {
            let rule = Gcra::new(interval, burst);
            let one = match rule.decide_one(tat, now) {
                Ok(new_tat) => Decision::Allowed { new_tat },
                Err(free) => Decision::Refused { retry_after: free - now },
            };
            prop_assert_eq!(one, rule.decide(tat, now, 1));
        }

        #[test]
        fn nothing_overflows(interval: u64, burst: u32, tat: u64, now: u64, cells: u32) {
            let rule = Gcra::new(interval, burst);
            let _ = (rule.decide(tat, now, cells.into()), rule.decide_one(tat, now));
            let _ = (rule.wait(tat, now, u64::MAX), rule.remaining(tat, now));
        }
    }
}
