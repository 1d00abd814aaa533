//! One check, within its time; and many at once, and one again and again.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, stream};
use tokio::time::{sleep, timeout, timeout_at};

use super::check::{AnyCheck, Verdict};
use crate::{
    endpoint::Endpoint,
    time::{self, Instant},
};

/// What a check that was asked for found. It counts for nothing, and opens and shuts no gate.
///
/// ```
/// use tower_upstream::health::{Checked, Verdict};
/// fn failed(all: &[Checked]) -> usize {
///     all.iter().filter(|one| matches!(one.verdict, Verdict::Unhealthy(_))).count()
/// }
/// # assert_eq!(failed(&[]), 0);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Checked {
    /// What was checked; `None` above a balancer, or without one.
    pub endpoint: Option<Arc<Endpoint>>,
    /// What was found. [`Verdict::Skipped`] if the check was not done, or not to its end.
    pub verdict: Verdict,
    /// How long it took.
    pub latency: Duration,
}

/// How often to check until a target is healthy. The defaults are six checks, with waits of 0.5,
/// 1, 2, 4 and 8 s between.
///
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
    /// How many checks follow the first one, if none is a success. Default 5.
    pub max_retries: u32,
    /// The first wait, at most `max`. Each further one is twice as long. Default 500 ms.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub initial: Duration,
    /// The longest wait. Default 8 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub max: Duration,
}

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

    /// The wait before the `retry`th retry, from 1.
    fn delay(&self, retry: u32) -> Duration {
        let factor = 2_u32.saturating_pow(retry.saturating_sub(1));
        self.initial.saturating_mul(factor).min(self.max)
    }
}

type Check = Arc<dyn AnyCheck>;

/// One check, with how long it took. It never takes longer than `limit`, and never panics.
pub(super) async fn probe(
    check: Check,
    endpoint: Option<Arc<Endpoint>>,
    limit: Duration,
) -> (Verdict, Duration) {
    let began = time::now();
    let check = AssertUnwindSafe(async move { check.begin(endpoint).await });
    let verdict = match timeout(limit, check.catch_unwind()).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(_)) => Verdict::Unhealthy("the check panicked".into()),
        Err(_) => Verdict::Unhealthy(format!("no answer within {limit:?}").into()),
    };
    (verdict, time::now().saturating_duration_since(began))
}

/// One check that was asked for.
pub(super) async fn check_one(
    check: Check,
    endpoint: Option<Arc<Endpoint>>,
    limit: Duration,
) -> Checked {
    let (verdict, latency) = match check.problem_with(endpoint.as_deref()) {
        Some(problem) => (Verdict::Unhealthy(problem.into()), Duration::ZERO),
        None => probe(check, endpoint.clone(), limit).await,
    };
    Checked { endpoint, verdict, latency }
}

/// Checks each of `endpoints` once, `parallel` at once, until `deadline`; in their order.
pub(super) async fn check_all(
    check: Check,
    endpoints: Vec<Arc<Endpoint>>,
    limit: Duration,
    parallel: usize,
    deadline: Option<Instant>,
) -> Vec<Checked> {
    let mut found = HashMap::<Arc<str>, Option<Checked>>::new();
    let mut once = Vec::new();
    for endpoint in &endpoints {
        if found.insert(endpoint.shared_key().clone(), None).is_none() {
            once.push(endpoint.clone());
        }
    }
    let checks = stream::iter(once)
        .map(|endpoint| check_one(check.clone(), Some(endpoint), limit))
        .buffer_unordered(parallel);
    let mut checks = std::pin::pin!(checks);
    while deadline.is_none_or(|deadline| time::now() < deadline) {
        let next = match deadline {
            Some(deadline) => timeout_at(deadline, checks.next()).await.ok().flatten(),
            None => checks.next().await,
        };
        let Some(checked) = next else { break };
        let key = checked.endpoint.as_ref().map(|endpoint| endpoint.shared_key().clone());
        found.extend(key.map(|key| (key, Some(checked))));
    }
    let of = |endpoint: Arc<Endpoint>| {
        let checked = found.get(endpoint.key()).cloned().flatten();
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
    let mut attempt = 1_u32;
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(time::now()));
        let limit = left.map_or(limit, |left| left.min(limit));
        let mut checked = check_one(check.clone(), endpoint.clone(), limit).await;
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
    }
}
