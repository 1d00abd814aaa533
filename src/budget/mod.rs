//! How many repeated calls an upstream may get, in proportion to the calls it gets anyway.
//!
//! # When to use
//! Every [`FailoverLayer`](crate::FailoverLayer) and retry policy has a budget by default. Give one
//! [`Budget`] to several layers that call the same upstream, so that they share it.
//!
//! # Which rule
//!
//! | rule | retries are | reads a clock |
//! |---|---|---|
//! | [`ShareBudget`] without `ttl`, the default | a share of the calls, a few a second, and a bank | for a retry |
//! | [`ShareBudget`] with `ttl` | the same, of the calls of the last `ttl`, as Finagle counts | for every call |
//! | [`ThrottleBudget`] | all, while fewer than half of the attempts fail, as in gRPC | never |
//! | [`StandardBudget`] | paid from a bank that successes fill, as in the AWS SDKs | never |
//! | [`ConcurrentBudget`] | a share of the calls that run at this moment, as Envoy counts | never |
//!
//! Each of them is lock-free, and is charged when a retry is decided, before its backoff. A call
//! that goes well while the budget is full only reads it; except with the last rule, which counts each
//! call.
//!
//! # Bounds
//! The numbers of each rule are bounded; see [`BudgetConfig`]. A budget has a fixed size.
//!
//! # Differences from tower's
//! `tower::retry::budget::TpsBudget` is a [`ShareBudget`] with a `ttl` for one `tower::retry` layer.
//! A [`Budget`] works with failover as well, has other rules, can be [updated](Budget::update) while
//! it is in use, and counts what it paid for.
//!
//! # Example
//! See [`Budget`].

mod bank;
mod builders;
mod concurrent;
mod config;
mod rules;
mod standard;
mod throttle;
mod tokens;
mod window;
#[cfg(feature = "serde")]
mod written;

use std::{fmt, sync::Arc};

pub use self::config::{
    BudgetConfig, Cause, ConcurrentBudget, ShareBudget, StandardBudget, ThrottleBudget,
};

use self::rules::{AllRules, RuleKind};
use crate::{error::Error, telemetry::Stats};

/// Retry budget: how many calls may be repeated. Clones share it: give one to several layers and they
/// share one budget.
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
/// In a retry loop of your own, which gives back what a success is worth:
/// ```
/// use tower_upstream::budget::{Budget, BudgetConfig, Cause, StandardBudget};
///
/// let budget = Budget::with_config(BudgetConfig::Standard(StandardBudget::default()));
/// budget.failure();
/// if let Some(permit) = budget.retry(Cause::Failure) {
///     // wait, try again, and if that went well:
///     permit.succeed();
/// }
/// ```
#[derive(Clone)]
pub struct Budget {
    rules: Arc<AllRules>,
}

impl Budget {
    /// Makes a budget of `ratio` retries for each call (0 to 10, to a thousandth), at least `floor` a
    /// second (up to 1,000,000), and up to `capacity` (1 to 1,000,000) at once after a quiet time.
    ///
    /// Values out of range become the nearest valid ones. This is a [`ShareBudget`] without a `ttl`.
    pub fn new(ratio: f64, floor: impl Into<f64>, capacity: u32) -> Self {
        Self { rules: Arc::new(AllRules::bank(ratio, floor.into(), capacity)) }
    }

    /// Creates a budget of any rule. Values out of range become the nearest valid ones; see
    /// [`BudgetConfig::validate`].
    pub fn with_config(config: BudgetConfig) -> Self {
        let rules = AllRules::bank(0.0, 0.0, 1);
        rules.begin(&config);
        Self { rules: Arc::new(rules) }
    }

    /// Makes a budget that pays for no retries.
    pub fn none() -> Self {
        Self::with_config(BudgetConfig::Empty)
    }

    /// Makes a budget without a limit: a call is repeated as often as its config says. An upstream that
    /// fails then gets a multiple of its load, and may never recover.
    pub fn unlimited() -> Self {
        Self::with_config(BudgetConfig::Unlimited)
    }

    /// Replaces the rule and its numbers, for all clones of this budget and all layers that use it.
    ///
    /// With the same rule, tokens and counts stay, up to the new capacity. Another rule, or another
    /// [`ttl`](ShareBudget::ttl), begins as a new budget does.
    ///
    /// # Errors
    /// `InvalidConfig`, which names all mistakes at once. The budget then stays as it is.
    ///
    /// ```
    /// use tower_upstream::budget::{Budget, BudgetConfig, ShareBudget};
    ///
    /// let budget = Budget::default();
    /// budget.update(&BudgetConfig::Share(ShareBudget::default().with_capacity(5)))?;
    /// assert_eq!(budget.available(), 5);
    /// budget.update(&BudgetConfig::Empty)?;
    /// assert!(!budget.withdraw());
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn update(&self, config: &BudgetConfig) -> Result<(), Error> {
        config.validate()?;
        self.rules.update(config);
        Ok(())
    }

    /// Puts in the share of one call, once for each call that is sent.
    #[inline]
    pub fn deposit(&self) {
        self.rules.deposit();
    }

    /// A call went well at once: [`deposit`](Self::deposit) and [`success`](Self::success) in one
    /// look.
    #[inline]
    pub(crate) fn first_success(&self) {
        self.rules.first_success();
    }

    /// Counts a call as running until the returned value is dropped. Only [`ConcurrentBudget`] counts.
    #[inline]
    pub fn running(&self) -> RunningCall {
        if self.counts_calls() { self.counted_call() } else { RunningCall { rules: None } }
    }

    /// Whether calls count as running.
    #[inline]
    pub(crate) fn counts_calls(&self) -> bool {
        self.rules.counts_calls()
    }

    /// Counts a call as running until [`end_call`](Self::end_call).
    pub(crate) fn begin_call(&self) {
        self.rules.begin_call();
    }

    pub(crate) fn end_call(&self) {
        self.rules.end_call();
    }

    #[cold]
    fn counted_call(&self) -> RunningCall {
        self.rules.begin_call();
        RunningCall { rules: Some(self.rules.clone()) }
    }

    /// Notes an attempt that went well. For a retry, use [`RetryPermit::succeed`] instead.
    #[inline]
    pub fn success(&self) {
        self.rules.success();
    }

    /// Notes an attempt that failed in a way that another attempt may mend, whether or not there is
    /// one. Not for refusals, and not for mistakes of a caller.
    pub fn failure(&self) {
        self.rules.failure();
    }

    /// Takes what one retry costs, when it is decided: before its backoff. `None` if there is not
    /// enough: do not retry then.
    ///
    /// Tokens are spent even if the retry is never made. A place among the retries that run is held
    /// until the permit is dropped.
    pub fn retry(&self, cause: Cause) -> Option<RetryPermit> {
        let (rule, cost) = self.rules.pay(cause)?;
        Some(RetryPermit { rules: self.rules.clone(), rule, cost })
    }

    /// Takes the token for one retry. `false` if there is none: do not retry then.
    ///
    /// Equals [`retry`](Self::retry) with a permit that is dropped at once.
    pub fn withdraw(&self) -> bool {
        self.retry(Cause::Failure).is_some()
    }

    /// Returns how many retries this budget would pay for now.
    pub fn available(&self) -> u32 {
        self.rules.available()
    }

    /// Returns how many retries this budget paid for so far (`admitted`), and how many it did not
    /// (`refused`).
    ///
    /// ```
    /// use tower_upstream::budget::Budget;
    /// let budget = Budget::new(0.0, 0, 1);
    /// assert!(budget.withdraw() && !budget.withdraw());
    /// let stats = budget.stats();
    /// assert_eq!((stats.admitted, stats.refused), (Some(1), Some(1)));
    /// assert_eq!(budget.available(), 0);
    /// ```
    pub fn stats(&self) -> Stats {
        let (paid, unpaid) = self.rules.paid_and_unpaid();
        Stats { admitted: Some(paid), refused: Some(unpaid), ..Stats::default() }
    }
}

/// Right to make one retry. See [`Budget::retry`].
#[must_use = "some rules count the retry as running while this is held"]
pub struct RetryPermit {
    rules: Arc<AllRules>,
    rule: RuleKind,
    cost: u32,
}

impl RetryPermit {
    /// Notes that the retry went well, which some rules reward.
    pub fn succeed(self) {
        self.rules.reward(self.rule, self.cost);
    }
}

impl Drop for RetryPermit {
    fn drop(&mut self) {
        self.rules.give_back(self.rule);
    }
}

/// Call that runs. See [`Budget::running`]. The default is one that is not counted.
#[derive(Default)]
#[must_use = "the call counts as running while this is held"]
pub struct RunningCall {
    rules: Option<Arc<AllRules>>,
}

impl RunningCall {
    /// Ends the call, though this is kept.
    #[inline]
    pub fn end(&mut self) {
        if self.rules.is_some() {
            self.end_counted();
        }
    }

    #[cold]
    fn end_counted(&mut self) {
        if let Some(rules) = self.rules.take() {
            rules.end_call();
        }
    }
}

impl Drop for RunningCall {
    #[inline]
    fn drop(&mut self) {
        self.end();
    }
}

impl Default for Budget {
    /// A fifth of the calls, at least ten a second, and a hundred after a quiet time.
    fn default() -> Self {
        Self::with_config(BudgetConfig::default())
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Budget");
        debug.field("rule", &format_args!("{}", self.rules.rule().name()));
        debug.field("available", &self.available()).finish_non_exhaustive()
    }
}

impl fmt::Debug for RetryPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPermit").field("cost", &self.cost).finish_non_exhaustive()
    }
}

impl fmt::Debug for RunningCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningCall").field("counted", &self.rules.is_some()).finish()
    }
}

#[cfg(test)]
mod vectors;
