use std::time::Duration;

use serde_json::Value;

use super::{
    balance::{BalanceSection, StrategyName},
    config::Config,
    folded::{members, mistake, read, time, unknown},
    listed::plugin,
    retry::RetrySection,
    sections::Sections,
};
use crate::{backoff::Jitter, breaker::Window, error::Error, retry::RetryConfig};

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
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig) for a key that nothing knows, or a value of another
    /// type.
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
        for (key, value) in members("", settings)? {
            match &*key {
                "name" => name = read(&key, value)?,
                "endpoints" => endpoints = Some(value),
                "circuitbreaker" => breaker(&mut sections, value)?,
                "loadbalancer" => algorithm = balancer(&mut sections, value)?,
                _ => top(&mut sections, &key, value)?,
            }
        }
        if let Some(algorithm) = algorithm {
            sections.balance.strategy = algorithm;
        }
        sections.validate()?;
        let config = Self::default().with_defaults(sections);
        match endpoints {
            Some(endpoints) => Ok(config.with_plugin(plugin(name, endpoints)?)),
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

fn top(sections: &mut Sections, key: &str, value: &Value) -> Result<(), Error> {
    match key {
        "strategy" => sections.balance.strategy = read(key, value)?,
        "retryattempts" | "maxattempts" => sections.retry.config.attempts = read(key, value)?,
        "maxretries" => {
            sections.retry.config.attempts = read::<u32>(key, value)?.saturating_add(1);
        }
        "retrydelay" => {
            let retry = sections.retry.config.clone();
            sections.retry.config = waiting(retry, time(key, value)?);
        }
        "timeout" => sections.timeout = time(key, value)?,
        "healthcheckinterval" => {
            sections.health_check.interval = time(key, value)?;
            sections.health_check.interval_unhealthy = sections.health_check.interval;
        }
        "healthchecktimeout" => sections.health_check.timeout = time(key, value)?,
        "healthcheck" => sections.health_check.enabled = read(key, value)?,
        "maxfailures" => {
            sections.health_check.fall = read(key, value)?;
            sections.balance.config.outlier.consecutive_failures = read(key, value)?;
        }
        "recoverytime" => {
            let outlier = &mut sections.balance.config.outlier;
            outlier.base_ejection = time(key, value)?;
            outlier.max_ejection = outlier.max_ejection.max(outlier.base_ejection);
        }
        // An answer of another plugin takes its name, which is in no file of that library.
        "fallbackenabled" => sections.fallback.enabled = read(key, value)?,
        "metadata" | "defaultprovider" => {}
        _ => return Err(unknown(key, &TOP)),
    }
    Ok(())
}

fn breaker(sections: &mut Sections, value: &Value) -> Result<(), Error> {
    let breaker = &mut sections.circuit_breaker.config;
    for (key, value) in members("circuit_breaker", value)? {
        match &*key {
            "enabled" => breaker.enabled = read(&key, value)?,
            "failurethreshold" => breaker.failures = read(&key, value)?,
            "successthreshold" => breaker.successes = read(&key, value)?,
            "timeout" | "recoverytimeout" => {
                breaker.open_for = time(&key, value)?;
                breaker.max_open_for = breaker.max_open_for.max(breaker.open_for);
            }
            "maxrequests" | "halfopenmaxcalls" => breaker.probes = read(&key, value)?,
            "interval" => breaker.window = Window::Time(time(&key, value)?),
            _ => return Err(unknown(&key, &BREAKER)),
        }
    }
    Ok(())
}

fn balancer(sections: &mut Sections, value: &Value) -> Result<Option<StrategyName>, Error> {
    let mut algorithm = None;
    for (key, value) in members("load_balancer", value)? {
        match &*key {
            "algorithm" => algorithm = Some(read(&key, value)?),
            "strategy" => algorithm = algorithm.or(Some(read(&key, value)?)),
            "weights" => sections.balance.weights = read(&key, value)?,
            "maxconnections" => sections.concurrency.per_endpoint = Some(read(&key, value)?),
            "connectiontimeout" => sections.connection.connect_timeout = time(&key, value)?,
            "keepalivetimeout" => sections.connection.idle_timeout = time(&key, value)?,
            "stickysession" | "sticky" => sections.balance.sticky_session = read(&key, value)?,
            "sessiontimeout" => sections.balance.session_timeout = Some(time(&key, value)?),
            _ => return Err(unknown(&key, &BALANCER)),
        }
    }
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
