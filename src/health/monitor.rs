use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    demand::{RetryChecks, check_all, check_one, check_with_retry},
    gates::Gates,
    report::{Checked, HealthRound, HealthySet},
    roster::Roster,
};
use crate::{endpoint::Endpoint, plugin::HealthStatus, telemetry::Stats, time::Instant};

/// Handle for inspecting all targets of one layer value, and for controlling their checks.
///
/// Cheap to clone. It keeps nothing running.
///
/// # Rounds
/// Each target is checked at its own time, so there is no moment when all are. A *round* begins at
/// some moment, and is done when each target that was there then has been checked by a check that
/// began after that moment, or has left.
///
/// # Checks beside the schedule
/// [`check`](Self::check), [`check_all`](Self::check_all) and
/// [`check_with_retry`](Self::check_with_retry) do not count: they change no gate, and any endpoint
/// may be checked, also one that is in no set. [`force_check`](Self::force_check) checks the targets
/// themselves, and counts.
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
    gates: Arc<Gates>,
}

impl HealthMonitor {
    pub(super) fn new(gates: Arc<Gates>) -> Self {
        Self { gates }
    }

    fn roster(&self) -> &Roster {
        &self.gates.prober.roster
    }

    /// Returns the targets that are healthy now.
    ///
    /// ```
    /// # use tower_upstream::health::HealthMonitor;
    /// fn is_enough(monitor: &HealthMonitor) -> bool {
    ///     monitor.healthy().healthy >= 2
    /// }
    /// # let _ = is_enough;
    /// ```
    pub fn healthy(&self) -> HealthySet {
        self.roster().healthy_set()
    }

    /// Waits until the healthy targets are not those of `known`, and returns them: a target became healthy
    /// or unhealthy, was added, or left.
    ///
    /// Waits for the first round in any case, also after a [`stop`](Self::stop): until each target was
    /// checked once. Without `known`, returns then. Changes of one moment are returned together, and a
    /// caller that comes late gets the latest; checks and gates never wait for it.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: what has changed is found by the next call.
    ///
    /// ```
    /// # use tower_upstream::health::HealthMonitor;
    /// async fn follow(monitor: &HealthMonitor) {
    ///     let mut known = None;
    ///     loop {
    ///         let set = monitor.changed(known.as_ref()).await;
    ///         println!("{} of {} are healthy", set.healthy, set.total);
    ///         known = Some(set);
    ///     }
    /// }
    /// # let _ = follow;
    /// ```
    pub async fn changed(&self, known: Option<&HealthySet>) -> HealthySet {
        self.roster().changed(known).await
    }

    /// Returns what the gates have counted, of all targets together. Refusals are counted if the layer
    /// has a [name](super::HealthGateLayer::named); nothing else is.
    ///
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::check_upstream};
    /// let layer = HealthGateLayer::new(check_upstream(|| async { true }));
    /// assert_eq!(layer.monitor().stats().refused, None);
    /// assert_eq!(layer.named("tax service").monitor().stats().refused, Some(0));
    /// ```
    pub fn stats(&self) -> Stats {
        let all = self.roster().gates().into_iter().map(|gate| gate.stats().refused.unwrap_or(0));
        let refused = self.gates.setup.name.as_ref().map(|_| all.sum());
        Stats { refused, ..Stats::default() }
    }

    /// Returns the health of each target by its key. The target above a balancer has the empty key.
    ///
    /// ```
    /// # use tower_upstream::health::HealthMonitor;
    /// fn print(monitor: &HealthMonitor) {
    ///     for (key, health) in monitor.statuses() {
    ///         println!("{key}: {}", health.message);
    ///     }
    /// }
    /// # let _ = print;
    /// ```
    pub fn statuses(&self) -> BTreeMap<String, HealthStatus> {
        let gates = self.roster().gates().into_iter();
        gates.map(|gate| (gate.key.to_string(), gate.status())).collect()
    }

    /// Returns the health of all targets together: [`HealthStatus::overall`], with the keys of those
    /// that have issues.
    ///
    /// ```
    /// # use tower_upstream::health::HealthMonitor;
    /// fn is_usable(monitor: &HealthMonitor) -> bool {
    ///     monitor.status().status.is_usable()
    /// }
    /// # let _ = is_usable;
    /// ```
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
    /// At most [`HealthConfig::parallel`](super::HealthConfig::parallel) checks run at once.
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
    /// [`Verdict::Skipped`](super::Verdict::Skipped): a lack of time does not count against an
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
    /// work](super::Check::problem), with the reason. Values of `retry` out of range become the
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

    /// Checks all targets now, and waits until each was checked.
    ///
    /// The round begins after this was called, and one round serves all callers that called before it
    /// began, so calls of this cost little. Returns `None` if there is nothing to check: no gate is in
    /// use, checks are stopped, or were stopped meanwhile.
    ///
    /// # Cancel safety
    /// Dropping the future does not end the round.
    ///
    /// ```
    /// # use tower_upstream::health::HealthMonitor;
    /// async fn report(monitor: &HealthMonitor) {
    ///     if let Some(round) = monitor.force_check().await {
    ///         println!("{} of {} healthy", round.healthy, round.total);
    ///     }
    /// }
    /// # let _ = report;
    /// ```
    pub async fn force_check(&self) -> Option<HealthRound> {
        self.gates.prober.enlist_members();
        let (number, run) = self.roster().want_round()?;
        self.roster().round(number, run).await
    }

    /// Waits at most `limit` until every target was checked at least once since checks were started or
    /// switched on, and returns whether that is so.
    ///
    /// Without any target it is not. A target that just came has yet to be checked; one for which
    /// checks are off, or can never work, is not waited for.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_upstream::health::HealthMonitor;
    /// async fn is_warm(monitor: &HealthMonitor) -> bool {
    ///     monitor.wait_first_round(Duration::from_secs(10)).await
    /// }
    /// # let _ = is_warm;
    /// ```
    pub async fn wait_first_round(&self, limit: Duration) -> bool {
        timeout(limit, self.roster().first_round()).await.is_ok()
    }

    /// Lets checks run again after a [`stop`](Self::stop). What they found before is kept.
    ///
    /// Inside a tokio runtime they run in that; otherwise from the next use of a gate inside one. Also
    /// starts the checks of members that were connected outside of a runtime.
    ///
    /// ```
    /// # use tower_upstream::health::HealthMonitor;
    /// async fn restart(monitor: &HealthMonitor) {
    ///     monitor.stop().await;
    ///     monitor.start();
    /// }
    /// # let _ = restart;
    /// ```
    pub fn start(&self) {
        self.gates.prober.start();
    }

    /// Ends all checks until [`start`](Self::start). Until then the gates stay as they are.
    ///
    /// Drops checks that run. When this returns, the listener is not called any more.
    ///
    /// # Cancel safety
    /// Checks are stopped at the first poll. Dropping the future does not start them again.
    ///
    /// # Bounds
    /// Waits at most 1 s for a listener that is stuck, and for a check that blocks its thread; outside
    /// of a tokio runtime also for a runtime of the checks that is not driven meanwhile.
    ///
    /// ```
    /// # use tower_upstream::health::HealthMonitor;
    /// async fn shut_down(monitor: &HealthMonitor) {
    ///     monitor.stop().await;
    ///     assert!(!monitor.is_running());
    /// }
    /// # let _ = shut_down;
    /// ```
    pub async fn stop(&self) {
        self.gates.prober.stop().await;
    }

    /// Returns whether checks run: a gate is in use, and checks are not stopped.
    ///
    /// ```
    /// use tower_upstream::{HealthGateLayer, health::check_upstream};
    /// let monitor = HealthGateLayer::new(check_upstream(|| async { true })).monitor();
    /// assert!(!monitor.is_running());
    /// ```
    pub fn is_running(&self) -> bool {
        self.roster().is_running()
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
