use std::{
    fmt,
    sync::{Arc, Mutex, Weak},
};

use super::config::BalanceConfig;
use crate::{
    error::Error,
    member::{Member, MemberStats},
    sync::lock,
    telemetry::Stats,
};

/// Handle to the members, counts and settings of balanced sets.
///
/// A handle covers all sets that one [`BalanceLayer`](super::BalanceLayer) value and its clones have
/// made, which is usually one. It does not keep them alive.
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{
///     Attempts, BalanceLayer, BoxError, Endpoint, FailoverLayer, LeastRequest, connect_fn, discover,
/// };
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let balance = BalanceLayer::new(discover::fixed(["a:1", "b:1"])?, LeastRequest::new());
/// let handle = balance.handle();
/// let stack = ServiceBuilder::new()
///     .layer(FailoverLayer::new(Attempts::up_to(2)).with_replay(|n: &u32| Some(*n)))
///     .layer(balance)
///     .service(connect_fn(|_: &Endpoint| service_fn(async |n: u32| Ok::<_, BoxError>(n))));
/// assert!(handle.members().is_empty(), "nothing is watched before the first call");
///
/// stack.clone().oneshot(7).await?;
/// assert_eq!(handle.members().len(), 2);
/// assert_eq!(handle.stats().admitted, Some(1));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct BalanceHandle {
    sets: Arc<Sets>,
}

impl BalanceHandle {
    pub(super) fn new(sets: Arc<Sets>) -> Self {
        Self { sets }
    }

    /// Returns the members as of the last snapshot, ordered by key within each set. Empty before the
    /// first call, and once the services are gone.
    ///
    /// A member tells [what bars it](Member::reasons), and [until when](Member::barred_until):
    /// ```
    /// # use tower_upstream::balance::BalanceHandle;
    /// fn show(handle: &BalanceHandle) {
    ///     for member in handle.members() {
    ///         println!("{}: {} in flight", member.key(), member.in_flight());
    ///         for reason in member.reasons() {
    ///             println!("  {reason} until {:?}", member.barred_until(reason));
    ///         }
    ///     }
    /// }
    /// ```
    pub fn members(&self) -> Vec<Arc<Member>> {
        self.sets.live().iter().flat_map(|set| set.members().to_vec()).collect()
    }

    /// Returns the number of members that nothing bars.
    pub fn eligible(&self) -> usize {
        self.members().iter().filter(|member| member.is_eligible()).count()
    }

    /// Returns what each member has counted, ordered as [`members`](Self::members) are.
    ///
    /// ```
    /// use tower_upstream::{BalanceLayer, LeastRequest, discover};
    /// let layer = BalanceLayer::new(discover::fixed(["a:1"])?, LeastRequest::new());
    /// for stats in layer.handle().member_stats() {
    ///     println!("{}: {} of 100", stats.plugin_name, stats.health_score);
    /// }
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn member_stats(&self) -> Vec<MemberStats> {
        self.members().iter().map(|member| member.stats()).collect()
    }

    /// Returns the number of members that calls may go to: the eligible ones of each priority and zone that
    /// load goes to, and while health is ignored the unhealthy ones as well.
    pub fn candidates(&self) -> usize {
        self.sets.live().iter().map(|set| set.candidates()).sum()
    }

    /// Returns how often the candidates were determined anew, once for each change or burst of changes.
    pub fn rebuilds(&self) -> u64 {
        self.sets.live().iter().map(|set| set.rebuilds()).sum()
    }

    /// Returns whether a set ignores health, because too few of its members are healthy.
    pub fn is_health_ignored(&self) -> bool {
        self.sets.live().iter().any(|set| set.ignores_health())
    }

    /// Returns the counts of all sets together, members that have left included.
    ///
    /// `admitted` are the attempts that have ended, and `failed` those of them that ended in an error of
    /// the endpoint. `in_flight` are those that have not ended; on a member that has left, an attempt
    /// counts as ended at once.
    pub fn stats(&self) -> Stats {
        let (mut begun, mut failed, mut in_flight) = (0, 0, 0);
        for set in self.sets.live() {
            let members = set.members();
            // Before what was begun, so that no attempt ended that was not.
            in_flight += members.iter().map(|member| u64::from(member.in_flight())).sum::<u64>();
            let (calls, failures) = set.left();
            begun += calls + members.iter().map(|member| member.calls()).sum::<u64>();
            failed += failures + members.iter().map(|member| member.failures()).sum::<u64>();
        }
        Stats {
            admitted: Some(begun.saturating_sub(in_flight)),
            failed: Some(failed),
            in_flight: Some(in_flight),
            ..Stats::default()
        }
    }

    /// Replaces the settings of the sets in use, and of those that the layer makes later.
    ///
    /// Members, connections and calls stay. A call that already waits keeps the settings that it met.
    ///
    /// # Errors
    /// `InvalidConfig`, which names all mistakes at once. The settings then stay as they are.
    ///
    /// # Example
    /// ```
    /// use tower_upstream::{BalanceLayer, LeastRequest, balance::BalanceConfig, discover};
    /// let layer = BalanceLayer::new(discover::fixed(["a:1"])?, LeastRequest::new());
    /// layer.handle().update(&BalanceConfig::default().with_panic_threshold(30))?;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn update(&self, config: &BalanceConfig) -> Result<(), Error> {
        config.validate()?;
        self.sets.update(config.clone());
        Ok(())
    }

    /// Returns the settings in use.
    pub fn config(&self) -> BalanceConfig {
        BalanceConfig::clone(&self.sets.config())
    }
}

impl fmt::Debug for BalanceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BalanceHandle").field(&self.members()).finish()
    }
}

/// What a handle asks of a set, whatever its services and its strategy are.
pub(super) trait Watched: Send + Sync {
    fn members(&self) -> Arc<[Arc<Member>]>;

    /// How many members calls may go to.
    fn candidates(&self) -> usize;

    /// How many snapshots were made of its members.
    fn rebuilds(&self) -> u64;

    fn ignores_health(&self) -> bool;

    /// The attempts that members counted which have left, and those of them that failed.
    fn left(&self) -> (u64, u64);

    fn settings_changed(&self);
}

/// The sets that one layer value made, found while they live, and the settings that they share.
pub(super) struct Sets {
    config: Mutex<Arc<BalanceConfig>>,
    made: Mutex<Vec<Weak<dyn Watched>>>,
}

impl Sets {
    pub(super) fn new(config: BalanceConfig) -> Arc<Self> {
        Arc::new(Self { config: Mutex::new(Arc::new(config.clamped())), made: Mutex::default() })
    }

    pub(super) fn config(&self) -> Arc<BalanceConfig> {
        lock(&self.config).clone()
    }

    pub(super) fn add(&self, set: &Arc<dyn Watched>) {
        let mut made = lock(&self.made);
        made.retain(|set| set.strong_count() > 0);
        made.push(Arc::downgrade(set));
    }

    /// Copied out, so that the last reference to a set never drops under the lock.
    fn live(&self) -> Vec<Arc<dyn Watched>> {
        let made = lock(&self.made).clone();
        made.iter().filter_map(Weak::upgrade).collect()
    }

    fn update(&self, config: BalanceConfig) {
        *lock(&self.config) = Arc::new(config);
        self.live().iter().for_each(|set| set.settings_changed());
    }
}
