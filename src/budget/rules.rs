//! All rules side by side, so that another one can take over while calls run.

use std::{sync::OnceLock, time::Duration};

use super::{
    bank::Bank,
    concurrent::Concurrent,
    config::{BudgetConfig, Cause, ConcurrentBudget, ShareBudget, StandardBudget, ThrottleBudget},
    standard::Standard,
    throttle::Throttle,
    window::TtlWindow,
};
use crate::{
    sync::{
        Padded,
        atomic::{AtomicU64, Mutex, Ordering, lock},
    },
    time::Clock,
};

/// The rules of a budget, of which one counts.
pub(super) struct AllRules {
    /// A [`RuleKind`].
    current: AtomicU64,
    clock: Clock,
    /// There with the first config that has one of them.
    others: OnceLock<Box<Others>>,
    one_update_at_a_time: Mutex<()>,
    written: Padded<Written>,
}

/// The rules beside the one by default. Each has cache lines of its own, so together they take much memory.
struct Others {
    /// Two, so that one with another time to live begins while calls count by the other.
    windows: [TtlWindow; 2],
    throttle: Throttle,
    standard: Standard,
    concurrent: Concurrent,
}

impl Others {
    #[cold]
    fn new() -> Box<Self> {
        Box::new(Self {
            windows: [(); 2].map(|()| TtlWindow::new(0.0, 0.0, 1, Duration::ZERO)),
            throttle: Throttle::new(1, 0.0),
            standard: Standard::new(StandardBudget::default()),
            concurrent: Concurrent::new(0.0, 0),
        })
    }

    #[inline]
    fn window(&self, rule: RuleKind) -> &TtlWindow {
        let [first, second] = &self.windows;
        if rule == RuleKind::FirstWindow { first } else { second }
    }
}

/// What calls write. Together, since a call reads all of the bank, and a retry writes to both.
struct Written {
    bank: Bank,
    payments: Payments,
}

#[derive(Default)]
struct Payments {
    paid: AtomicU64,
    unpaid: AtomicU64,
}

/// Which rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RuleKind {
    Bank,
    FirstWindow,
    SecondWindow,
    Throttle,
    Standard,
    Concurrent,
    Empty,
    Unlimited,
}

impl RuleKind {
    #[inline]
    const fn of(number: u64) -> Self {
        match number {
            0 => Self::Bank,
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
            Self::Bank | Self::FirstWindow | Self::SecondWindow => "share",
            Self::Throttle => "throttle",
            Self::Standard => "standard",
            Self::Concurrent => "concurrent",
            Self::Empty => "empty",
            Self::Unlimited => "unlimited",
        }
    }
}

impl AllRules {
    pub(super) fn bank(ratio: f64, floor: f64, capacity: u32) -> Self {
        Self {
            current: AtomicU64::new(RuleKind::Bank as u64),
            clock: Clock::new(),
            others: OnceLock::new(),
            one_update_at_a_time: Mutex::new(()),
            written: Padded(Written {
                bank: Bank::new(ratio, floor, capacity),
                payments: Payments::default(),
            }),
        }
    }

    #[inline]
    pub(super) fn rule(&self) -> RuleKind {
        // Relaxed: what meets the old rule a moment longer is counted by it.
        RuleKind::of(self.current.load(Ordering::Relaxed))
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
                RuleKind::Empty
            }
            BudgetConfig::Share(ShareBudget { ratio, floor, capacity, start, ttl: None }) => {
                self.written.bank.set(ratio, floor, capacity, self.clock.nanos());
                if begins(RuleKind::Bank) {
                    self.written.bank.fill(start);
                }
                RuleKind::Bank
            }
            BudgetConfig::Share(ShareBudget { ratio, floor, capacity, ttl: Some(ttl), .. }) => {
                let (rule, other) = match before {
                    RuleKind::FirstWindow => (RuleKind::FirstWindow, RuleKind::SecondWindow),
                    _ => (RuleKind::SecondWindow, RuleKind::FirstWindow),
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
                self.others().throttle.set(max_tokens, token_ratio);
                if begins(RuleKind::Throttle) {
                    self.others().throttle.fill();
                }
                RuleKind::Throttle
            }
            BudgetConfig::Standard(config) => {
                self.others().standard.set(config);
                if begins(RuleKind::Standard) {
                    self.others().standard.fill();
                }
                RuleKind::Standard
            }
            BudgetConfig::Concurrent(ConcurrentBudget { percent, min }) => {
                self.others().concurrent.set(percent, min);
                RuleKind::Concurrent
            }
            BudgetConfig::Empty => RuleKind::Empty,
            BudgetConfig::Unlimited => RuleKind::Unlimited,
        };
        self.current.store(rule as u64, Ordering::Relaxed);
    }

    #[inline]
    fn others(&self) -> &Others {
        self.others.get_or_init(Others::new)
    }

    #[inline]
    fn window(&self, rule: RuleKind) -> &TtlWindow {
        self.others().window(rule)
    }

    /// The same as to compare [`rule`](Self::rule), in fewer instructions.
    #[inline]
    fn is(&self, rule: RuleKind) -> bool {
        self.current.load(Ordering::Relaxed) == rule as u64
    }

    /// The rule by default is in the caller, the others are out of its way.
    #[inline]
    pub(super) fn deposit(&self) {
        if self.is(RuleKind::Bank) { self.written.bank.deposit() } else { self.deposit_elsewhere() }
    }

    #[inline(never)]
    fn deposit_elsewhere(&self) {
        let rule = self.rule();
        if matches!(rule, RuleKind::FirstWindow | RuleKind::SecondWindow) {
            self.window(rule).deposit(self.clock.nanos());
        }
    }

    #[inline]
    pub(super) fn success(&self) {
        match self.rule() {
            RuleKind::Throttle => self.others().throttle.success(),
            RuleKind::Standard => self.others().standard.success(),
            _ => {}
        }
    }

    #[inline]
    pub(super) fn first_success(&self) {
        if self.is(RuleKind::Bank) {
            self.written.bank.deposit()
        } else {
            self.first_success_elsewhere()
        }
    }

    #[inline(never)]
    fn first_success_elsewhere(&self) {
        self.success();
        self.deposit_elsewhere();
    }

    pub(super) fn failure(&self) {
        if self.is(RuleKind::Throttle) {
            self.others().throttle.failure();
        }
    }

    /// Whether calls are counted while they run.
    #[inline]
    pub(super) fn counts_calls(&self) -> bool {
        self.is(RuleKind::Concurrent)
    }

    pub(super) fn begin_call(&self) {
        self.others().concurrent.begin();
    }

    pub(super) fn end_call(&self) {
        self.others().concurrent.end();
    }

    /// By which rule a retry was paid for, and what it has cost.
    pub(super) fn pay(&self, cause: Cause) -> Option<(RuleKind, u32)> {
        let rule = self.rule();
        let cost = match rule {
            RuleKind::Bank => self.written.bank.withdraw(self.clock.nanos()).then_some(0),
            RuleKind::FirstWindow | RuleKind::SecondWindow => {
                self.window(rule).withdraw(self.clock.nanos()).then_some(0)
            }
            RuleKind::Throttle => self.others().throttle.allows().then_some(0),
            RuleKind::Standard => self.others().standard.withdraw(cause),
            RuleKind::Concurrent => self.others().concurrent.take().then_some(1),
            RuleKind::Empty => None,
            RuleKind::Unlimited => Some(0),
        };
        let Payments { paid, unpaid } = &self.written.payments;
        // Relaxed: these are only counted.
        let count = if cost.is_some() { paid } else { unpaid };
        count.fetch_add(1, Ordering::Relaxed);
        cost.map(|cost| (rule, cost))
    }

    /// A retry that was paid for by `rule` went well.
    pub(super) fn reward(&self, rule: RuleKind, cost: u32) {
        match rule {
            RuleKind::Throttle => self.others().throttle.success(),
            RuleKind::Standard => self.others().standard.give_back(cost),
            _ => {}
        }
    }

    /// A retry that was paid for by `rule` runs no more.
    pub(super) fn give_back(&self, rule: RuleKind) {
        if rule == RuleKind::Concurrent {
            self.others().concurrent.give_back();
        }
    }

    pub(super) fn available(&self) -> u32 {
        let rule = self.rule();
        match rule {
            RuleKind::Bank => self.written.bank.available(self.clock.nanos()),
            RuleKind::FirstWindow | RuleKind::SecondWindow => {
                self.window(rule).available(self.clock.nanos())
            }
            RuleKind::Throttle => self.others().throttle.available(),
            RuleKind::Standard => self.others().standard.available(),
            RuleKind::Concurrent => self.others().concurrent.available(),
            RuleKind::Empty => 0,
            RuleKind::Unlimited => u32::MAX,
        }
    }

    pub(super) fn paid_and_unpaid(&self) -> (u64, u64) {
        let Payments { paid, unpaid } = &self.written.payments;
        (paid.load(Ordering::Relaxed), unpaid.load(Ordering::Relaxed))
    }
}

/// For the cases of gRPC that `retry` runs.
#[cfg(all(test, feature = "tower", feature = "http"))]
impl AllRules {
    pub(super) fn throttle(&self) -> Option<&Throttle> {
        self.is(RuleKind::Throttle).then_some(&self.others().throttle)
    }
}
