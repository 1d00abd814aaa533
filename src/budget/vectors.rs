//! The recorded cases of other budgets, every one of them.

use std::time::Duration;

use serde_json::Value;

use super::{throttle::Throttle, *};

fn cases(text: &str) -> Vec<Value> {
    let vectors: Value = serde_json::from_str(text).unwrap();
    vectors["cases"].as_array().unwrap().clone()
}

fn kind(case: &Value) -> &str {
    case["kind"].as_str().unwrap_or("")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// What a case of Finagle's says, as our config has it.
fn share(case: &Value) -> BudgetConfig {
    BudgetConfig::Share(ShareBudget {
        ratio: case["percent_can_retry"].as_f64().unwrap(),
        floor: case["min_retries_per_sec"].as_f64().unwrap(),
        capacity: 1_000_000,
        start: None,
        ttl: Some(Duration::from_secs(number(&case["ttl_s"]))),
    })
}

#[tokio::test(start_paused = true)]
async fn retry_budgets() {
    let cases = cases(include_str!("../../tests/vectors/retry_budgets.json"));
    let mut run = 0;
    for case in &cases {
        run += 1;
        let name = case["name"].as_str().unwrap();
        let expect = &case["expect"];
        match kind(case) {
            "envoy_retry_budget" => {
                let percent = case["budget_percent"].as_f64().unwrap();
                let min = number(&case["min_retry_concurrency"]) as u32;
                let config = BudgetConfig::Concurrent(ConcurrentBudget { percent, min });
                let budget = Budget::with_config(config);
                let calls: Vec<_> =
                    (0..number(&case["active"])).map(|_| budget.running()).collect();
                let retries: Vec<_> = std::iter::from_fn(|| budget.retry(Cause::Failure)).collect();
                let allowed = number(&case["expect_allowed_concurrent_retries"]);
                assert_eq!(retries.len() as u64, allowed, "{name}");
                drop((calls, retries));
                assert_eq!(budget.available(), min, "{name}");
            }
            "constant" => {
                let infinite = name.starts_with("infinite");
                let config = if infinite { BudgetConfig::Unlimited } else { BudgetConfig::Empty };
                let budget = Budget::with_config(config);
                for key in ["balance", "after_deposit_balance"] {
                    // Finagle calls 100 what is without end.
                    let balance = budget.available().min(100);
                    assert_eq!(u64::from(balance), number(&expect[key]), "{name}");
                    assert_eq!(budget.withdraw(), expect["withdraw"], "{name}");
                    budget.deposit();
                }
            }
            _ if expect == "error" => {
                assert!(share(case).validate().is_err(), "{name}");
            }
            _ if expect == "empty" => {
                let budget = Budget::with_config(share(case));
                assert_eq!(budget.rules.rule(), RuleKind::Empty, "{name}");
                assert!(!budget.withdraw(), "{name}");
            }
            _ => {
                let budget = Budget::with_config(share(case));
                let calls = number(&case["requests"]);
                if let Some(balance) = case["expect_balance"].as_u64() {
                    (0..calls).for_each(|_| budget.deposit());
                    assert_eq!(u64::from(budget.available()), balance, "{name}");
                    continue;
                }
                let retries = (0..calls).filter(|_| {
                    budget.deposit();
                    budget.withdraw()
                });
                let (retries, expect) = (retries.count() as u64, &case["expect_retries"]);
                let off = retries.abs_diff(number(expect));
                assert!(off <= number(&case["tolerance"]), "{name}: {retries}");
            }
        }
    }
    assert_eq!((run, cases.len()), (29, 29));
}

/// Its other kinds are run by `retry`, whose rules they are: single events, whole calls, backoff.
#[test]
fn grpc_retry_throttle() {
    let cases = cases(include_str!("../../tests/vectors/grpc_retry_throttle.json"));
    assert_eq!(cases.len(), 12);
    let mut run = 0;
    for case in cases.iter().filter(|case| ["token_events", "rule"].contains(&kind(case))) {
        run += 1;
        if kind(case) == "rule" {
            let least = ThrottleBudget { max_tokens: 1, token_ratio: 0.001 };
            let most = ThrottleBudget { max_tokens: 1_000, token_ratio: 10.0 };
            for config in [least, most] {
                assert!(BudgetConfig::Throttle(config).validate().is_ok());
            }
            for max_tokens in [0, 1_001] {
                let config = ThrottleBudget { max_tokens, ..least };
                assert!(BudgetConfig::Throttle(config).validate().is_err());
            }
            let config = ThrottleBudget { token_ratio: 0.0, ..least };
            assert!(BudgetConfig::Throttle(config).validate().is_err());
            continue;
        }
        let max = number(&case["max_tokens"]) as u32;
        let throttle = Throttle::new(max, case["token_ratio"].as_f64().unwrap());
        let events = case["events"].as_array().unwrap();
        for (at, event) in events.iter().enumerate() {
            match event.as_str() {
                Some("s") => throttle.success(),
                _ => throttle.failure(),
            }
            assert_eq!(throttle.tokens(), case["tokens_after"][at].as_f64().unwrap(), "{at}");
            assert_eq!(throttle.allows(), case["expect_above_threshold"][at], "{at}");
        }
    }
    assert_eq!(run, 2);
}

/// For the cases that `retry` runs.
#[cfg(all(feature = "http", feature = "tower"))]
impl Budget {
    /// The tokens of a throttle.
    pub(crate) fn tokens(&self) -> f64 {
        self.rules.throttle().map_or(f64::NAN, Throttle::tokens)
    }

    pub(crate) fn set_tokens(&self, tokens: f64) {
        self.rules.throttle().unwrap().hold(tokens);
    }
}
