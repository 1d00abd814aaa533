use std::time::Duration;

use super::tokens::MANY;
use crate::error::{Error, Kind};

/// Rule of a [`Budget`](crate::budget::Budget), and its numbers. See [the table](crate::budget).
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::budget::{Budget, BudgetConfig, ShareBudget};
///
/// let share = ShareBudget::default().with_ttl(Duration::from_secs(10));
/// let config = BudgetConfig::Share(share);
/// config.validate()?;
/// assert_eq!(Budget::with_config(config).available(), 100);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(tag = "rule", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum BudgetConfig {
    /// A share of the calls, and a few a second. The default.
    Share(ShareBudget),
    /// All, while fewer than half of the attempts fail.
    Throttle(ThrottleBudget),
    /// Paid from a bank that successes fill.
    Standard(StandardBudget),
    /// A share of the calls that run at this moment.
    Concurrent(ConcurrentBudget),
    /// No retries.
    Empty,
    /// No limit.
    Unlimited,
}

/// Budget of a share of the calls, and a few retries a second.
///
/// Without [`ttl`](Self::ttl) it is a bank of tokens: each call puts in `ratio` of a token, `floor`
/// tokens come in each second, and each retry takes one. With it, calls and retries are counted over
/// the last `ttl`, and a reserve of `floor` times `ttl` is always there: Finagle's `RetryBudget`. If
/// `ratio` and `floor` are zero there are no retries.
///
/// ```
/// let share = tower_upstream::budget::ShareBudget::default();
/// assert_eq!((share.ratio, share.floor, share.capacity), (0.2, 10.0, 100));
/// assert_eq!((share.start, share.ttl), (None, None));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct ShareBudget {
    /// Retries for each call, from 0 to 10, to a thousandth. Default: 0.2.
    pub ratio: f64,
    /// Retries a second that there are anyway, from 0 to 1,000,000. May be a fraction: 0.1 is one every
    /// ten seconds. Default: 10.
    pub floor: f64,
    /// Retries at once after a quiet time, from 1 to 1,000,000. With a `ttl`, at least its reserve.
    /// Default: 100.
    pub capacity: u32,
    /// Tokens in the bank of a new budget, at most `capacity`. Not with a `ttl`. Default: `capacity`.
    pub start: Option<u32>,
    /// Time for which a call counts, from 1 s to 60 s. Default: as long as the bank holds its share.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::option"))]
    pub ttl: Option<Duration>,
}

/// Budget by gRPC's retry throttling (gRFC A6): a failure costs a token, a success brings
/// `token_ratio` of one, and there are retries while there are more than half of `max_tokens`.
///
/// ```
/// let throttle = tower_upstream::budget::ThrottleBudget::default();
/// assert_eq!((throttle.max_tokens, throttle.token_ratio), (100, 0.1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct ThrottleBudget {
    /// Tokens at most, and at first, from 1 to 1,000. Default: 100.
    pub max_tokens: u32,
    /// Part of a token that a success brings, from 0.001 to 10, to a thousandth. Default: 0.1.
    pub token_ratio: f64,
}

/// Budget by the "standard" retry quota of the AWS SDKs: a retry costs tokens, and gives them back if
/// it goes well; a call that goes well at once brings one.
///
/// The defaults are those of their newer rules, as in `aws-smithy-runtime` 1.14: 500 tokens, 14 for a
/// retry, 5 after throttling. So 35 retries in a row may fail while nothing goes well, or 100 after
/// throttling. (The older rules are 5 for a retry, throttling included, and 10 after a timeout.) One
/// thing differs: there a timeout costs as much as any failure; here it costs as much as an overload,
/// of which it is a sign.
///
/// ```
/// let standard = tower_upstream::budget::StandardBudget::default();
/// assert_eq!((standard.capacity, standard.cost, standard.overload_cost), (500, 14, 5));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct StandardBudget {
    /// Tokens at most, and at first, from 1 to 1,000,000. Default: 500.
    pub capacity: u32,
    /// Cost of a retry, from 1 to 1,000,000. Default: 14.
    pub cost: u32,
    /// Cost of a retry after an overload or a timeout, from 1 to 1,000,000. Default: 5.
    pub overload_cost: u32,
}

/// Budget as Envoy's: retries at once are at most a share of the calls that run, or a few. A retry
/// counts from the decision on, its backoff included.
///
/// ```
/// let concurrent = tower_upstream::budget::ConcurrentBudget::default();
/// assert_eq!((concurrent.percent, concurrent.min), (20.0, 3));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct ConcurrentBudget {
    /// Percent of the calls that run, from 0 to 100. Default: 20.
    pub percent: f64,
    /// Retries at once that there may be anyway, at most 1,000,000. Default: 3.
    pub min: u32,
}

/// Cause of a retry. Its cost may depend on it.
///
/// ```
/// use tower_upstream::budget::{Budget, BudgetConfig, Cause, StandardBudget};
/// let budget = Budget::with_config(BudgetConfig::Standard(StandardBudget::default()));
/// while budget.retry(Cause::Failure).is_some() {}
/// assert!(budget.retry(Cause::Overload).is_some(), "that is cheaper");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The attempt failed.
    Failure,
    /// The endpoint has too much to do, or took too long.
    Overload,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self::Share(ShareBudget::default())
    }
}

impl Default for ShareBudget {
    fn default() -> Self {
        Self { ratio: 0.2, floor: 10.0, capacity: 100, start: None, ttl: None }
    }
}

impl Default for ThrottleBudget {
    fn default() -> Self {
        Self { max_tokens: 100, token_ratio: 0.1 }
    }
}

impl Default for StandardBudget {
    fn default() -> Self {
        Self { capacity: 500, cost: 14, overload_cost: 5 }
    }
}

impl Default for ConcurrentBudget {
    fn default() -> Self {
        Self { percent: 20.0, min: 3 }
    }
}

impl StandardBudget {
    pub(super) fn clamped(mut self) -> Self {
        for count in [&mut self.capacity, &mut self.cost, &mut self.overload_cost] {
            *count = (*count).clamp(1, MANY);
        }
        self
    }
}

impl BudgetConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// `InvalidConfig`, which names all mistakes at once. A budget made with such values uses the nearest
    /// valid ones instead; an update with them is refused.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        let mut count = |name, value: u32, least: u32, most: u32| {
            if !(least..=most).contains(&value) {
                mistakes.push(format!("`{name}` is {value}, but must be from {least} to {most}"));
            }
        };
        let mut shares = Vec::new();
        let mut others = Vec::new();
        match *self {
            Self::Share(ShareBudget { ratio, floor, capacity, start, ttl }) => {
                shares.push(("ratio", ratio, 0.0, 10.0));
                shares.push(("floor", floor, 0.0, MANY.into()));
                count("capacity", capacity, 1, MANY);
                let (least, most) = (Duration::from_secs(1), Duration::from_secs(60));
                if let Some(ttl) = ttl.filter(|ttl| !(least..=most).contains(ttl)) {
                    others.push(format!("`ttl` is {ttl:?}, but must be from 1 s to 60 s"));
                }
                if start.is_some_and(|start| start > capacity) {
                    others.push("`start` is more than `capacity`".to_owned());
                }
                if start.is_some() && ttl.is_some() {
                    others.push("`start` has no effect with `ttl`".to_owned());
                }
            }
            Self::Throttle(ThrottleBudget { max_tokens, token_ratio }) => {
                count("max_tokens", max_tokens, 1, 1_000);
                shares.push(("token_ratio", token_ratio, 0.001, 10.0));
            }
            Self::Standard(StandardBudget { capacity, cost, overload_cost }) => {
                count("capacity", capacity, 1, MANY);
                count("cost", cost, 1, MANY);
                count("overload_cost", overload_cost, 1, MANY);
            }
            Self::Concurrent(ConcurrentBudget { percent, min }) => {
                count("min", min, 0, MANY);
                shares.push(("percent", percent, 0.0, 100.0));
            }
            Self::Empty | Self::Unlimited => {}
        }
        for (name, value, least, most) in shares {
            if !(least..=most).contains(&value) {
                mistakes.push(format!("`{name}` is {value}, but must be from {least} to {most}"));
            }
        }
        mistakes.append(&mut others);
        if mistakes.is_empty() {
            return Ok(());
        }
        let message = format!("retry budget: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_named() {
        let all = [
            (
                BudgetConfig::Share(ShareBudget {
                    ratio: -1.0,
                    floor: f64::INFINITY,
                    capacity: 0,
                    start: Some(1),
                    ttl: Some(Duration::from_secs(61)),
                }),
                &["`ratio`", "`floor`", "`capacity`", "`ttl`", "`start` is", "`start` has"][..],
            ),
            (
                BudgetConfig::Throttle(ThrottleBudget { max_tokens: 0, token_ratio: f64::NAN }),
                &["`max_tokens`", "`token_ratio`"],
            ),
            (
                BudgetConfig::Standard(StandardBudget { capacity: 0, cost: 0, overload_cost: 0 }),
                &["`capacity`", "`cost`", "`overload_cost`"],
            ),
            (
                BudgetConfig::Concurrent(ConcurrentBudget { percent: 101.0, min: u32::MAX }),
                &["`percent`", "`min`"],
            ),
        ];
        for (config, names) in all {
            let text = config.validate().unwrap_err().to_string();
            assert!(names.iter().all(|name| text.contains(name)), "{text}");
        }
    }

    #[test]
    fn the_defaults_are_right() {
        for config in [
            BudgetConfig::default(),
            BudgetConfig::Throttle(ThrottleBudget::default()),
            BudgetConfig::Standard(StandardBudget::default()),
            BudgetConfig::Concurrent(ConcurrentBudget::default()),
            BudgetConfig::Empty,
            BudgetConfig::Unlimited,
        ] {
            assert!(config.validate().is_ok());
        }
    }
}
