use std::{
    fmt,
    sync::{Arc, Mutex, Weak},
};

use super::config::BalanceConfig;
use crate::{error::Error, member::Member, sync::lock};

/// Shows the members of balanced sets and changes their settings, for an admin page or a test.
///
/// A handle covers all sets that one [`BalanceLayer`](super::BalanceLayer) value and its clones have
/// made; mostly that is one. It keeps none of them alive. Cheap to clone.
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
/// assert_eq!(handle.stats().calls, 1);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct BalanceHandle {
    sets: Arc<Sets>,
}

/// Counters of balanced sets. Made by [`BalanceHandle::stats`].
///
/// ```
/// use tower_upstream::{BalanceLayer, LeastRequest, discover};
/// let layer = BalanceLayer::new(discover::fixed(["a:1"])?, LeastRequest::new());
/// assert_eq!(layer.handle().stats(), Default::default());
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BalanceStats {
    /// Members.
    pub members: usize,
    /// Members that nothing bars.
    pub eligible: usize,
    /// Members that calls may go to: the eligible ones that load goes to, and in a panic also those that are
    /// unhealthy.
    pub candidates: usize,
    /// Snapshots that were made of the members, one after each change or burst of changes.
    pub rebuilds: u64,
    /// Whether a set ignores health because too few of its members are healthy.
    pub in_panic: bool,
    /// Calls in flight.
    pub in_flight: u64,
    /// Attempts that were begun, also on members that have left since.
    pub calls: u64,
    /// Attempts that ended in an error, also on members that have left since. Refusals are not counted.
    pub failures: u64,
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

    /// Returns the counters of all sets together.
    pub fn stats(&self) -> BalanceStats {
        let mut stats = BalanceStats::default();
        self.sets.live().iter().for_each(|set| set.add_to(&mut stats));
        stats
    }

    /// Applies a config to the sets that there are and to those that the layer makes later. Members,
    /// connections and calls stay. A call that waits already does so as long as it would have.
    ///
    /// # Errors
    /// `InvalidConfig` that names all mistakes. Nothing is changed then.
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
}

impl fmt::Debug for BalanceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BalanceHandle").field(&self.members()).finish()
    }
}

/// What a handle asks of a set, whatever its services and its strategy are.
pub(super) trait Watched: Send + Sync {
    fn members(&self) -> Arc<[Arc<Member>]>;

    fn add_to(&self, stats: &mut BalanceStats);

    fn settings_changed(&self);
}

/// The sets that one layer value made, found while they live, and the settings that they share.
pub(super) struct Sets {
    config: Mutex<BalanceConfig>,
    made: Mutex<Vec<Weak<dyn Watched>>>,
}

impl Sets {
    pub(super) fn new(config: BalanceConfig) -> Arc<Self> {
        Arc::new(Self { config: Mutex::new(config.clamped()), made: Mutex::default() })
    }

    pub(super) fn config(&self) -> BalanceConfig {
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
        *lock(&self.config) = config;
        self.live().iter().for_each(|set| set.settings_changed());
    }
}
