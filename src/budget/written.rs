//! A config as it is written: one rule, and keys of which each rule has its own.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::config::{BudgetConfig, ConcurrentBudget, ShareBudget, StandardBudget, ThrottleBudget};
use crate::written::choice;

impl<'de> Deserialize<'de> for BudgetConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = r#"a budget such as `{"rule": "share", "ratio": 0.2}`"#;
        let written: Written = choice(deserializer, expected)?;
        written.config().map_err(de::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
struct Written {
    rule: Option<Rule>,
    ratio: Option<f64>,
    floor: Option<f64>,
    capacity: Option<u32>,
    start: Option<u32>,
    #[serde(default, with = "crate::duration::option")]
    ttl: Option<Duration>,
    max_tokens: Option<u32>,
    token_ratio: Option<f64>,
    cost: Option<u32>,
    overload_cost: Option<u32>,
    percent: Option<f64>,
    min: Option<u32>,
}

crate::written::names_keys_of!(Written);

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Rule {
    Share,
    Throttle,
    Standard,
    Concurrent,
    Empty,
    Unlimited,
}

impl Rule {
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Share => &["ratio", "floor", "capacity", "start", "ttl"],
            Self::Throttle => &["max_tokens", "token_ratio"],
            Self::Standard => &["capacity", "cost", "overload_cost"],
            Self::Concurrent => &["percent", "min"],
            Self::Empty | Self::Unlimited => &[],
        }
    }
}

impl Written {
    /// The config, or which keys are those of another rule.
    fn config(self) -> Result<BudgetConfig, String> {
        let given = [
            ("ratio", self.ratio.is_some()),
            ("floor", self.floor.is_some()),
            ("capacity", self.capacity.is_some()),
            ("start", self.start.is_some()),
            ("ttl", self.ttl.is_some()),
            ("max_tokens", self.max_tokens.is_some()),
            ("token_ratio", self.token_ratio.is_some()),
            ("cost", self.cost.is_some()),
            ("overload_cost", self.overload_cost.is_some()),
            ("percent", self.percent.is_some()),
            ("min", self.min.is_some()),
        ];
        let Some(rule) = self.rule else {
            return Err("needs a `rule`: `share`, `throttle`, `standard`, `concurrent`, `empty` or `unlimited`".to_owned());
        };
        let keys = rule.keys();
        let foreign = given.iter().find(|(key, is_given)| *is_given && !keys.contains(key));
        if let Some((key, _)) = foreign {
            let of = match keys {
                [] => "which has none".to_owned(),
                keys => format!("which has `{}`", keys.join("`, `")),
            };
            return Err(format!("`{key}` is no key of this `rule`, {of}"));
        }
        Ok(match rule {
            Rule::Share => {
                let default = ShareBudget::default();
                BudgetConfig::Share(ShareBudget {
                    ratio: self.ratio.unwrap_or(default.ratio),
                    floor: self.floor.unwrap_or(default.floor),
                    capacity: self.capacity.unwrap_or(default.capacity),
                    start: self.start,
                    ttl: self.ttl,
                })
            }
            Rule::Throttle => {
                let default = ThrottleBudget::default();
                BudgetConfig::Throttle(ThrottleBudget {
                    max_tokens: self.max_tokens.unwrap_or(default.max_tokens),
                    token_ratio: self.token_ratio.unwrap_or(default.token_ratio),
                })
            }
            Rule::Standard => {
                let default = StandardBudget::default();
                BudgetConfig::Standard(StandardBudget {
                    capacity: self.capacity.unwrap_or(default.capacity),
                    cost: self.cost.unwrap_or(default.cost),
                    overload_cost: self.overload_cost.unwrap_or(default.overload_cost),
                })
            }
            Rule::Concurrent => {
                let default = ConcurrentBudget::default();
                BudgetConfig::Concurrent(ConcurrentBudget {
                    percent: self.percent.unwrap_or(default.percent),
                    min: self.min.unwrap_or(default.min),
                })
            }
            Rule::Empty => BudgetConfig::Empty,
            Rule::Unlimited => BudgetConfig::Unlimited,
        })
    }
}
