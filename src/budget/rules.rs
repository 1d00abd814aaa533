//! All rules side by side, so that another one can take over while calls run.

use std::time::Duration;

use super::{
    bucket::Bucket,
    concurrent::Concurrent,
    config::{BudgetConfig, Cause, ConcurrentBudget, ShareBudget, StandardBudget, ThrottleBudget},
    standard::Standard,
    throttle::Throttle,
    window::Window,
};
use crate::{
    sync::{
        Padded,
        atomic::{AtomicU64, Mutex, Ordering, lock},
    },
    time::Clock,
};

/// The rules of a budget, of which one counts.
pub(super) struct Rules {
    /// A [`Rule`].
    current: AtomicU64,
    clock: Clock,
    bucket: Bucket,
    /// Two, so that one with another time to live begins while calls count by the other.
    windows: [Window; 2],
    throttle: Throttle,
    standard: Standard,
    concurrent: Concurrent,
    counts: Padded<Counts>,
    one_update_at_a_time: Mutex<()>,
}

#[derive(Default)]
struct Counts {
    paid: AtomicU64,
    unpaid: AtomicU64,
}

/// Which rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Bucket,
    FirstWindow,
    SecondWindow,
    Throttle,
    Standard,
    Concurrent,
    Empty,
    Unlimited,
}

impl Rule {
    #[inline]
    const fn of(number: u64) -> Self {
        match number {
            0 => Self::Bucket,
            1 => Self::FirstWindow,
            2 => Self::SecondWindow,
            3 => Self::Throttle,
            4 => Self::Standard,
            5 => Self::Concurrent,
            6 => Self::Empty,
            _ => Self::Unlimited,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bucket | Self::FirstWindow | Self::SecondWindow => "share",
            Self::Throttle => "throttle",
            Self::Standard => "standard",
            Self::Concurrent => "concurrent",
            Self::Empty => "empty",
            Self::Unlimited => "unlimited",
        }
    }
}

impl Rules {
    pub(super) fn bucket(ratio: f64, floor: f64, capacity: u32) -> Self {
        Self {
            current: AtomicU64::new(Rule::Bucket as u64),
            clock: Clock::new(),
            bucket: Bucket::new(ratio, floor, capacity),
            windows: [(); 2].map(|()| Window::new(0.0, 0.0, 1, Duration::ZERO)),
            throttle: Throttle::new(1, 0.0),
            standard: Standard::new(StandardBudget::default()),
            concurrent: Concurrent::new(0.0, 0),
            counts: Padded(Counts::default()),
            one_update_at_a_time: Mutex::new(()),
        }
    }

    #[inline]
    pub(super) fn rule(&self) -> Rule {
        // Relaxed: what meets the old rule a moment longer is counted by it.
        Rule::of(self.current.load(Ordering::Relaxed))
    }

    /// Counts by another config, as a new budget does.
    pub(super) fn begin(&self, config: &BudgetConfig) {
        self.apply(config, true);
    }

    /// Counts by another config, and keeps what it can.
    pub(super) fn update(&self, config: &BudgetConfig) {
        self.apply(config, false);
    }

    fn apply(&self, config: &BudgetConfig, is_new: bool) {
        let _one = lock(&self.one_update_at_a_time);
        let before = self.rule();
        let begins = |rule| is_new || before != rule;
        let rule = match *config {
            BudgetConfig::Share(ShareBudget { ratio, floor, .. })
                if ratio <= 0.0 && floor <= 0.0 =>
            {
                Rule::Empty
            }
            BudgetConfig::Share(ShareBudget { ratio, floor, capacity, start, ttl: None }) => {
                self.bucket.set(ratio, floor, capacity, self.clock.nanos());
                if begins(Rule::Bucket) {
                    self.bucket.fill(start);
                }
                Rule::Bucket
            }
            BudgetConfig::Share(ShareBudget { ratio, floor, capacity, ttl: Some(ttl), .. }) => {
                let (rule, other) = match before {
                    Rule::FirstWindow => (Rule::FirstWindow, Rule::SecondWindow),
                    _ => (Rule::SecondWindow, Rule::FirstWindow),
                };
                let keeps = !begins(rule) && self.window(rule).has(ttl);
                let rule = if keeps { rule } else { other };
                if !keeps {
                    self.window(rule).begin(ttl);
                }
                self.window(rule).set(ratio, floor, capacity);
                rule
            }
            BudgetConfig::Throttle(ThrottleBudget { max_tokens, token_ratio }) => {
                self.throttle.set(max_tokens, token_ratio);
                if begins(Rule::Throttle) {
                    self.throttle.fill();
                }
                Rule::Throttle
            }
            BudgetConfig::Standard(config) => {
                self.standard.set(config);
                if begins(Rule::Standard) {
                    self.standard.fill();
                }
                Rule::Standard
            }
            BudgetConfig::Concurrent(ConcurrentBudget { percent, min }) => {
                self.concurrent.set(percent, min);
                Rule::Concurrent
            }
            BudgetConfig::Empty => Rule::Empty,
            BudgetConfig::Unlimited => Rule::Unlimited,
        };
        self.current.store(rule as u64, Ordering::Relaxed);
    }

    #[inline]
    fn window(&self, rule: Rule) -> &Window {
        let [first, second] = &self.windows;
        if rule == Rule::FirstWindow { first } else { second }
    }

    #[inline]
    pub(super) fn deposit(&self) {
        match self.rule() {
            Rule::Bucket => self.bucket.deposit(),
            rule @ (Rule::FirstWindow | Rule::SecondWindow) => {
                self.window(rule).deposit(self.clock.nanos());
            }
            _ => {}
        }
    }

    #[inline]
    pub(super) fn success(&self) {
        match self.rule() {
            Rule::Throttle => self.throttle.success(),
            Rule::Standard => self.standard.success(),
            _ => {}
        }
    }

    #[inline]
    pub(super) fn first_success(&self) {
        match self.rule() {
            Rule::Bucket => self.bucket.deposit(),
            rule @ (Rule::FirstWindow | Rule::SecondWindow) => {
                self.window(rule).deposit(self.clock.nanos());
            }
            _ => self.success(),
        }
    }

    pub(super) fn failure(&self) {
        if self.rule() == Rule::Throttle {
            self.throttle.failure();
        }
    }

    /// Whether the call is counted.
    #[inline]
    pub(super) fn begin_call(&self) -> bool {
        let counts = self.rule() == Rule::Concurrent;
        if counts {
            self.concurrent.begin();
        }
        counts
    }

    pub(super) fn end_call(&self) {
        self.concurrent.end();
    }

    /// By which rule a retry was paid for, and what it has cost.
    pub(super) fn pay(&self, cause: Cause) -> Option<(Rule, u32)> {
        let rule = self.rule();
        let cost = match rule {
            Rule::Bucket => self.bucket.withdraw(self.clock.nanos()).then_some(0),
            Rule::FirstWindow | Rule::SecondWindow => {
                self.window(rule).withdraw(self.clock.nanos()).then_some(0)
            }
            Rule::Throttle => self.throttle.allows().then_some(0),
            Rule::Standard => self.standard.withdraw(cause),
            Rule::Concurrent => self.concurrent.take().then_some(1),
            Rule::Empty => None,
            Rule::Unlimited => Some(0),
        };
        let Counts { paid, unpaid } = &*self.counts;
        // Relaxed: these are only counted.
        let count = if cost.is_some() { paid } else { unpaid };
        count.fetch_add(1, Ordering::Relaxed);
        cost.map(|cost| (rule, cost))
    }

    /// A retry that was paid for by `rule` went well.
    pub(super) fn reward(&self, rule: Rule, cost: u32) {
        match rule {
            Rule::Throttle => self.throttle.success(),
            Rule::Standard => self.standard.give_back(cost),
            _ => {}
        }
    }

    /// A retry that was paid for by `rule` runs no more.
    pub(super) fn give_back(&self, rule: Rule) {
        if rule == Rule::Concurrent {
            self.concurrent.give_back();
        }
    }

    pub(super) fn available(&self) -> u32 {
        let rule = self.rule();
        match rule {
            Rule::Bucket => self.bucket.available(self.clock.nanos()),
            Rule::FirstWindow | Rule::SecondWindow => {
                self.window(rule).available(self.clock.nanos())
            }
            Rule::Throttle => self.throttle.available(),
            Rule::Standard => self.standard.available(),
            Rule::Concurrent => self.concurrent.available(),
            Rule::Empty => 0,
            Rule::Unlimited => u32::MAX,
        }
    }

    pub(super) fn paid_and_unpaid(&self) -> (u64, u64) {
        let Counts { paid, unpaid } = &*self.counts;
        (paid.load(Ordering::Relaxed), unpaid.load(Ordering::Relaxed))
    }
}

/// For the cases of gRPC that `retry` runs.
#[cfg(test)]
impl Rules {
    pub(super) fn throttle(&self) -> Option<&Throttle> {
        (self.rule() == Rule::Throttle).then_some(&self.throttle)
    }
}
