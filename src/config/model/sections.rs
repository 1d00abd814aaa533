use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    balance::BalanceSection, breaker::BreakerSection, concurrency::ConcurrencySection,
    failover::FailoverSection, fallback::FallbackConfig, retry::RetrySection,
};
use crate::{
    auth::AuthConfig,
    budget::BudgetConfig,
    error::{Error, Kind},
    health::HealthConfig,
    limit::RateLimitConfig,
    transport::HttpConfig,
};

macro_rules! sections {
    ($($(#[$doc:meta])+ $section:ident: $config:ty,)+) => {
        /// Every section of a plugin, in full: the `defaults` of a file, and what holds for one plugin.
        ///
        /// Go's names for defaults are `default_retry`, `default_circuit_breaker`, and so on, at the top of
        /// the file.
        ///
        /// # Example
        /// ```
        /// use tower_upstream::config::{PluginConfig, Sections};
        ///
        /// assert_eq!(Sections::go().retry.config.attempts, 4);
        /// let tax = PluginConfig::new("tax", "http");
        /// assert_eq!(tax.sections(&Sections::go()), Sections::go());
        /// ```
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[non_exhaustive]
        pub struct Sections {
            $($(#[$doc])+ pub $section: $config,)+
            /// Time limit of a call that has no deadline; 0 is none. Default: none.
            #[serde(with = "crate::duration::serde")]
            pub timeout: Duration,
        }

        /// Sections as they are written: those that are left out are not there.
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(default, deny_unknown_fields, remote = "Self")]
        pub(super) struct Written {
            $(pub(super) $section: Option<$config>,)+
            #[serde(with = "crate::duration::option")]
            pub(super) timeout: Option<Duration>,
        }

        impl Written {
            /// With those of `base` in place of what is left out.
            pub(super) fn over(self, base: Sections) -> Sections {
                Sections {
                    $($section: self.$section.unwrap_or(base.$section),)+
                    timeout: self.timeout.unwrap_or(base.timeout),
                }
            }
        }
    };
}

sections! {
    /// How calls prove that they may be made. Default: not at all.
    auth: AuthConfig,
    /// How often a call is tried. Default: three times.
    retry: RetrySection,
    /// When calls stop. Default: a circuit for each endpoint.
    circuit_breaker: BreakerSection,
    /// How health is checked. Default: every 5 s.
    health_check: HealthConfig,
    /// How endpoints are connected to.
    connection: HttpConfig,
    /// How many calls may come in a time. Default: not enabled.
    rate_limit: RateLimitConfig,
    /// How an endpoint is chosen. Default: by the fewest requests.
    balance: BalanceSection,
    /// What attempts have beside `retry`. Default: nothing.
    failover: FailoverSection,
    /// What pays for retries. Default: a share of the calls.
    budget: BudgetConfig,
    /// How many calls may be in flight. Default: not enabled.
    concurrency: ConcurrencySection,
    /// What answers after a failure. Default: nothing.
    fallback: FallbackConfig,
}

crate::written::names_keys_of!(Written);

impl Default for Sections {
    fn default() -> Self {
        Self {
            auth: AuthConfig::default(),
            retry: RetrySection::default(),
            circuit_breaker: BreakerSection::default(),
            health_check: HealthConfig::default(),
            connection: HttpConfig::default(),
            rate_limit: RateLimitConfig::go(),
            balance: BalanceSection::default(),
            failover: FailoverSection::default(),
            budget: BudgetConfig::default(),
            concurrency: ConcurrencySection::go(),
            fallback: FallbackConfig::default(),
            timeout: Duration::ZERO,
        }
    }
}

impl Sections {
    /// Checks every value of every section.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`], which names all mistakes at once, with the code of the first.
    ///
    /// ```
    /// use tower_upstream::{config::Sections, health::HealthConfig};
    /// let wrong = Sections::default().with_health_check(HealthConfig::default().with_fall(0));
    /// assert!(wrong.validate().unwrap_err().to_string().contains("`fall` is 0"));
    /// ```
    pub fn validate(&self) -> Result<(), Error> {
        let mistakes = [
            self.auth.validate(),
            self.retry.validate(),
            self.circuit_breaker.validate(),
            self.health_check.validate(),
            self.connection.validate(),
            self.rate_limit.validate(),
            self.balance.validate(),
            self.failover.validate(),
            self.budget.validate(),
            self.concurrency.validate(),
            self.fallback.validate(),
        ];
        let mut mistakes = mistakes.into_iter().filter_map(Result::err);
        let Some(first) = mistakes.next() else { return Ok(()) };
        let code = Some(first.code());
        let texts: Vec<_> =
            [first].into_iter().chain(mistakes).map(|error| error.what().to_owned()).collect();
        Err(Error::not_sent(Kind::InvalidConfig).coded(code).message(texts.join("; ")))
    }

    /// Returns the defaults of the Go plugin manager: those of each section, and 30 s for a call.
    pub fn go() -> Self {
        Self {
            retry: RetrySection::go(),
            circuit_breaker: BreakerSection::go(),
            health_check: HealthConfig::go(),
            connection: HttpConfig::go(),
            balance: BalanceSection::go(),
            failover: FailoverSection::go(),
            timeout: Duration::from_secs(30),
            ..Self::default()
        }
    }

    setters! {
        with_retry: retry = impl Into<RetrySection>;
        with_circuit_breaker: circuit_breaker = impl Into<BreakerSection>;
        with_health_check: health_check = impl Into<HealthConfig>;
        with_connection: connection = impl Into<HttpConfig>;
        with_rate_limit: rate_limit = impl Into<RateLimitConfig>;
        with_balance: balance = impl Into<BalanceSection>;
        with_failover: failover = impl Into<FailoverSection>;
        with_budget: budget = impl Into<BudgetConfig>;
        with_concurrency: concurrency = impl Into<ConcurrencySection>;
        with_fallback: fallback = impl Into<FallbackConfig>;
        with_timeout: timeout = Duration;
    }
}

/// What is left out is the default.
impl<'de> Deserialize<'de> for Sections {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written: Written = Deserialize::deserialize(deserializer)?;
        Ok(written.over(Self::default()))
    }
}
