//! Retries with a budget, where none is needed.

use std::{
    future::{Ready, ready},
    sync::Arc,
    time::Duration,
};

use tower::{
    Layer,
    retry::{
        Policy, Retry,
        budget::{Budget, TpsBudget},
    },
};
use tower_resilience_retry::{RetryBudget, RetryBudgetBuilder, RetryLayer};
use tower_upstream::retry::{RetryConfig, RetryPolicy};

use crate::{
    harness::{Contender, Workload},
    inner::{Failed, Inner},
    traffic::Good,
};

pub(crate) fn all() -> Vec<Workload> {
    vec![Workload {
        name: "retry with budget",
        contenders: vec![
            Contender::bare("inner").both(Good, || Inner),
            Contender::floor("tower, without a budget")
                .both(Good, || Retry::new(WithoutBudget, Inner)),
            Contender::peer("tower, TpsBudget").both(Good, || Retry::new(with_budget(), Inner)),
            Contender::peer("tower-resilience, token bucket")
                .both(Good, || resilience(RetryBudgetBuilder::new().token_bucket().build())),
            Contender::peer("tower-resilience, AIMD")
                .both(Good, || resilience(RetryBudgetBuilder::new().aimd().build())),
            Contender::ours("tower-upstream, token bucket").both(Good, || {
                let policy = RetryPolicy::new(RetryConfig::up_to(3));
                Retry::new(policy.with_replay(|request: &u64| Some(*request)), Inner)
            }),
        ],
    }]
}

/// Tries each error again, up to three times in all.
#[derive(Clone)]
pub(super) struct WithBudget {
    budget: Arc<TpsBudget>,
    left: usize,
}

pub(super) fn with_budget() -> WithBudget {
    let budget = TpsBudget::new(Duration::from_secs(10), 10, 0.2);
    WithBudget { budget: Arc::new(budget), left: 2 }
}

impl<T, E> Policy<u64, T, E> for WithBudget {
    type Future = Ready<()>;

    #[inline]
    fn retry(&mut self, _: &mut u64, result: &mut Result<T, E>) -> Option<Ready<()>> {
        match result {
            Ok(_) => {
                self.budget.deposit();
                None
            }
            Err(_) if self.left > 0 && self.budget.withdraw() => {
                self.left -= 1;
                Some(ready(()))
            }
            Err(_) => None,
        }
    }

    #[inline]
    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

#[derive(Clone)]
struct WithoutBudget;

impl<T, E> Policy<u64, T, E> for WithoutBudget {
    type Future = Ready<()>;

    #[inline]
    fn retry(&mut self, _: &mut u64, result: &mut Result<T, E>) -> Option<Ready<()>> {
        result.is_err().then(|| ready(()))
    }

    #[inline]
    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

fn resilience<E: std::fmt::Debug>(
    budget: Result<Arc<dyn RetryBudget>, E>,
) -> tower_resilience_retry::Retry<Inner, u64, u64, Failed> {
    RetryLayer::builder().max_attempts(3).budget(budget.expect("a budget")).build().layer(Inner)
}
