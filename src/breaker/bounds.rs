//! What a config may say.

use std::time::Duration;

use super::{CircuitBreakerConfig, Window};
use crate::error::{Error, Kind};

const MIN_TIME: Duration = Duration::from_millis(1);
const MIN_WINDOW: Duration = Duration::from_millis(10);
const MAX_TIME: Duration = Duration::from_secs(86_400);
const MAX_COUNT: u32 = u16::MAX as u32;
const MAX_WINDOW: u32 = 65_536;
const MAX_GROWTH: f64 = 100.0;

impl CircuitBreakerConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] that names all mistakes. A layer built of such a config takes the nearest
    /// valid values instead.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        for (name, value) in [("probes", self.probes), ("successes", self.successes)] {
            if !(1..=MAX_COUNT).contains(&value) {
                mistakes.push(format!("`{name}` is {value}, but must be from 1 to {MAX_COUNT}"));
            }
        }
        for (name, value) in [("failures", self.failures), ("probe_failures", self.probe_failures)]
        {
            if value > MAX_COUNT {
                mistakes.push(format!("`{name}` is {value}, but must be at most {MAX_COUNT}"));
            }
        }
        for (name, value) in
            [("failure_ratio", self.failure_ratio), ("slow_ratio", self.slow_ratio)]
        {
            if value.is_some_and(|ratio| !(ratio > 0.0 && ratio <= 1.0)) {
                let value = value.unwrap_or_default();
                mistakes.push(format!(
                    "`{name}` is {value}, but must be above 0 and at most 1, or none"
                ));
            }
        }
        for (name, value) in [
            ("slow_after", self.slow_after),
            ("open_for", self.open_for),
            ("half_open_for", self.half_open_for),
        ] {
            if !(MIN_TIME..=MAX_TIME).contains(&value) {
                mistakes.push(format!("`{name}` is {value:?}, but must be from 1 ms to a day"));
            }
        }
        if self.max_open_for > MAX_TIME {
            let value = self.max_open_for;
            mistakes.push(format!("`max_open_for` is {value:?}, but must be at most a day"));
        }
        if !(1.0..=MAX_GROWTH).contains(&self.open_growth) {
            let value = self.open_growth;
            mistakes.push(format!("`open_growth` is {value}, but must be from 1 to {MAX_GROWTH}"));
        }
        if !(0.0..=1.0).contains(&self.open_jitter) {
            mistakes
                .push(format!("`open_jitter` is {}, but must be from 0 to 1", self.open_jitter));
        }
        match self.window {
            Window::Calls(calls) if !(1..=MAX_WINDOW).contains(&calls) => mistakes
                .push(format!("`window` is {calls} calls, but must be from 1 to {MAX_WINDOW}")),
            Window::Time(time) if !(MIN_WINDOW..=MAX_TIME).contains(&time) => {
                mistakes.push(format!("`window` is {time:?}, but must be from 10 ms to a day"))
            }
            _ => {}
        }
        if self.enabled && !self.manual && !self.has_rule() {
            mistakes.push(
                "no rule is on: set `failures`, `failure_ratio` or `slow_ratio`, or set `enabled` to \
                 false, or `manual` to true"
                    .to_owned(),
            );
        }
        if mistakes.is_empty() {
            return Ok(());
        }
        Err(Error::not_sent(Kind::InvalidConfig)
            .message(format!("circuit breaker: {}", mistakes.join("; "))))
    }

    fn has_rule(&self) -> bool {
        self.failures > 0 || self.failure_ratio.is_some() || self.slow_ratio.is_some()
    }

    /// The nearest sane values.
    pub(super) fn clamped(mut self) -> Self {
        self.probes = self.probes.clamp(1, MAX_COUNT);
        self.successes = self.successes.clamp(1, MAX_COUNT);
        self.failures = self.failures.min(MAX_COUNT);
        self.probe_failures = self.probe_failures.min(MAX_COUNT);
        for ratio in [&mut self.failure_ratio, &mut self.slow_ratio] {
            *ratio = ratio.filter(|ratio| *ratio > 0.0).map(|ratio| ratio.min(1.0));
        }
        for time in [&mut self.slow_after, &mut self.open_for, &mut self.half_open_for] {
            *time = (*time).clamp(MIN_TIME, MAX_TIME);
        }
        self.max_open_for = self.max_open_for.clamp(self.open_for, MAX_TIME);
        let sane = |value: f64, least: f64, most: f64| {
            if value.is_nan() { least } else { value.clamp(least, most) }
        };
        self.open_growth = sane(self.open_growth, 1.0, MAX_GROWTH);
        self.open_jitter = sane(self.open_jitter, 0.0, 1.0);
        self.window = match self.window {
            Window::Calls(calls) => Window::Calls(calls.clamp(1, MAX_WINDOW)),
            Window::Time(time) => Window::Time(time.clamp(MIN_WINDOW, MAX_TIME)),
        };
        if self.manual {
            (self.failures, self.failure_ratio, self.slow_ratio) = (0, None, None);
        } else {
            self.enabled &= self.has_rule();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_named_and_clamping_leaves_none() {
        let absurd = CircuitBreakerConfig::default()
            .with_failures(70_000)
            .with_failure_ratio(1.5)
            .with_slow_ratio(f64::NAN)
            .with_slow_after(Duration::ZERO)
            .with_window(Window::Calls(0))
            .with_open_for(Duration::MAX)
            .with_open_growth(0.5)
            .with_max_open_for(Duration::MAX)
            .with_open_jitter(2.0)
            .with_probes(100_000)
            .with_successes(0)
            .with_probe_failures(u32::MAX)
            .with_half_open_for(Duration::ZERO);
        let text = absurd.validate().unwrap_err().to_string();
        for name in [
            "`failures`",
            "failure_ratio",
            "slow_ratio",
            "slow_after",
            "window",
            "`open_for`",
            "open_growth",
            "max_open_for",
            "open_jitter",
            "probes",
            "successes",
            "probe_failures",
            "half_open_for",
        ] {
            assert!(text.contains(name), "{name} in {text}");
        }
        assert_eq!(absurd.clamped().validate().map_err(|error| error.to_string()), Ok(()));
        assert!(CircuitBreakerConfig::go().validate().is_ok());
        assert!(CircuitBreakerConfig::default().validate().is_ok());
        let no_rule =
            CircuitBreakerConfig { failure_ratio: None, failures: 0, ..Default::default() };
        assert!(no_rule.validate().unwrap_err().to_string().contains("no rule"));
        assert!(!no_rule.clone().clamped().enabled);
        let manual = no_rule.with_manual(true);
        assert!(manual.validate().is_ok() && manual.clamped().enabled);
        assert!(!CircuitBreakerConfig::manual().clamped().has_rule());
    }
}
