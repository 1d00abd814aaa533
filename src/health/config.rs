use std::time::Duration;

use crate::error::{Error, Kind};

/// State of an endpoint before its first check.
///
/// ```
/// use tower_upstream::health::{HealthConfig, Initial};
/// let config = HealthConfig::default().with_initial(Initial::Unhealthy);
/// assert_ne!(config.initial, Initial::default());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Initial {
    /// Healthy until `fall` checks in a row fail, so no call is refused at the start. The default.
    #[default]
    Healthy,
    /// Unhealthy until `rise` checks in a row succeed, for endpoints that discovery announces before
    /// they are ready. Until then calls are refused, or go to other endpoints.
    Unhealthy,
    /// Calls pass until the first check, which decides alone. From then on `rise` and `fall` do.
    #[cfg_attr(feature = "serde", serde(alias = "first_result_decides"))]
    FirstResult,
}

impl Initial {
    /// `None`: the first result decides.
    pub(super) fn is_healthy(self) -> Option<bool> {
        match self {
            Self::Healthy => Some(true),
            Self::Unhealthy => Some(false),
            Self::FirstResult => None,
        }
    }
}

/// Settings of a [`HealthGateLayer`](super::HealthGateLayer): how often to check, and how many results in
/// a row count.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::health::HealthConfig;
///
/// let config = HealthConfig::default()
///     .with_interval(Duration::from_secs(10))
///     .with_fall(2);
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[cfg_attr(all(feature = "serde", not(doc)), serde(remote = "Self"))]
#[non_exhaustive]
pub struct HealthConfig {
    /// Whether to check at all. Without checks every gate is open. Default: true.
    pub enabled: bool,
    /// Time between the starts of two checks of a healthy endpoint, from 1 ms to 24 h.
    ///
    /// A check that takes longer skips the checks that it missed. Default: 5 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub interval: Duration,
    /// Time between the starts of two checks of an endpoint that is unhealthy, was not checked yet, or
    /// whose last check failed, from 1 ms to 24 h.
    ///
    /// The first checks of a set are spread over this time, and the second ones over `interval`.
    /// Default: 1 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub interval_unhealthy: Duration,
    /// Time after which a check has failed, from 1 ms to 24 h. Default: 2 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub timeout: Duration,
    /// Number of successful checks in a row that make an endpoint healthy, from 1. Default: 2.
    pub rise: u32,
    /// Number of failed checks in a row that make an endpoint unhealthy, from 1. Go's name is
    /// `failure_limit`.
    ///
    /// All failures count alike: a refused connection, a timeout, a status out of range. Envoy, in
    /// contrast, treats some answers, such as a 503 to its HTTP check, as unhealthy at once. Set 1 for
    /// that. Default: 3.
    #[cfg_attr(feature = "serde", serde(alias = "failure_limit"))]
    pub fall: u32,
    /// State of an endpoint before its first check. Default: healthy.
    pub initial: Initial,
    /// Number of checks that one [`check_all`](crate::health::HealthMonitor::check_all) runs at once,
    /// from 1 to 10,000. Default: 10.
    pub parallel: usize,
    /// Number of checks of the schedule and of forced rounds that run at once, from 1 to 10,000.
    ///
    /// Checks beyond wait for their turn. A target that hangs keeps its place for the whole timeout, so
    /// allow more than may hang at once; otherwise they delay the others. Default: 256.
    pub parallel_scheduled: usize,
    /// Fraction of the interval by which each check may come earlier or later, from 0 to 1, so that
    /// checks of many clients do not come together. Default: 0.1.
    pub jitter: f64,
    /// Path or URL that [`HealthGateLayer::http`](crate::health::HealthGateLayer::http) and
    /// [`HttpCheck::of`](crate::HttpCheck::of) request.
    ///
    /// A path is requested from each endpoint, below the path of its address. A URL starts with
    /// `http://`, and is requested as it is. An empty text is the default. Checks of other kinds ignore
    /// this. Default: `None`, which stands for `/health`.
    #[cfg(feature = "http")]
    pub endpoint: Option<String>,
}

#[cfg(feature = "serde")]
crate::written::names_keys!(HealthConfig);

#[cfg(feature = "http")]
const ENDPOINT: &str = "/health";

const MIN_TIME: Duration = Duration::from_millis(1);
const MAX_TIME: Duration = Duration::from_secs(86_400);
const MAX_PARALLEL: usize = 10_000;

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(5),
            interval_unhealthy: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
            initial: Initial::Healthy,
            parallel: 10,
            parallel_scheduled: 256,
            jitter: 0.1,
            #[cfg(feature = "http")]
            endpoint: None,
        }
    }
}

impl HealthConfig {
    /// Returns the defaults of the Go plugin manager for a `health_check` section: every 30 s, whatever
    /// the state, with 5 s for each check, `fall` 3, `rise` 1 and no jitter.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::health::HealthConfig;
    /// let config = HealthConfig::go();
    /// assert_eq!((config.interval, config.timeout), (Duration::from_secs(30), Duration::from_secs(5)));
    /// assert_eq!((config.fall, config.rise), (3, 1));
    /// ```
    pub fn go() -> Self {
        Self {
            interval: Duration::from_secs(30),
            interval_unhealthy: Duration::from_secs(30),
            rise: 1,
            ..Self::monitor()
        }
    }

    /// Returns the defaults of the health monitor that the Go programs use beside their plugin
    /// manager: every 15 s, whatever the state, with 5 s for each check, `fall` 3, `rise` 2 and no
    /// jitter.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::health::HealthConfig;
    /// let config = HealthConfig::monitor();
    /// assert_eq!(config.interval_unhealthy, Duration::from_secs(15));
    /// ```
    pub fn monitor() -> Self {
        Self {
            interval: Duration::from_secs(15),
            interval_unhealthy: Duration::from_secs(15),
            timeout: Duration::from_secs(5),
            jitter: 0.0,
            ..Self::default()
        }
    }

    /// Sets [`enabled`](Self::enabled).
    #[must_use]
    pub fn with_enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Sets [`interval`](Self::interval).
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets [`interval_unhealthy`](Self::interval_unhealthy).
    #[must_use]
    pub fn with_interval_unhealthy(mut self, interval: Duration) -> Self {
        self.interval_unhealthy = interval;
        self
    }

    /// Sets [`timeout`](Self::timeout).
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets [`rise`](Self::rise).
    #[must_use]
    pub fn with_rise(mut self, rise: u32) -> Self {
        self.rise = rise;
        self
    }

    /// Sets [`fall`](Self::fall).
    #[must_use]
    pub fn with_fall(mut self, fall: u32) -> Self {
        self.fall = fall;
        self
    }

    /// Sets [`initial`](Self::initial).
    #[must_use]
    pub fn with_initial(mut self, initial: Initial) -> Self {
        self.initial = initial;
        self
    }

    /// Sets [`parallel`](Self::parallel).
    #[must_use]
    pub fn with_parallel(mut self, parallel: usize) -> Self {
        self.parallel = parallel;
        self
    }

    /// Sets [`parallel_scheduled`](Self::parallel_scheduled).
    #[must_use]
    pub fn with_parallel_scheduled(mut self, parallel: usize) -> Self {
        self.parallel_scheduled = parallel;
        self
    }

    /// Sets [`jitter`](Self::jitter).
    #[must_use]
    pub fn with_jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets [`endpoint`](Self::endpoint).
    #[cfg(feature = "http")]
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// What to ask for.
    #[cfg(feature = "http")]
    pub(super) fn target(&self) -> &str {
        self.endpoint.as_deref().filter(|endpoint| !endpoint.is_empty()).unwrap_or(ENDPOINT)
    }

    /// Returns an error if a value is out of range.
    ///
    /// A layer that is made with such a config uses the nearest allowed values instead.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] that names all mistakes at once.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        for (name, value) in [
            ("interval", self.interval),
            ("interval_unhealthy", self.interval_unhealthy),
            ("timeout", self.timeout),
        ] {
            if !(MIN_TIME..=MAX_TIME).contains(&value) {
                mistakes.push(format!("`{name}` is {value:?}, but must be from 1 ms to a day"));
            }
        }
        // The default is meant for any.
        if self.timeout != Self::default().timeout && self.timeout > self.interval {
            mistakes.push(format!(
                "`timeout` is {:?}, but must not be longer than `interval`, {:?}",
                self.timeout, self.interval
            ));
        }
        for (name, value) in [("rise", self.rise), ("fall", self.fall)] {
            if value == 0 {
                mistakes.push(format!("`{name}` is 0, but must be at least 1"));
            }
        }
        for (name, value) in
            [("parallel", self.parallel), ("parallel_scheduled", self.parallel_scheduled)]
        {
            if !(1..=MAX_PARALLEL).contains(&value) {
                mistakes.push(format!("`{name}` is {value}, but must be from 1 to {MAX_PARALLEL}"));
            }
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            mistakes.push(format!("`jitter` is {}, but must be from 0 to 1", self.jitter));
        }
        #[cfg(feature = "http")]
        if let Some(mistake) = super::http::mistake_in(self.target()) {
            mistakes.push(format!("`endpoint`: {mistake}"));
        }
        if mistakes.is_empty() {
            return Ok(());
        }
        let text = format!("health: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(text))
    }

    /// The nearest sane values.
    pub(super) fn clamped(mut self) -> Self {
        for time in [&mut self.interval, &mut self.interval_unhealthy, &mut self.timeout] {
            *time = (*time).clamp(MIN_TIME, MAX_TIME);
        }
        self.rise = self.rise.max(1);
        self.fall = self.fall.max(1);
        self.parallel = self.parallel.clamp(1, MAX_PARALLEL);
        self.parallel_scheduled = self.parallel_scheduled.clamp(1, MAX_PARALLEL);
        self.jitter = if self.jitter.is_nan() { 0.0 } else { self.jitter.clamp(0.0, 1.0) };
        self
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
