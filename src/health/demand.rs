//! Checks that a caller asks for, beside the schedule: one, many at once, and one again and again.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, future::ready, stream};
use tokio::time::{sleep, timeout_at};

use super::{
    check::{AnyCheck, Verdict},
    probe::{Probed, probe},
    report::Checked,
};
use crate::{
    backoff::{Backoff, Jitter},
    endpoint::{Address, Endpoint},
    error::{Error, Kind},
    time::{self, Instant},
};

/// Settings of repeated checks of one target, until it is healthy. See
/// [`HealthMonitor::check_with_retry`](super::HealthMonitor::check_with_retry).
///
/// By default there are six checks, with waits of 0.5, 1, 2, 4 and 8 s between.
///
/// # Example
/// ```
/// use tower_upstream::health::RetryChecks;
/// let until_up = RetryChecks::default().with_max_retries(9);
/// # let _ = until_up;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct RetryChecks {
    /// Number of checks after the first one, if none succeeds, up to 10,000. Default: 5.
    pub max_retries: u32,
    /// Duration of the first wait, from 1 ms to 24 h, and at most `max`. Each further wait is twice as
    /// long. Default: 500 ms.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub initial: Duration,
    /// Duration of the longest wait, from 1 ms to 24 h. Default: 8 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub max: Duration,
}

const MIN_WAIT: Duration = Duration::from_millis(1);
const MAX_WAIT: Duration = Duration::from_secs(86_400);
const MAX_RETRIES: u32 = 10_000;

impl Default for RetryChecks {
    fn default() -> Self {
        Self { max_retries: 5, initial: Duration::from_millis(500), max: Duration::from_secs(8) }
    }
}

impl RetryChecks {
    /// Sets [`max_retries`](Self::max_retries).
    #[must_use]
    pub fn with_max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// Sets [`initial`](Self::initial).
    #[must_use]
    pub fn with_initial(mut self, wait: Duration) -> Self {
        self.initial = wait;
        self
    }

    /// Sets [`max`](Self::max).
    #[must_use]
    pub fn with_max(mut self, wait: Duration) -> Self {
        self.max = wait;
        self
    }

    /// Returns an error if a value is out of range. Where such a value is used, the nearest allowed one
    /// is used instead.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] that names all mistakes at once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_upstream::health::RetryChecks;
    /// assert!(RetryChecks::default().with_initial(Duration::ZERO).validate().is_err());
    /// ```
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        for (name, value) in [("initial", self.initial), ("max", self.max)] {
            if !(MIN_WAIT..=MAX_WAIT).contains(&value) {
                mistakes.push(format!("`{name}` is {value:?}, but must be from 1 ms to a day"));
            }
        }
        let retries = self.max_retries;
        if retries > MAX_RETRIES {
            mistakes.push(format!("`max_retries` is {retries}, but must be at most {MAX_RETRIES}"));
        }
        if mistakes.is_empty() {
            return Ok(());
        }
        let text = format!("health: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(text))
    }

    /// The nearest sane values.
    fn clamped(mut self) -> Self {
        self.initial = self.initial.clamp(MIN_WAIT, MAX_WAIT);
        self.max = self.max.clamp(MIN_WAIT, MAX_WAIT);
        self.max_retries = self.max_retries.min(MAX_RETRIES);
        self
    }

    /// The wait before the `retry`th retry, from 1.
    fn delay(&self, retry: u32) -> Duration {
        let Self { initial: first, max, .. } = *self;
        Backoff { first, multiplier: 2.0, max, jitter: Jitter::None }.grown(retry)
    }
}

type Check = Arc<dyn AnyCheck>;

/// One check that was asked for.
pub(super) async fn check_one(
    check: Check,
    endpoint: Option<Arc<Endpoint>>,
    limit: Duration,
) -> Checked {
    if let Some(checked) = impossible(&check, &endpoint) {
        return checked;
    }
    let Probed { verdict, latency, .. } = probe(check, endpoint.clone(), limit).await;
    Checked { endpoint, verdict, latency }
}

/// What there is to say of an endpoint that can never be checked.
fn impossible(check: &Check, endpoint: &Option<Arc<Endpoint>>) -> Option<Checked> {
    let problem = check.problem_with(endpoint.as_deref())?;
    let verdict = Verdict::Unhealthy(problem.into());
    Some(Checked { endpoint: endpoint.clone(), verdict, latency: Duration::ZERO })
}

/// Two addresses of one key are two targets.
type Target = (Arc<str>, Address);

fn target(endpoint: &Endpoint) -> Target {
    (endpoint.shared_key().clone(), endpoint.address().clone())
}

/// Checks each of `endpoints` once, `parallel` at once, until `deadline`; in their order.
pub(super) async fn check_all(
    check: Check,
    endpoints: Vec<Arc<Endpoint>>,
    limit: Duration,
    parallel: usize,
    deadline: Option<Instant>,
) -> Vec<Checked> {
    let mut found = HashMap::<Target, Option<Checked>>::new();
    let mut once = Vec::new();
    for endpoint in &endpoints {
        if found.insert(target(endpoint), None).is_none() {
            once.push(endpoint.clone());
        }
    }
    let has_time = || deadline.is_none_or(|deadline| time::now() < deadline);
    let checks = stream::iter(once)
        .take_while(|_| ready(has_time()))
        .map(|endpoint| check_one(check.clone(), Some(endpoint), limit))
        .buffer_unordered(parallel);
    let mut checks = pin!(checks);
    loop {
        let next = match deadline {
            // What is done by then counts, though there was no time yet to take it.
            Some(_) if !has_time() => checks.next().now_or_never().flatten(),
            Some(deadline) => match timeout_at(deadline, checks.next()).await {
                Ok(next) => next,
                Err(_) => continue,
            },
            None => checks.next().await,
        };
        let Some(checked) = next else { break };
        let target = checked.endpoint.as_deref().map(target);
        found.extend(target.map(|target| (target, Some(checked))));
    }
    let of = |endpoint: Arc<Endpoint>| {
        let checked = found.get(&target(&endpoint)).cloned().flatten();
        let (verdict, latency) = checked.map_or((Verdict::Skipped, Duration::ZERO), |checked| {
            (checked.verdict, checked.latency)
        });
        Checked { endpoint: Some(endpoint), verdict, latency }
    };
    endpoints.into_iter().map(of).collect()
}

/// Checks until a success, as often as `retry` says and `deadline` lets it.
pub(super) async fn check_with_retry(
    check: Check,
    endpoint: Option<Arc<Endpoint>>,
    limit: Duration,
    retry: RetryChecks,
    deadline: Option<Instant>,
    mut before_wait: impl FnMut(u32, Duration),
) -> Checked {
    // What can never work is not tried again.
    if let Some(checked) = impossible(&check, &endpoint) {
        return checked;
    }
    let retry = retry.clamped();
    let mut attempt = 1_u32;
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(time::now()));
        let limit = left.map_or(limit, |left| left.min(limit));
        let Probed { verdict, latency, .. } = probe(check.clone(), endpoint.clone(), limit).await;
        let mut checked = Checked { endpoint: endpoint.clone(), verdict, latency };
        if matches!(checked.verdict, Verdict::Healthy | Verdict::Degraded(_)) {
            return checked;
        }
        let delay = retry.delay(attempt);
        let fits = deadline.is_none_or(|deadline| time::later(time::now(), delay) < deadline);
        if attempt > retry.max_retries || !fits {
            if let Verdict::Unhealthy(reason) = &mut checked.verdict {
                *reason = format!("health check failed after {attempt} attempts: {reason}").into();
            }
            return checked;
        }
        before_wait(attempt, delay);
        sleep(delay).await;
        attempt = attempt.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_the_first_is_capped_too() {
        let waits = |retry: &RetryChecks| -> Vec<_> {
            (1..=6).map(|number| retry.delay(number).as_millis()).collect()
        };
        let retry = RetryChecks::default();
        assert_eq!(waits(&retry), [500, 1_000, 2_000, 4_000, 8_000, 8_000]);
        assert_eq!(retry.delay(u32::MAX), retry.max);
        let capped = retry.with_initial(Duration::from_secs(60)).with_max(Duration::from_secs(3));
        assert_eq!(waits(&capped), [3_000; 6]);
        assert!(capped.validate().is_ok());
    }

    #[test]
    fn no_retry_is_a_hot_loop_and_every_mistake_is_named() {
        let absurd = RetryChecks::default()
            .with_max_retries(u32::MAX)
            .with_initial(Duration::ZERO)
            .with_max(Duration::ZERO);
        let text = absurd.validate().unwrap_err().to_string();
        for name in ["`initial`", "`max`", "`max_retries`"] {
            assert!(text.contains(name), "{text}");
        }
        let sane = absurd.clamped();
        assert!(sane.validate().is_ok() && sane.delay(1) == MIN_WAIT);
        let patient = RetryChecks::default().with_max(Duration::MAX).with_initial(Duration::MAX);
        assert!(patient.clone().validate().is_err() && patient.clamped().validate().is_ok());
    }
}
