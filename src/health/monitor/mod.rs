mod checks;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    gates::Gates,
    report::{HealthRound, HealthySet},
    roster::Roster,
};
use crate::{plugin::HealthStatus, telemetry::Stats};

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
    /// Drops checks that run, and waits until the background task has ended: until a check or a listener
    /// that has the thread of the task returns it. After that no result counts, and no event comes.
    ///
    /// # Cancel safety
    /// Checks are stopped at the first poll. Dropping the future does not start them again.
    ///
    /// # Bounds
    /// Waits at most 1 s, if a check or a listener blocks the thread; outside of a tokio runtime also if
    /// that of the checks is not driven. There the timer is a blocking task of the runtime of the checks.
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
