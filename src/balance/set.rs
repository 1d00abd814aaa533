//! What the calls and the task of one set share.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use super::{
    config::BalanceConfig,
    group::Connected,
    handle::{Sets, Watched},
    memory::{Follows, Memory},
    retired::Retired,
    select::Selector,
    snapshot::Snapshot,
    state::{Availability, SharedState},
    strategy::Strategy,
};
use crate::{
    error::{BoxError, Error, Kind},
    member::{Member, Signal},
    sync::{RandomSource, WaitList, lock},
    telemetry::Reporter,
    time,
};

pub(super) struct Set<S, P: Strategy> {
    pub(super) snapshot: ArcSwap<Snapshot<S, P::Table>>,
    pub(super) retired: Mutex<Retired<S, P::Table>>,
    pub(super) strategy: P,
    pub(super) state: SharedState,
    /// Calls and services that wait for a snapshot, or for the availability to change.
    pub(super) waiting: WaitList,
    pub(super) signal: Arc<Signal>,
    /// Services that said they are dead, for the task.
    pub(super) dead: Mutex<Vec<Arc<Connected<S>>>>,
    running: Mutex<bool>,
    /// Where the task runs; `None` is the runtime of the call that starts it.
    runtime: Option<Handle>,
    start: Box<dyn Start<S, P>>,
    /// The sets of its layer, which share their settings.
    sets: Arc<Sets>,
    pub(super) reporter: Reporter,
    pub(super) memory: Arc<Mutex<Memory<S>>>,
    /// Of all that its task draws.
    pub(super) random: RandomSource,
    left: Left,
}

/// What the members counted that have left the set.
#[derive(Default)]
struct Left {
    calls: AtomicU64,
    failures: AtomicU64,
}

/// Starts the task of a set. Knows the connector and the source, so that the set need not.
pub(super) trait Start<S, P: Strategy>: Send + Sync {
    /// What the source failed with, as it says itself.
    fn last_error(&self) -> Option<BoxError>;

    fn task(&self, set: Weak<Set<S, P>>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl<S, P> Set<S, P>
where
    S: Send + Sync + 'static,
    P: Strategy,
{
    pub(super) fn new(
        strategy: P,
        sets: Arc<Sets>,
        reporter: Reporter,
        runtime: Option<Handle>,
        random: RandomSource,
        start: Box<dyn Start<S, P>>,
    ) -> Arc<Self> {
        let table = strategy.table(&[], None);
        let none = Error::refused(Kind::NoEndpoints).by(reporter.name());
        let set = Arc::new(Self {
            snapshot: ArcSwap::from_pointee(Snapshot::empty(table, none)),
            retired: Mutex::default(),
            strategy,
            state: SharedState::default(),
            waiting: WaitList::default(),
            signal: Arc::default(),
            dead: Mutex::default(),
            running: Mutex::new(false),
            runtime,
            start,
            sets,
            reporter,
            memory: Arc::new(Mutex::new(Memory {
                start: time::now(),
                follows: Follows::new(),
                selector: Selector::default(),
                services: Vec::new(),
            })),
            random,
            left: Left::default(),
        });
        let watched: Arc<dyn Watched> = set.clone();
        set.sets.add(&watched);
        set
    }

    /// Starts the task if it does not run: on the runtime that was given, while that lives, or else on
    /// the caller's.
    ///
    /// # Errors
    /// `Unavailable` without either.
    #[cold]
    pub(super) fn ensure_running(self: &Arc<Self>) -> Result<(), Error> {
        for runtime in [self.runtime.clone(), Handle::try_current().ok()].into_iter().flatten() {
            let mut running = lock(&self.running);
            if *running {
                return Ok(());
            }
            *running = true;
            drop(running);
            // Made here and moved into the task, so that it drops even if the runtime ends before the
            // task is polled for the first time.
            let mark = Running { set: Arc::downgrade(self) };
            let task = self.start.task(Arc::downgrade(self));
            let spawned = runtime.spawn(async move {
                let _mark = mark;
                task.await;
            });
            // A runtime that has ended drops it at once.
            if !spawned.is_finished() {
                return Ok(());
            }
        }
        Err(self.refusal(Kind::Unavailable))
    }

    /// What there is for calls of sessions while there are no candidates: endpoints that drain. `None` without them,
    /// and without a task, when what there is may be of a runtime that has died.
    #[cold]
    pub(super) fn homes(&self) -> Option<Arc<Snapshot<S, P::Table>>> {
        let snapshot = self.snapshot.load_full();
        let has_homes = !snapshot.draining.is_empty() && *lock(&self.running);
        has_homes.then_some(snapshot)
    }

    pub(super) fn report_dead(&self, connected: Arc<Connected<S>>) {
        let mut dead = lock(&self.dead);
        if !dead.iter().any(|dead| Arc::ptr_eq(dead, &connected)) {
            dead.push(connected);
            drop(dead);
            self.signal.notify();
        }
    }
}

impl<S, P: Strategy> Set<S, P> {
    #[inline]
    pub(super) fn is_up(&self) -> bool {
        self.state.load().is_up()
    }

    pub(super) fn is_failing_fast(&self) -> bool {
        self.state.load().is_failing_fast()
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.reporter.name().map(|name| &**name)
    }

    pub(super) fn refusal(&self, kind: Kind) -> Error {
        Error::refused(kind).by(self.reporter.name())
    }

    /// The same refusal; of one for want of endpoints, with what the source failed with. Asks the source: not for a call
    /// that has not waited.
    #[cold]
    pub(super) fn explained(&self, refusal: Error) -> Error {
        let finds_none = refusal.kind() == Kind::NoEndpoints;
        match finds_none.then(|| self.start.last_error()).flatten() {
            Some(error) => refusal.caused_by(error),
            None => refusal,
        }
    }

    pub(super) fn config(&self) -> Arc<BalanceConfig> {
        self.sets.config()
    }

    pub(super) fn sets(&self) -> &Arc<Sets> {
        &self.sets
    }

    /// Keeps what `member` counted, which has left the set.
    pub(super) fn let_go(&self, member: &Member) {
        // Relaxed: they are only counted.
        self.left.calls.fetch_add(member.calls(), Ordering::Relaxed);
        self.left.failures.fetch_add(member.failures(), Ordering::Relaxed);
    }
}

impl<S, P> Watched for Set<S, P>
where
    S: Send + Sync + 'static,
    P: Strategy,
{
    fn members(&self) -> Arc<[Arc<Member>]> {
        self.snapshot.load().all.clone()
    }

    fn candidates(&self) -> usize {
        self.snapshot.load().groups().map(|group| group.members.len()).sum()
    }

    fn rebuilds(&self) -> u64 {
        self.snapshot.load().version
    }

    fn ignores_health(&self) -> bool {
        self.snapshot.load().is_panic()
    }

    fn left(&self) -> (u64, u64) {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        (count(&self.left.calls), count(&self.left.failures))
    }

    fn settings_changed(&self) {
        self.signal.notify();
    }
}

/// The task lives as long as this.
struct Running<S, P: Strategy> {
    set: Weak<Set<S, P>>,
}

impl<S, P: Strategy> Drop for Running<S, P> {
    fn drop(&mut self) {
        if let Some(set) = self.set.upgrade() {
            // The call that comes next, or waits now, starts it again. The availability first, so that it
            // does not overwrite what the next task says.
            let mut running = lock(&set.running);
            set.state.set(Availability::Waiting);
            *running = false;
            drop(running);
            set.waiting.wake_all();
        }
    }
}

/// The last handle is gone: the task has nothing left to do.
impl<S, P: Strategy> Drop for Set<S, P> {
    fn drop(&mut self) {
        self.signal.notify();
    }
}

impl<S, P: Strategy> fmt::Debug for Set<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.snapshot.load();
        f.debug_struct("Set")
            .field("version", &snapshot.version)
            .field("groups", &snapshot.groups().count())
            .field("members", &snapshot.all)
            .finish_non_exhaustive()
    }
}
