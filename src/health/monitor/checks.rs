//! Checks that a caller asks for, by the check and the settings of the layer.

use std::{sync::Arc, time::Duration};

use super::HealthMonitor;
use crate::{
    endpoint::Endpoint,
    health::{
        demand::{RetryChecks, check_all, check_one, check_with_retry},
        report::Checked,
    },
    time::Instant,
};

impl HealthMonitor {
    /// Checks `endpoint` now; or the upstream as a whole, with `None`.
    ///
    /// Takes at most the timeout of the config. Needs a tokio runtime, as all checks do.
    ///
    /// # Cancel safety
    /// Dropping the future drops the check.
    ///
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::{Verdict, check_upstream}};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let monitor = HealthGateLayer::new(check_upstream(|| async { true })).monitor();
    /// assert_eq!(monitor.check(None).await.verdict, Verdict::Healthy);
    /// # }
    /// ```
    pub async fn check(&self, endpoint: Option<Arc<Endpoint>>) -> Checked {
        let config = self.gates.family.settings();
        check_one((self.gates.setup.checks)(&config), endpoint, config.timeout).await
    }

    /// Checks each of `endpoints` now, and returns the results in their order.
    ///
    /// An endpoint that is named twice is checked once, and has two results; one key at two addresses
    /// is two endpoints.
    ///
    /// # Cancel safety
    /// Dropping the future drops all checks.
    ///
    /// # Bounds
    /// At most [`HealthConfig::parallel`](crate::health::HealthConfig::parallel) checks run at once.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use tower_upstream::{Endpoint, health::{HealthMonitor, Verdict}};
    /// async fn count(monitor: &HealthMonitor, candidates: Vec<Arc<Endpoint>>) -> usize {
    ///     let all = monitor.check_all(candidates).await;
    ///     all.iter().filter(|one| one.verdict == Verdict::Healthy).count()
    /// }
    /// # let _ = count;
    /// ```
    pub async fn check_all(
        &self,
        endpoints: impl IntoIterator<Item = Arc<Endpoint>>,
    ) -> Vec<Checked> {
        self.check_many(endpoints, None).await
    }

    /// Checks each of `endpoints` until `deadline`, as [`check_all`](Self::check_all) does.
    ///
    /// A check that was not made or not finished by then is
    /// [`Verdict::Skipped`](crate::health::Verdict::Skipped): a lack of time does not count against an
    /// endpoint.
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use tower_upstream::{Endpoint, health::{Checked, HealthMonitor}};
    /// async fn soon(monitor: &HealthMonitor, all: Vec<Arc<Endpoint>>) -> Vec<Checked> {
    ///     let deadline = tokio::time::Instant::now() + Duration::from_secs(3);
    ///     monitor.check_all_until(all, deadline).await
    /// }
    /// # let _ = soon;
    /// ```
    pub async fn check_all_until(
        &self,
        endpoints: impl IntoIterator<Item = Arc<Endpoint>>,
        deadline: Instant,
    ) -> Vec<Checked> {
        self.check_many(endpoints, Some(deadline)).await
    }

    async fn check_many(
        &self,
        endpoints: impl IntoIterator<Item = Arc<Endpoint>>,
        deadline: Option<Instant>,
    ) -> Vec<Checked> {
        let (endpoints, config) = (endpoints.into_iter().collect(), self.gates.family.settings());
        let check = (self.gates.setup.checks)(&config);
        check_all(check, endpoints, config.timeout, config.parallel, deadline).await
    }

    /// Checks `endpoint` repeatedly until it is healthy or degraded, such as during a deployment that
    /// waits for a new instance.
    ///
    /// Before each wait, `before_wait` gets the number of the retry, from 1, and the duration of the
    /// wait. If all checks fail, the result is that of the last one, with
    /// `health check failed after N attempts: ` before its reason. Gives up early if the next attempt
    /// would come after `deadline`; and at once if the [check can never
    /// work](crate::health::Check::problem), with the reason. Values of `retry` out of range become the
    /// nearest allowed ones.
    ///
    /// # Cancel safety
    /// Dropping the future drops the check that runs, and ends the repeats.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use tower_upstream::{Endpoint, health::{HealthMonitor, RetryChecks}};
    /// async fn wait_for(monitor: &HealthMonitor, instance: Arc<Endpoint>) {
    ///     let waits = |retry, wait| println!("retry {retry} in {wait:?}");
    ///     monitor.check_with_retry(Some(instance), RetryChecks::default(), None, waits).await;
    /// }
    /// # let _ = wait_for;
    /// ```
    pub async fn check_with_retry(
        &self,
        endpoint: Option<Arc<Endpoint>>,
        retry: RetryChecks,
        deadline: Option<Instant>,
        before_wait: impl FnMut(u32, Duration) + Send,
    ) -> Checked {
        let config = self.gates.family.settings();
        let (check, limit) = ((self.gates.setup.checks)(&config), config.timeout);
        check_with_retry(check, endpoint, limit, retry, deadline, before_wait).await
    }
}
