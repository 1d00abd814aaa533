use std::time::Duration;

use serde_json::Value;

use super::{
    balance::{BalanceSection, StrategyName},
    config::Config,
    folded::{Read, Setting, each},
    listed::{listed, plugin},
    retry::RetrySection,
    sections::Sections,
};
use crate::{
    backoff::Jitter, breaker::Window, config::value::Path, error::Error, retry::RetryConfig,
};

impl Config {
    /// Takes the settings of the Go failover manager: its `FailoverConfig`, its `ManagerConfig`, or both in one
    /// object. They become the defaults of plugins.
    ///
    /// The names are those of its code and of its documentation, such as `retry_attempts` and `MaxRetries`, which
    /// is one less. What has another form here:
    ///
    /// | of Go | here |
    /// |---|---|
    /// | `load_balancer.algorithm`, or else `strategy` | `balance.strategy` |
    /// | `retry_delay` | a constant wait between attempts, without jitter |
    /// | `max_failures`, `recovery_time` | `balance.outlier`: when an endpoint is ejected, and for how long |
    /// | `circuit_breaker.max_requests`, `HalfOpenMaxCalls` | `circuit_breaker.probes` |
    /// | `load_balancer.max_connections` | `concurrency.per_endpoint` |
    /// | `load_balancer.sticky_session`, `session_timeout` | those of `balance`: sessions by the header `X-Session-ID` or the metadata `session_id` |
    /// | `endpoints` | one plugin with them, by the `name` that is written, or `failover` |
    /// | `health` of an endpoint, as text or as a number of that library, where 2 is unhealthy | its `status` |
    /// | `default_provider`, `metadata` | nothing |
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), which names every key that nothing knows and every
    /// value of another type, and otherwise every value out of range.
    ///
    /// ```
    /// use tower_upstream::config::{Config, StrategyName};
    ///
    /// let config = Config::from_failover(&serde_json::json!({
    ///     "strategy": "round_robin", "max_retries": 2, "timeout": "30s",
    ///     "circuit_breaker": {"half_open_max_calls": 10},
    /// }))?;
    /// assert_eq!(config.defaults.retry.config.attempts, 3);
    /// assert_eq!(config.defaults.balance.strategy, StrategyName::RoundRobin);
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn from_failover(settings: &Value) -> Result<Self, Error> {
        let mut sections = defaults();
        // The algorithm comes before the strategy, whichever is written first.
        let (mut algorithm, mut name, mut endpoints) = (None, String::new(), None);
        each(&Path::Root, settings, |setting| {
            match &*setting.name {
                "name" => name = setting.read()?,
                "endpoints" => endpoints = Some(listed(setting)?),
                "circuitbreaker" => breaker(&mut sections, setting)?,
                "loadbalancer" => algorithm = balancer(&mut sections, setting)?,
                _ => top(&mut sections, setting)?,
            }
            Ok(())
        })?;
        if let Some(algorithm) = algorithm {
            sections.balance.strategy = algorithm;
        }
        sections.validate()?;
        let config = Self::default().with_defaults(sections);
        match endpoints {
            Some(endpoints) => Ok(config.with_plugin(plugin(name, endpoints))),
            None => Ok(config),
        }
    }
}

/// What that manager goes by where nothing is written.
fn defaults() -> Sections {
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    let mut sections = Sections::go();
    sections.retry = RetrySection::from(waiting(RetryConfig::up_to(3), second));
    sections.balance = BalanceSection::from(StrategyName::RoundRobin);
    sections.balance.config.outlier.consecutive_failures = 3;
    sections.balance.config.outlier.base_ejection = minute;
    let breaker = &mut sections.circuit_breaker;
    breaker.scope = Default::default();
    breaker.config.failures_min_calls = 0;
    (breaker.config.failures, breaker.config.successes) = (5, 3);
    (breaker.config.open_for, breaker.config.probes) = (minute, 10);
    breaker.config.max_open_for = breaker.config.max_open_for.max(minute);
    breaker.config.window = Window::Time(10 * second);
    sections.concurrency.enabled = true;
    sections.concurrency.config.max = i32::MAX as u32;
    sections.concurrency.per_endpoint = Some(1_000);
    sections
}

fn waiting(retry: RetryConfig, delay: Duration) -> RetryConfig {
    retry.with_intervals(delay, delay).with_multiplier(1.0).with_jitter(Jitter::None)
}

fn top(sections: &mut Sections, setting: &Setting<'_>) -> Read<()> {
    match &*setting.name {
        "strategy" => sections.balance.strategy = setting.read()?,
        "retryattempts" | "maxattempts" => sections.retry.config.attempts = setting.read()?,
        "maxretries" => {
            sections.retry.config.attempts = setting.read::<u32>()?.saturating_add(1);
        }
        "retrydelay" => {
            let retry = sections.retry.config.clone();
            sections.retry.config = waiting(retry, setting.time()?);
        }
        "timeout" => sections.timeout = setting.time()?,
        "healthcheckinterval" => {
            sections.health_check.interval = setting.time()?;
            sections.health_check.interval_unhealthy = sections.health_check.interval;
        }
        "healthchecktimeout" => sections.health_check.timeout = setting.time()?,
        "healthcheck" => sections.health_check.enabled = setting.read()?,
        "maxfailures" => {
            sections.health_check.fall = setting.read()?;
            sections.balance.config.outlier.consecutive_failures = setting.read()?;
        }
        "recoverytime" => {
            let outlier = &mut sections.balance.config.outlier;
            outlier.base_ejection = setting.time()?;
            outlier.max_ejection = outlier.max_ejection.max(outlier.base_ejection);
        }
        // An answer of another plugin takes its name, which is in no file of that library.
        "fallbackenabled" => sections.fallback.enabled = setting.read()?,
        "metadata" | "defaultprovider" => {}
        _ => return Err(setting.unknown(&TOP)),
    }
    Ok(())
}

fn breaker(sections: &mut Sections, of: &Setting<'_>) -> Read<()> {
    let breaker = &mut sections.circuit_breaker.config;
    each(&of.path, of.value, |setting| {
        match &*setting.name {
            "enabled" => breaker.enabled = setting.read()?,
            "failurethreshold" => breaker.failures = setting.read()?,
            "successthreshold" => breaker.successes = setting.read()?,
            "timeout" | "recoverytimeout" => {
                breaker.open_for = setting.time()?;
                breaker.max_open_for = breaker.max_open_for.max(breaker.open_for);
            }
            "maxrequests" | "halfopenmaxcalls" => breaker.probes = setting.read()?,
            "interval" => breaker.window = Window::Time(setting.time()?),
            _ => return Err(setting.unknown(&BREAKER)),
        }
        Ok(())
    })
}

fn balancer(sections: &mut Sections, of: &Setting<'_>) -> Read<Option<StrategyName>> {
    let mut algorithm = None;
    each(&of.path, of.value, |setting| {
        match &*setting.name {
            "algorithm" => algorithm = Some(setting.read()?),
            "strategy" => algorithm = algorithm.or(Some(setting.read()?)),
            "weights" => sections.balance.weights = setting.read()?,
            "maxconnections" => sections.concurrency.per_endpoint = Some(setting.read()?),
            "connectiontimeout" => sections.connection.connect_timeout = setting.time()?,
            "keepalivetimeout" => sections.connection.idle_timeout = setting.time()?,
            "stickysession" | "sticky" => sections.balance.sticky_session = setting.read()?,
            "sessiontimeout" => sections.balance.session_timeout = Some(setting.time()?),
            _ => return Err(setting.unknown(&BALANCER)),
        }
        Ok(())
    })?;
    Ok(algorithm)
}

const TOP: [&str; 17] = [
    "name",
    "endpoints",
    "strategy",
    "health_check",
    "health_check_interval",
    "health_check_timeout",
    "max_failures",
    "recovery_time",
    "retry_attempts",
    "max_retries",
    "retry_delay",
    "timeout",
    "circuit_breaker",
    "load_balancer",
    "default_provider",
    "fallback_enabled",
    "metadata",
];
const BREAKER: [&str; 8] = [
    "enabled",
    "failure_threshold",
    "success_threshold",
    "timeout",
    "recovery_timeout",
    "max_requests",
    "half_open_max_calls",
    "interval",
];
const BALANCER: [&str; 7] = [
    "algorithm",
    "weights",
    "max_connections",
    "connection_timeout",
    "keep_alive_timeout",
    "sticky_session",
    "session_timeout",
];
