use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::timeout};

use super::{
    probe::{Checked, RetryChecks, check_all, check_one, check_with_retry},
    prober,
    tell::HealthySet,
    watch::Policy,
};
use crate::{endpoint::Endpoint, plugin::HealthStatus, time::Instant};

/// Looks at all that one layer value checks, and controls the checks. Cheap to clone; keeps
/// nothing running.
///
/// # Rounds
/// Each target is checked at its own time, so there is no moment when all are. A *round* begins at
/// some moment, and is done when each target that was there then has been checked by a check that
/// began after that moment, or has left.
///
/// # Checks beside the schedule
/// [`check`](Self::check), [`check_all`](Self::check_all) and
/// [`check_with_retry`](Self::check_with_retry) ask, and count for nothing: no gate opens or shuts,
/// and any endpoint may be asked, also one that is in no set. [`force_check`](Self::force_check)
/// has the targets themselves checked, and counts.
///
/// # Example
/// ```
/// use std::{convert::Infallible, time::Duration};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{HealthGateLayer, health::check_upstream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let layer = HealthGateLayer::new(check_upstream(|| async { true }));
/// let monitor = layer.monitor();
/// let client = ServiceBuilder::new()
///     .layer(layer)
///     .service(service_fn(async |name: &str| Ok::<_, Infallible>(format!("hello {name}"))));
/// client.clone().oneshot("you").await.unwrap();
///
/// let round = monitor.force_check().await.unwrap();
/// assert_eq!((round.healthy, round.total), (1, 1));
/// assert_eq!(monitor.status().message, "All components healthy");
/// monitor.stop().await;
/// # }
/// ```
#[derive(Clone)]
pub struct HealthMonitor {
    policy: Arc<Policy>,
}

/// Result of checking all targets once. See [`HealthMonitor::force_check`].
///
/// ```
/// use tower_upstream::health::HealthRound;
/// fn report(round: &HealthRound) -> String {
///     format!("{} of {} healthy, {} changed", round.healthy, round.total, round.changed)
/// }
/// # let _ = report;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthRound {
    /// How many targets there are.
    pub total: usize,
    /// How many of them are healthy.
    pub healthy: usize,
    /// How many are not.
    pub unhealthy: usize,
    /// How many the checks of this round made healthy, or unhealthy.
    pub changed: usize,
}

/// How long a stop waits for what does not want to end.
const STOP: Duration = Duration::from_secs(1);

impl HealthMonitor {
    pub(super) fn new(policy: Arc<Policy>) -> Self {
        Self { policy }
    }

    /// Returns the targets that are healthy now.
    pub fn healthy(&self) -> HealthySet {
        self.policy.roster.healthy_set()
    }

    /// How each target does, by its key; that above a balancer has the empty key.
    pub fn statuses(&self) -> BTreeMap<String, HealthStatus> {
        let records = self.policy.roster.records();
        records.iter().map(|record| (record.key().to_owned(), record.status())).collect()
    }

    /// How all do together: [`HealthStatus::overall`], with the keys of those that have issues.
    pub fn status(&self) -> HealthStatus {
        let parts = self.statuses().into_iter().map(|(key, status)| match &*key {
            "" => status,
            key => {
                let message = format!("{key}: {}", status.message);
                status.with_message(message)
            }
        });
        let parts: Vec<_> = parts.collect();
        HealthStatus::overall(&parts)
    }

    /// Checks `endpoint` now, or with `None` the upstream as a whole.
    ///
    /// Takes at most the timeout of the config. May be dropped at any point. Needs a tokio runtime,
    /// as all checks do.
    pub async fn check(&self, endpoint: Option<Arc<Endpoint>>) -> Checked {
        let config = self.policy.roster.config();
        check_one(self.policy.check(&config), endpoint, config.timeout).await
    }

    /// Checks each of `endpoints` now, as many at once as the config says, and answers in their
    /// order. An endpoint that is named twice is checked once, and answered twice; one key at two
    /// addresses is two.
    ///
    /// May be dropped at any point.
    pub async fn check_all(
        &self,
        endpoints: impl IntoIterator<Item = Arc<Endpoint>>,
    ) -> Vec<Checked> {
        self.check_many(endpoints, None).await
    }

    /// The same until `deadline`. What was not checked by then, or not to the end, is
    /// [skipped](super::Verdict::Skipped): too little time is nothing against an endpoint.
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
        let (endpoints, config) = (endpoints.into_iter().collect(), self.policy.roster.config());
        check_all(self.policy.check(&config), endpoints, config.timeout, config.parallel, deadline)
            .await
    }

    /// Checks `endpoint` again and again until it is healthy, or degraded; such as a deployment
    /// that waits for a new instance.
    ///
    /// Before each wait `before_wait` gets the number of the retry, from 1, and how long the wait
    /// will be. If all fail, the answer is the last one, with
    /// `health check failed after N attempts: ` before its reason. Gives up early if the next
    /// attempt would come past `deadline`; and at once where a [check can never
    /// work](super::Check::problem), with the answer why. May be dropped at any point.
    ///
    /// Values of `retry` that are out of range become the nearest sane ones.
    pub async fn check_with_retry(
        &self,
        endpoint: Option<Arc<Endpoint>>,
        retry: RetryChecks,
        deadline: Option<Instant>,
        before_wait: impl FnMut(u32, Duration) + Send,
    ) -> Checked {
        let config = self.policy.roster.config();
        let (check, limit) = (self.policy.check(&config), config.timeout);
        check_with_retry(check, endpoint, limit, retry, deadline, before_wait).await
    }

    /// Has all targets checked now, and waits until they were.
    ///
    /// The round begins after this was called, and one round serves all callers before it
    /// began: call as often as you like. `None` if there is nothing to check: no gate is in use,
    /// checks are stopped, or were stopped meanwhile. May be dropped at any point; the round goes
    /// on.
    pub async fn force_check(&self) -> Option<HealthRound> {
        self.policy.enlist_all();
        let (number, run) = self.policy.roster.want_round()?;
        self.policy.roster.round(number, run).await
    }

    /// Waits until every target that is there then was checked at least once since checks were
    /// started or switched on, at most `limit`, and tells whether that is so. Without any target it
    /// is not, and one that just came has yet to be checked. One that is not to be checked is not
    /// waited for.
    pub async fn wait_first_round(&self, limit: Duration) -> bool {
        timeout(limit, self.policy.roster.first_round()).await.is_ok()
    }

    /// Lets checks run again after a [`stop`](Self::stop), from the first round on. What they found
    /// before is kept. Also has those checked that were connected outside of a runtime.
    ///
    /// Inside a tokio runtime they run in that; otherwise with the next use of a gate in one.
    pub fn start(&self) {
        prober::start(&self.policy);
    }

    /// Ends all checks until [`start`](Self::start); until then the gates stay as they are.
    ///
    /// Gives up checks that are under way. When this returns, the listener is not called any more;
    /// but if it is stuck, or a check blocks its thread, this returns after a second all the same.
    /// So it does outside of a runtime, if that of the checks is not driven meanwhile.
    /// Dropping the future changes nothing: checks are stopped at the first poll.
    pub async fn stop(&self) {
        self.policy.roster.stop();
        let roster = &self.policy.roster;
        match Handle::try_current() {
            Ok(_) => drop(timeout(STOP, roster.still()).await),
            Err(_) => roster.still_within(STOP).await,
        }
    }

    /// Whether checks run: some gate is in use, and they were not stopped.
    pub fn is_running(&self) -> bool {
        self.policy.roster.is_running()
    }
}

impl fmt::Debug for HealthMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.healthy();
        f.debug_struct("HealthMonitor")
            .field("running", &self.is_running())
            .field("healthy", &set.healthy)
            .field("total", &set.total)
            .finish()
    }
}
