use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{
    affinity::{HashSection, StickySection},
    section::reads_section,
};
use crate::{
    balance::BalanceConfig,
    config::nearest::did_you_mean,
    error::{Error, Kind},
};

macro_rules! strategies {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal $(| $alias:literal)*;)+) => {
        /// Name of a strategy that chooses among the endpoints of a plugin.
        ///
        /// Read in any case, with `-`, `_` or neither.
        ///
        /// ```
        /// use tower_upstream::config::StrategyName;
        /// let name: StrategyName = serde_json::from_str("\"round_robin\"")?;
        /// assert_eq!((name, name.as_str()), (StrategyName::RoundRobin, "round-robin"));
        /// # Ok::<(), serde_json::Error>(())
        /// ```
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum StrategyName {
            $($(#[$doc])+ $variant,)+
        }

        impl StrategyName {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Returns the name, as in a file.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            fn of(text: &str) -> Option<Self> {
                const NAMES: &[(&str, StrategyName)] = &[
                    $(($name, StrategyName::$variant), $(($alias, StrategyName::$variant),)*)+
                ];
                let folded = |name: &str| name.replace(['-', '_'], "").to_ascii_lowercase();
                let text = folded(text);
                let found = NAMES.iter().find(|(name, _)| folded(name) == text);
                found.map(|(_, strategy)| *strategy)
            }
        }
    };
}

strategies! {
    /// `least-request`, or `least-connections`: [`LeastRequest`](crate::LeastRequest). The default.
    #[default]
    LeastRequest = "least-request" | "least-connections" | "least-requests";
    /// `peak-ewma`: [`PeakEwma`](crate::PeakEwma).
    PeakEwma = "peak-ewma";
    /// `least-latency`: [`LeastLatency`](crate::balance::LeastLatency).
    LeastLatency = "least-latency" | "response-time";
    /// `health-based`: [`HealthBased`](crate::balance::HealthBased).
    HealthBased = "health-based";
    /// `round-robin`: [`RoundRobin`](crate::balance::RoundRobin).
    RoundRobin = "round-robin";
    /// `weighted-round-robin`: [`WeightedRoundRobin`](crate::balance::WeightedRoundRobin).
    WeightedRoundRobin = "weighted-round-robin" | "weighted";
    /// `random`: [`Random`](crate::balance::Random).
    Random = "random";
    /// `weighted-random`: [`WeightedRandom`](crate::balance::WeightedRandom).
    WeightedRandom = "weighted-random";
    /// `geographic`: [`Geographic`](crate::balance::Geographic).
    Geographic = "geographic";
    /// `priority`: [`Priority`](crate::balance::Priority).
    Priority = "priority";
    /// `pick-first`: [`PickFirst`](crate::balance::PickFirst).
    PickFirst = "pick-first";
    /// `consistent-hash`: [`ConsistentHash`](crate::balance::ConsistentHash), as `hash` says.
    ConsistentHash = "consistent-hash";
    /// `ip-hash`: the same, by the address of the client, and by default with
    /// [`Rendezvous`](crate::balance::HashScheme::Rendezvous).
    IpHash = "ip-hash";
}

impl fmt::Display for StrategyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for StrategyName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for StrategyName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::of(&text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|name| format!("`{name}`")).collect();
            let known = known.join(", ");
            let has =
                |names: &[&str]| names.iter().any(|of| text.to_ascii_lowercase().contains(of));
            let names: Vec<_> = Self::ALL.iter().map(|name| name.as_str()).collect();
            let hint = || did_you_mean(&text, &names).map(|hint| format!("; {hint}"));
            let why = match () {
                () if has(&["sticky", "session"]) => ": sessions are a matter of `sticky`",
                () if has(&["hash", "maglev", "ring", "ketama", "rendezvous"]) => {
                    ": a scheme of `consistent-hash` is a matter of `hash.scheme`"
                }
                () => "",
            };
            let hint = if why.is_empty() { hint().unwrap_or_default() } else { String::new() };
            D::Error::custom(format!("unknown strategy{why}; there are {known}{hint}"))
        })
    }
}

/// The `balance` section of a plugin: a [`BalanceConfig`], and how to choose.
///
/// # Example
/// ```
/// use tower_upstream::config::{BalanceSection, StrategyName};
/// let balance: BalanceSection =
///     serde_json::from_str(r#"{"strategy": "round-robin", "weights": {"tax-1": 3}}"#)?;
/// assert_eq!((balance.strategy, balance.weights["tax-1"]), (StrategyName::RoundRobin, 3));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BalanceSection {
    /// How an endpoint is chosen. Default: `least-request`.
    pub strategy: StrategyName,
    /// Weights of endpoints, by their keys; others have their own. Default: none.
    pub weights: BTreeMap<String, u32>,
    /// Number of endpoints that `least-request`, `peak-ewma` and `least-latency` compare. Default: 2.
    pub choices: Option<u32>,
    /// Whether `least-request` and `least-latency` compare all endpoints. Default: false.
    pub full_scan: bool,
    /// Own region, for `geographic`. Default: unknown.
    pub region: String,
    /// Own zone, for `geographic`. Default: unknown.
    pub zone: String,
    /// Regions that come after the own one, for `geographic`, the nearest first. Default: none.
    pub regions: Vec<String>,
    /// How `consistent-hash` and `ip-hash` choose.
    pub hash: HashSection,
    /// Whether and how calls of a session stay at one endpoint. Default: they do not.
    pub sticky: StickySection,
    /// Whether `sticky` is enabled where that does not say so: a name of Go. Default: false.
    pub sticky_session: bool,
    /// In place of the `session_timeout` of `sticky`: a name of Go. Default: that.
    #[serde(with = "crate::duration::option")]
    pub session_timeout: Option<Duration>,
    /// Which endpoints it chooses from.
    #[serde(flatten)]
    pub config: BalanceConfig,
}

reads_section!(
    BalanceSection: BalanceConfig as config,
    strategy, weights, choices, full_scan, region, zone, regions, hash, sticky, sticky_session,
    session_timeout: maybe_duration
);

impl From<StrategyName> for BalanceSection {
    fn from(strategy: StrategyName) -> Self {
        Self { strategy, ..Self::default() }
    }
}

impl BalanceSection {
    /// Returns the defaults of the Go plugin manager: `round-robin`.
    ///
    /// ```
    /// use tower_upstream::config::{BalanceSection, StrategyName};
    /// assert_eq!(BalanceSection::go().strategy, StrategyName::RoundRobin);
    /// ```
    pub fn go() -> Self {
        Self::from(StrategyName::RoundRobin)
    }

    setters! {
        with_strategy: strategy = StrategyName;
        with_choices: choices = impl Into<Option<u32>>;
        with_full_scan: full_scan = bool;
        with_region: region = impl Into<String>;
        with_zone: zone = impl Into<String>;
        with_regions: regions = each impl Into<String>;
        with_hash: hash = impl Into<HashSection>;
        with_sticky: sticky = impl Into<StickySection>;
    }

    /// Adds one of the [`weights`](Self::weights), or replaces it.
    #[must_use]
    pub fn with_weight(mut self, key: impl Into<String>, weight: u32) -> Self {
        self.weights.insert(key.into(), weight);
        self
    }

    /// Sets [`config`](Self::config).
    #[must_use]
    pub fn with_config(mut self, config: BalanceConfig) -> Self {
        self.config = config;
        self
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Those of [`BalanceConfig::validate`], and of values of `hash` and `sticky`.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        self.hash.mistakes(&mut mistakes);
        self.sticky.mistakes(&mut mistakes);
        if self.session_timeout == Some(Duration::ZERO) && self.sessions().is_some() {
            mistakes.push("`session_timeout` is 0s, but must be longer".to_owned());
        }
        let of_config = self.config.validate();
        if mistakes.is_empty() {
            return of_config;
        }
        let text = match &of_config {
            Ok(()) => "balance: ".to_owned(),
            Err(error) => format!("{}; ", error.what()),
        };
        let message = text + &mistakes.join("; ");
        Err(Error::not_sent(Kind::InvalidConfig).message(message))
    }

    /// What holds for sessions; `None` if there are none.
    pub(crate) fn sessions(&self) -> Option<StickySection> {
        let is_meant = self.sticky_session || self.sticky.key.is_named();
        self.sticky.enabled.unwrap_or(is_meant).then(|| {
            let session_timeout = self.session_timeout.unwrap_or(self.sticky.session_timeout);
            StickySection { session_timeout, ..self.sticky.clone() }
        })
    }
}
