//! Each number of a rule, set one after the other.

use std::time::Duration;

use super::config::{ConcurrentBudget, ShareBudget, StandardBudget, ThrottleBudget};

impl ShareBudget {
    /// Sets [`ratio`](Self::ratio).
    #[must_use]
    pub const fn with_ratio(mut self, ratio: f64) -> Self {
        self.ratio = ratio;
        self
    }

    /// Sets [`floor`](Self::floor).
    #[must_use]
    pub const fn with_floor(mut self, floor: f64) -> Self {
        self.floor = floor;
        self
    }

    /// Sets [`capacity`](Self::capacity).
    #[must_use]
    pub const fn with_capacity(mut self, capacity: u32) -> Self {
        self.capacity = capacity;
        self
    }

    /// Sets [`start`](Self::start).
    #[must_use]
    pub const fn with_start(mut self, start: u32) -> Self {
        self.start = Some(start);
        self
    }

    /// Sets [`ttl`](Self::ttl).
    #[must_use]
    pub const fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

impl ThrottleBudget {
    /// Sets [`max_tokens`](Self::max_tokens).
    #[must_use]
    pub const fn with_max_tokens(mut self, max_tokens: u32) -> Self {
        self.max_tokens = max_tokens;
        self
    }

    /// Sets [`token_ratio`](Self::token_ratio).
    #[must_use]
    pub const fn with_token_ratio(mut self, token_ratio: f64) -> Self {
        self.token_ratio = token_ratio;
        self
    }
}

impl StandardBudget {
    /// Sets [`capacity`](Self::capacity).
    #[must_use]
    pub const fn with_capacity(mut self, capacity: u32) -> Self {
        self.capacity = capacity;
        self
    }

    /// Sets [`cost`](Self::cost).
    #[must_use]
    pub const fn with_cost(mut self, cost: u32) -> Self {
        self.cost = cost;
        self
    }

    /// Sets [`overload_cost`](Self::overload_cost).
    #[must_use]
    pub const fn with_overload_cost(mut self, overload_cost: u32) -> Self {
        self.overload_cost = overload_cost;
        self
    }
}

impl ConcurrentBudget {
    /// Sets [`percent`](Self::percent).
    #[must_use]
    pub const fn with_percent(mut self, percent: f64) -> Self {
        self.percent = percent;
        self
    }

    /// Sets [`min`](Self::min).
    #[must_use]
    pub const fn with_min(mut self, min: u32) -> Self {
        self.min = min;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sets_its_own() {
        let ttl = Duration::from_secs(9);
        let share = ShareBudget::default().with_ratio(0.5).with_floor(0.1).with_capacity(2);
        let (start, floor) = (Some(1), 0.1);
        assert_eq!(
            share.with_start(1).with_ttl(ttl),
            ShareBudget { ratio: 0.5, floor, capacity: 2, start, ttl: Some(ttl) }
        );
        let throttle = ThrottleBudget::default().with_max_tokens(3).with_token_ratio(0.5);
        assert_eq!(throttle, ThrottleBudget { max_tokens: 3, token_ratio: 0.5 });
        let standard =
            StandardBudget::default().with_capacity(30).with_cost(4).with_overload_cost(2);
        assert_eq!(standard, StandardBudget { capacity: 30, cost: 4, overload_cost: 2 });
        let concurrent = ConcurrentBudget::default().with_percent(5.0).with_min(1);
        assert_eq!(concurrent, ConcurrentBudget { percent: 5.0, min: 1 });
    }
}
