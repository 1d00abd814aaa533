//! How many repeated calls an upstream may get, in proportion to the calls it gets anyway.
//!
//! # Which rule
//!
//! | rule | retries are | reads a clock |
//! |---|---|---|
//! | [`ShareBudget`] without `ttl`, the default | a share of the calls, a few a second, and a bank | for a retry |
//! | [`ShareBudget`] with `ttl` | the same, of the calls of the last `ttl`, as Finagle counts | for every call |
//! | [`ThrottleBudget`] | all, while fewer than half of the attempts fail, as gRPC has it | never |
//! | [`StandardBudget`] | paid from a bank that successes fill, as in the AWS SDKs | never |
//! | [`ConcurrentBudget`] | a share of the calls that run at this moment, as Envoy counts | never |
//!
//! Each of them is lock-free, and is charged when a retry is decided, before its backoff. A call
//! that goes well while the budget is full only reads it; but for the last, which counts each call.

mod bucket;
mod builders;
mod concurrent;
mod config;
mod standard;
mod throttle;
mod window;

use std::{fmt, sync::Arc};

pub use self::config::{
    BudgetConfig, ConcurrentBudget, ShareBudget, StandardBudget, ThrottleBudget,
};

use self::{
    bucket::Bucket, concurrent::Concurrent, standard::Standard, throttle::Throttle, window::Window,
};
use crate::time::Clock;

/// Thousandths of a token, in which shares are counted.
const TOKEN: u64 = 1_000;

/// A retry budget: how many calls may be repeated. Clones share it: give one to several layers
/// and they share one budget.
///
/// By default retries are a fifth of the calls, at least ten a second, and a hundred after a quiet
/// time. See [`BudgetConfig`] for other rules.
///
/// # Example
/// ```
/// use tower_upstream::budget::Budget;
/// let budget = Budget::new(0.2, 0, 2);
/// assert!(budget.withdraw() && budget.withdraw());
/// assert!(!budget.withdraw());
/// (0..5).for_each(|_| budget.deposit());
/// assert!(budget.withdraw());
/// ```
///
/// A retry of one's own, which gives back what its success is worth:
/// ```
/// use tower_upstream::budget::{Budget, BudgetConfig, Cause, StandardBudget};
///
/// let budget = Budget::with_config(&BudgetConfig::Standard(StandardBudget::default()));
/// budget.failure();
/// if let Some(permit) = budget.retry(Cause::Failure) {
///     // wait, try again, and if that went well:
///     permit.succeed();
/// }
/// ```
#[derive(Clone)]
pub struct Budget {
    rule: Arc<Rule>,
}

enum Rule {
    Bucket(Bucket, Clock),
    Window(Window, Clock),
    Throttle(Throttle),
    Standard(Standard),
    Concurrent(Concurrent),
    Empty,
    Unlimited,
}

/// Why a call is to be repeated. What it costs may depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The attempt failed.
    Failure,
    /// The endpoint has too much to do, or took too long.
    Overload,
}

impl Budget {
    /// Retries for `ratio` of the calls (0 to 10, to a thousandth), at least `floor` a second (up
    /// to 1,000,000), and up to `capacity` (1 to 1,000,000) at once after a quiet time. Values
    /// beyond are clamped. This is a [`ShareBudget`] without a `ttl`.
    pub fn new(ratio: f64, floor: u32, capacity: u32) -> Self {
        Self::of(Rule::Bucket(Bucket::new(ratio, floor, capacity), Clock::new()))
    }

    /// A budget of any rule. Values out of range become the nearest sane ones; see
    /// [`BudgetConfig::validate`].
    pub fn with_config(config: &BudgetConfig) -> Self {
        match *config {
            BudgetConfig::Share(ShareBudget { ratio, floor, capacity, ttl }) => match ttl {
                _ if ratio <= 0.0 && floor == 0 => Self::none(),
                None => Self::new(ratio, floor, capacity),
                Some(ttl) => {
                    let window = Window::new(ratio, floor, capacity, ttl);
                    Self::of(Rule::Window(window, Clock::new()))
                }
            },
            BudgetConfig::Throttle(ThrottleBudget { max_tokens, token_ratio }) => {
                Self::of(Rule::Throttle(Throttle::new(max_tokens, token_ratio)))
            }
            BudgetConfig::Standard(config) => Self::of(Rule::Standard(Standard::new(config))),
            BudgetConfig::Concurrent(ConcurrentBudget { percent, min }) => {
                Self::of(Rule::Concurrent(Concurrent::new(percent, min)))
            }
            BudgetConfig::Empty => Self::none(),
            BudgetConfig::Unlimited => Self::unlimited(),
        }
    }

    /// No retries.
    pub fn none() -> Self {
        Self::of(Rule::Empty)
    }

    /// No limit: a call is repeated as often as its config says. An upstream that fails then gets a
    /// multiple of its load, and may never recover.
    pub fn unlimited() -> Self {
        Self::of(Rule::Unlimited)
    }

    fn of(rule: Rule) -> Self {
        Self { rule: Arc::new(rule) }
    }

    /// Puts in the share of one call, once for each call that is sent.
    #[inline]
    pub fn deposit(&self) {
        match &*self.rule {
            Rule::Bucket(bucket, _) => bucket.deposit(),
            Rule::Window(window, clock) => window.deposit(clock.nanos()),
            _ => {}
        }
    }

    /// A call went well at once: [`deposit`](Self::deposit) and [`success`](Self::success) in one
    /// look.
    #[inline]
    pub(crate) fn first_success(&self) {
        match &*self.rule {
            Rule::Bucket(bucket, _) => bucket.deposit(),
            Rule::Window(window, clock) => window.deposit(clock.nanos()),
            _ => self.success(),
        }
    }

    /// Counts a call as running, for the rule that asks for it, until what it returns is dropped.
    #[inline]
    pub fn running(&self) -> Running {
        match &*self.rule {
            Rule::Concurrent(rule) => {
                rule.begin();
                Running { rule: Some(self.rule.clone()) }
            }
            _ => Running { rule: None },
        }
    }

    /// Notes an attempt that went well. For a retry, [`Permit::succeed`] instead.
    #[inline]
    pub fn success(&self) {
        match &*self.rule {
            Rule::Throttle(throttle) => throttle.success(),
            Rule::Standard(standard) => standard.success(),
            _ => {}
        }
    }

    /// Notes an attempt that failed in a way that another may mend, whether or not there is
    /// another. Not for refusals, and not for callers' mistakes.
    pub fn failure(&self) {
        if let Rule::Throttle(throttle) = &*self.rule {
            throttle.failure();
        }
    }

    /// Takes what one retry costs, when it is decided: before its backoff. `None`: there is not
    /// enough, do not retry. Tokens are gone then, also if the retry is never made; a place among
    /// those that run is held until the permit is dropped.
    pub fn retry(&self, cause: Cause) -> Option<Permit> {
        let cost = match &*self.rule {
            Rule::Bucket(bucket, clock) => bucket.withdraw(clock.nanos()).then_some(0),
            Rule::Window(window, clock) => window.withdraw(clock.nanos()).then_some(0),
            Rule::Throttle(throttle) => throttle.allows().then_some(0),
            Rule::Standard(standard) => standard.withdraw(cause),
            Rule::Concurrent(rule) => rule.take().then_some(1),
            Rule::Empty => None,
            Rule::Unlimited => Some(0),
        }?;
        Some(Permit { rule: self.rule.clone(), cost })
    }

    /// Takes the token for one retry. `false`: there is none, do not retry.
    ///
    /// The same as [`retry`](Self::retry) with a permit that is dropped at once.
    pub fn withdraw(&self) -> bool {
        self.retry(Cause::Failure).is_some()
    }

    /// How many retries it would pay for now.
    pub fn available(&self) -> u32 {
        match &*self.rule {
            Rule::Bucket(bucket, clock) => bucket.available(clock.nanos()),
            Rule::Window(window, clock) => window.available(clock.nanos()),
            Rule::Throttle(throttle) => throttle.available(),
            Rule::Standard(standard) => standard.available(),
            Rule::Concurrent(rule) => rule.available(),
            Rule::Empty => 0,
            Rule::Unlimited => u32::MAX,
        }
    }
}

/// The right to make one retry. See [`Budget::retry`].
#[must_use = "some rules count the retry as running while this is held"]
pub struct Permit {
    rule: Arc<Rule>,
    cost: u32,
}

impl Permit {
    /// Notes that the retry went well, which some rules reward.
    pub fn succeed(self) {
        match &*self.rule {
            Rule::Throttle(throttle) => throttle.success(),
            Rule::Standard(standard) => standard.give_back(self.cost),
            _ => {}
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Rule::Concurrent(rule) = &*self.rule {
            rule.give_back();
        }
    }
}

/// A call that runs. See [`Budget::running`]. The default is one that nobody counts.
#[derive(Default)]
#[must_use = "the call counts as running while this is held"]
pub struct Running {
    rule: Option<Arc<Rule>>,
}

impl Running {
    /// The call is over, though this is kept.
    #[inline]
    pub fn end(&mut self) {
        if self.rule.is_some() {
            self.end_counted();
        }
    }

    #[cold]
    fn end_counted(&mut self) {
        if let Some(Rule::Concurrent(rule)) = self.rule.take().as_deref() {
            rule.end();
        }
    }
}

impl Drop for Running {
    #[inline]
    fn drop(&mut self) {
        self.end();
    }
}

impl Default for Budget {
    /// A fifth of the calls, at least ten a second, and a hundred after a quiet time.
    fn default() -> Self {
        Self::with_config(&BudgetConfig::default())
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = match &*self.rule {
            Rule::Bucket(..) | Rule::Window(..) => "share",
            Rule::Throttle(_) => "throttle",
            Rule::Standard(_) => "standard",
            Rule::Concurrent(_) => "concurrent",
            Rule::Empty => "empty",
            Rule::Unlimited => "unlimited",
        };
        let mut debug = f.debug_struct("Budget");
        debug.field("rule", &rule).field("available", &self.available()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("cost", &self.cost).finish_non_exhaustive()
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("counted", &self.rule.is_some()).finish()
    }
}

/// A share as thousandths of a token: 0 to 10.
fn thousandths(ratio: f64) -> u64 {
    let ratio = if ratio.is_nan() { 0.0 } else { ratio.clamp(0.0, 10.0) };
    (ratio * TOKEN as f64).round() as u64
}

#[cfg(test)]
mod vectors;
