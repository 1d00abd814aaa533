use std::time::Duration;

/// Settings of a circuit: when it opens, for how long, and what closes it.
///
/// Any one of the rules that are on opens it.
///
/// The names of the Go plugin manager are read, too: `failure_threshold`, `recovery_timeout`,
/// `min_request_threshold`, `success_threshold` and `half_open_max_calls`.
///
/// ```
/// use std::time::Duration;
/// use tower_upstream::breaker::{CircuitBreakerConfig, Window};
///
/// // Opens when half of the last hundred calls failed, or five in a row.
/// let config = CircuitBreakerConfig::default()
///     .with_window(Window::Calls(100))
///     .with_failure_ratio(0.5)
///     .with_failures(5)
///     .with_open_for(Duration::from_secs(10));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[cfg_attr(all(feature = "serde", not(doc)), serde(remote = "Self"))]
#[non_exhaustive]
pub struct CircuitBreakerConfig {
    /// Whether the circuit ever opens. A disabled one lets every call pass, and counts totals. Default:
    /// `true`.
    pub enabled: bool,
    /// Whether the circuit only measures: every call passes, and
    /// [`would_have_opened`](super::CircuitHandle::would_have_opened) says how often it would have opened.
    /// For a trial of new rules, at each endpoint or key. Default: `false`.
    pub metrics_only: bool,
    /// Whether only [handles](super::CircuitHandle) open and close the circuit: all rules are off then.
    /// Default: `false`.
    pub manual: bool,
    /// Failures in a row that open the circuit, up to 65,535; 0 switches this rule off. Overloads count as
    /// failures here, too. Default: 5.
    #[cfg_attr(feature = "serde", serde(alias = "failure_threshold"))]
    pub failures: u32,
    /// Calls that the window must hold before [`failures`](Self::failures) counts, or as many
    /// failures in a row, however long they took. Default: 0.
    #[cfg_attr(feature = "serde", serde(alias = "min_request_threshold"))]
    pub failures_min_calls: u32,
    /// Share of failed calls in the window that opens the circuit, above 0 and up to 1; `None` switches
    /// this rule off. Default: 0.5.
    pub failure_ratio: Option<f64>,
    /// Share of slow calls in the window that opens the circuit, above 0 and up to 1; `None` switches this
    /// rule off. Calls in flight for longer than [`slow_after`](Self::slow_after) count as slow before they
    /// end. While half-open, this share of slow calls keeps the circuit from closing. Default: `None`.
    pub slow_ratio: Option<f64>,
    /// Time after which a call is slow, from a millisecond to a day. It is measured from the moment when
    /// the call's future first returns `Pending`, so a call that blocks its thread in its first poll is
    /// never slow. Default: 5 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub slow_after: Duration,
    /// Calls of which the ratios are computed. Default: the calls of the last 10 s.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "window"))]
    pub window: Window,
    /// Calls that the window must hold before a ratio counts; more than a window of calls holds is
    /// as many as it holds. Default: 20.
    pub min_calls: u32,
    /// How to count a call that is dropped before it finishes. Default:
    /// [`FailureIfSlow`](Cancelled::FailureIfSlow).
    pub cancelled: Cancelled,
    /// Time for which the circuit stays open the first time, from a millisecond to a day. Default: 5 s.
    #[cfg_attr(
        feature = "serde",
        serde(with = "crate::duration::serde", alias = "recovery_timeout")
    )]
    pub open_for: Duration,
    /// Factor by which `open_for` grows each time the circuit reopens without having closed, from 1 to 100.
    /// Default: 1.5.
    pub open_growth: f64,
    /// Longest time for which the circuit stays open, up to a day; at least `open_for` in any case.
    ///
    /// A failure that says when to come back (`Retry-After`, gRPC pushback) keeps the circuit open
    /// until then, but no longer than this. Default: 60 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub max_open_for: Duration,
    /// Part of the time by which it is shorter or longer, at random, from 0 to 1, so that many clients do
    /// not come back at once. Default: 0.1.
    pub open_jitter: f64,
    /// Calls at once while half-open, from 1 to 65,535. Default: 4.
    #[cfg_attr(feature = "serde", serde(alias = "half_open_max_calls"))]
    pub probes: u32,
    /// Good calls while half-open that close the circuit, from 1 to 65,535. Slow ones count, too; but if
    /// [`slow_ratio`](Self::slow_ratio) of the calls that ended were slow by then, it opens again.
    /// Default: 3.
    #[cfg_attr(feature = "serde", serde(alias = "success_threshold"))]
    pub successes: u32,
    /// Failures while half-open that do not yet open the circuit again; one more does.
    ///
    /// With [`successes`](Self::successes) this is a window of its own: of the first
    /// `successes + probe_failures` calls, `successes` must be good. Default: 1.
    pub probe_failures: u32,
    /// Time for which a half-open circuit waits for the calls it admitted, from a millisecond to a day. It
    /// is counted from when the first of them was admitted, or from the last that ended. Then the circuit
    /// opens again: a call that is stuck cannot keep it half-open. Default: 30 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub half_open_for: Duration,
}

#[cfg(feature = "serde")]
crate::written::names_keys!(CircuitBreakerConfig);

#[cfg(feature = "serde")]
fn window<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Window, D::Error> {
    crate::written::choice(deserializer, r#"`{"calls": 100}` or `{"time": "10s"}`"#)
}

/// Calls of which the failure and slow ratios of a circuit are computed.
///
/// In a config: `{"calls": 100}` or `{"time": "10s"}`.
///
/// ```
/// use tower_upstream::breaker::{CircuitBreakerConfig, Window};
/// let config = CircuitBreakerConfig::default().with_window(Window::Calls(50));
/// # let _ = config;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Window {
    /// The last calls, from 1 to 65,536 of them. Each takes two bits.
    Calls(u32),
    /// The calls of the last time, from 10 ms to a day. It slides in tenths.
    Time(#[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))] Duration),
}

/// How to count a call that is dropped before it finishes.
///
/// A deadline, a timeout of another crate above the breaker, a caller that hangs up and the slower of
/// two hedged calls all look the same from here: the call is dropped. Only the attempt timeout of a
/// `FailoverLayer` is a failure in any case, unless the call runs in a task of its own.
///
/// ```
/// use tower_upstream::breaker::{Cancelled, CircuitBreakerConfig};
/// let config = CircuitBreakerConfig::default().with_cancelled(Cancelled::Failure);
/// # let _ = config;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Cancelled {
    /// It counts as nothing.
    Ignored,
    /// It failed.
    Failure,
    /// It failed, and was slow, if it had been in flight for
    /// [`slow_after`](CircuitBreakerConfig::slow_after); otherwise it is ignored.
    #[default]
    FailureIfSlow,
}

impl Default for CircuitBreakerConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            metrics_only: false,
            manual: false,
            failures: 5,
            failures_min_calls: 0,
            failure_ratio: Some(0.5),
            slow_ratio: None,
            slow_after: Duration::from_secs(5),
            window: Window::Time(Duration::from_secs(10)),
            min_calls: 20,
            cancelled: Cancelled::default(),
            open_for: Duration::from_secs(5),
            open_growth: 1.5,
            max_open_for: Duration::from_secs(60),
            open_jitter: 0.1,
            probes: 4,
            successes: 3,
            probe_failures: 1,
            half_open_for: Duration::from_secs(30),
        }
    }
}

impl CircuitBreakerConfig {
    /// Returns the defaults of the Go plugin manager: five failures in a row of at least three calls, 30 s
    /// each time, two probes that must both be good, and no ratio.
    pub fn go() -> Self {
        Self {
            failures_min_calls: 3,
            failure_ratio: None,
            open_for: Duration::from_secs(30),
            open_growth: 1.0,
            open_jitter: 0.0,
            probes: 2,
            successes: 2,
            probe_failures: 0,
            ..Self::default()
        }
    }

    /// Returns settings with failures in a row as the only rule: no window, and so the least work.
    pub fn consecutive(failures: u32) -> Self {
        Self { failures, failure_ratio: None, ..Self::default() }
    }

    /// Returns settings without rules: only [handles](super::CircuitHandle) open and close the circuit. Calls
    /// are counted.
    ///
    /// ```
    /// use tower_upstream::{CircuitBreakerConfig, CircuitBreakerLayer};
    /// let config = CircuitBreakerConfig::manual();
    /// assert!(config.validate().is_ok());
    /// let switch = CircuitBreakerLayer::new(config).handle();
    /// switch.force_open();
    /// ```
    pub fn manual() -> Self {
        Self { manual: true, ..Self::default() }
    }

    /// Whether any rule looks at the window.
    pub(super) fn needs_window(&self) -> bool {
        let ratios = self.failure_ratio.is_some() || self.slow_ratio.is_some();
        ratios || (self.failures > 0 && self.failures_min_calls > 0)
    }

    /// How many calls the window must hold before a ratio counts.
    pub(super) fn min_calls(&self) -> u64 {
        let most = match self.window {
            Window::Calls(calls) => calls,
            Window::Time(_) => u32::MAX,
        };
        u64::from(self.min_calls.clamp(1, most))
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $setter:ident => $field:ident: $type:ty $(, $wrap:expr)?;)*) => {
        impl CircuitBreakerConfig {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](field@Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $setter(mut self, $field: $type) -> Self {
                    self.$field = setters!(@wrap $field $($wrap)?);
                    self
                }
            )*
        }
    };
    (@wrap $field:ident) => { $field };
    (@wrap $field:ident $wrap:expr) => { $wrap($field) };
}

setters! {
    with_enabled => enabled: bool;
    with_metrics_only => metrics_only: bool;
    with_manual => manual: bool;
    with_failures => failures: u32;
    with_failures_min_calls => failures_min_calls: u32;
    with_failure_ratio => failure_ratio: impl Into<Option<f64>>, Into::into;
    with_slow_ratio => slow_ratio: impl Into<Option<f64>>, Into::into;
    with_slow_after => slow_after: Duration;
    with_window => window: Window;
    with_min_calls => min_calls: u32;
    with_cancelled => cancelled: Cancelled;
    with_open_for => open_for: Duration;
    with_open_growth => open_growth: f64;
    with_max_open_for => max_open_for: Duration;
    with_open_jitter => open_jitter: f64;
    with_probes => probes: u32;
    with_successes => successes: u32;
    with_probe_failures => probe_failures: u32;
    with_half_open_for => half_open_for: Duration;
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_go_are_read_and_unknown_keys_are_named() {
        let go = r#"{
            "enabled": true, "failure_threshold": 3, "recovery_timeout": 30000000000,
            "min_request_threshold": 4, "success_threshold": 6, "half_open_max_calls": 7
        }"#;
        let config: CircuitBreakerConfig = serde_json::from_str(go).unwrap();
        let expected = CircuitBreakerConfig::default()
            .with_failures(3)
            .with_open_for(Duration::from_secs(30))
            .with_failures_min_calls(4)
            .with_successes(6)
            .with_probes(7);
        assert_eq!(config, expected);
        let ours = r#"{"window": {"time": "1m30s"}, "cancelled": "failure", "slow_ratio": 0.9}"#;
        let config: CircuitBreakerConfig = serde_json::from_str(ours).unwrap();
        assert_eq!(config.window, Window::Time(Duration::from_secs(90)));
        assert_eq!((config.cancelled, config.slow_ratio), (Cancelled::Failure, Some(0.9)));
        for wrong in [r#"{"failure": 1}"#, r#"{"failures": 1, "failure_threshold": 1}"#] {
            assert!(serde_json::from_str::<CircuitBreakerConfig>(wrong).is_err(), "{wrong}");
        }
    }
}
