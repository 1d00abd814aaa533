use std::{
    fmt,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::{runtime::Handle, task::AbortHandle, time::sleep_until};

use super::{
    kept::{Kept, Pooled},
    ledger::{After, Ledger},
    limits::Limits,
};
use crate::{
    sync::{WaitKey, WaitList, lock, random_fraction},
    time::{self, Instant},
};

/// The connections to one endpoint. See the [module](super).
pub(crate) struct Pool<C: Pooled, E> {
    inside: Mutex<Inside<C, E>>,
    /// Those that wait until there is room.
    room: WaitList,
    /// Whether there may be none. Relaxed: a hint, which spares the lock.
    is_bounded: AtomicBool,
}

struct Inside<C, E> {
    ledger: Ledger<C, E, Waker>,
    /// The task that closes what was idle for too long. It runs while there are connections.
    sweeper: Option<AbortHandle>,
}

impl<C: Pooled, E> Pool<C, E> {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let is_bounded = AtomicBool::new(limits.max.is_some());
        let inside = Mutex::new(Inside { ledger: Ledger::new(limits), sweeper: None });
        Arc::new(Self { inside, room: WaitList::default(), is_bounded })
    }

    /// How many connections are open, or being made.
    pub(crate) fn live(&self) -> usize {
        lock(&self.inside).ledger.live()
    }

    /// Whether connections are being made.
    pub(crate) fn is_dialing(&self) -> bool {
        lock(&self.inside).ledger.is_dialing()
    }

    /// Waits until a call would find a connection, or a place for one. Nothing is reserved.
    pub(crate) fn poll_room(&self, key: &mut WaitKey, cx: &mut Context<'_>) -> Poll<()> {
        let has_room =
            || !self.is_bounded.load(Ordering::Relaxed) || lock(&self.inside).ledger.has_room();
        if !has_room() {
            self.room.wait(key, cx.waker());
            if !has_room() {
                return Poll::Pending;
            }
        }
        self.room.leave(key);
        Poll::Ready(())
    }

    /// Waits no more.
    pub(crate) fn leave(&self, key: &mut WaitKey) {
        self.room.leave(key);
    }

    /// Lets go of the idle connections, and of those in use once they are given back.
    ///
    /// With an epoch, only if that has not happened since a connection of it was made. Returns whether it did.
    pub(crate) fn empty(&self, epoch: Option<u64>) -> bool {
        let after = lock(&self.inside).ledger.empty(epoch);
        after.map(|after| self.finish(after)).is_some()
    }

    /// Goes by other limits from now on.
    pub(crate) fn set_limits(&self, limits: Limits) {
        let mut inside = lock(&self.inside);
        if *inside.ledger.limits() != limits {
            let after = inside.ledger.set_limits(limits);
            // It sleeps until a moment of the limits of before. The next connection starts another.
            if let Some(sweeper) = inside.sweeper.take() {
                sweeper.abort();
            }
            self.is_bounded.store(limits.max.is_some(), Ordering::Relaxed);
            drop(inside);
            self.finish(after);
        }
    }

    /// Calls `change` under the lock.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Ledger<C, E, Waker>) -> T) -> T {
        change(&mut lock(&self.inside).ledger)
    }

    /// Does what must not be done under the lock.
    pub(super) fn finish(&self, after: After<C, Waker>) {
        let After { woken, closed, has_room } = after;
        woken.into_iter().for_each(Waker::wake);
        if has_room {
            self.room.wake_all();
        }
        drop(closed);
    }
}

impl<C, E> Pool<C, E>
where
    C: Pooled + Send + 'static,
    E: Send + 'static,
{
    /// Starts the task that closes idle connections, if it does not run.
    fn keep_sweeping(self: &Arc<Self>) {
        let mut inside = lock(&self.inside);
        let runs = inside.sweeper.as_ref().is_some_and(|task| !task.is_finished());
        if let (false, Ok(runtime)) = (runs, Handle::try_current()) {
            let pool = Arc::downgrade(self);
            let task = runtime.spawn(async move {
                while let Some(next) = pool.upgrade().and_then(|pool| pool.sweep()) {
                    sleep_until(next).await;
                }
            });
            inside.sweeper = Some(task.abort_handle());
        }
    }

    /// Closes what was idle for too long. Returns when to come again.
    fn sweep(&self) -> Option<Instant> {
        let mut inside = lock(&self.inside);
        let (after, next) = inside.ledger.sweep(time::now());
        if next.is_none() {
            // Under the lock: a connection that is made after this starts another.
            inside.sweeper = None;
        }
        drop(inside);
        self.finish(after);
        next
    }
}

impl<C: Pooled, E> Drop for Pool<C, E> {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.inside).sweeper.take() {
            task.abort();
        }
    }
}

impl<C: Pooled, E> fmt::Debug for Pool<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inside = lock(&self.inside);
        f.debug_struct("Pool")
            .field("limits", inside.ledger.limits())
            .field("live", &inside.ledger.live())
            .finish_non_exhaustive()
    }
}

/// A connection that one call uses. Dropping it lets go of the connection.
pub(crate) struct Lease<C: Pooled, E> {
    pool: Arc<Pool<C, E>>,
    kept: Kept<C>,
}

impl<C: Pooled, E> Lease<C, E> {
    pub(super) fn new(pool: Arc<Pool<C, E>>, kept: Kept<C>) -> Self {
        Self { pool, kept }
    }

    pub(crate) fn connection(&mut self) -> &mut C {
        &mut self.kept.connection
    }

    /// For [`Pool::empty`].
    pub(crate) fn epoch(&self) -> u64 {
        self.kept.epoch
    }

    /// The call is over, and the connection may carry another.
    pub(crate) fn give_back(self) {
        let Self { pool, kept } = self;
        let after = pool.change(|ledger| ledger.put(kept, time::now()));
        pool.finish(after);
    }
}

impl<C: Pooled, E> fmt::Debug for Lease<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("epoch", &self.kept.epoch).finish_non_exhaustive()
    }
}

/// One of the connections that a pool may have. What owns the socket holds it, and drops it after that.
///
/// It does not keep the pool: an idle connection would keep itself.
pub(crate) struct Place<C: Pooled, E>(Weak<Pool<C, E>>);

impl<C: Pooled, E> Drop for Place<C, E> {
    fn drop(&mut self) {
        if let Some(pool) = self.0.upgrade() {
            let after = pool.change(Ledger::closed);
            pool.finish(after);
        }
    }
}

impl<C: Pooled, E> fmt::Debug for Place<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

/// A connection that is being made, in a task of its own.
///
/// Dropping it says that it never will be: the first that waits then sees to another.
pub(crate) struct Dialing<C: Pooled, E> {
    pool: Arc<Pool<C, E>>,
    place: Arc<Place<C, E>>,
    is_over: bool,
}

impl<C, E> Dialing<C, E>
where
    C: Pooled + Send + 'static,
    E: Send + 'static,
{
    /// Ends it, inside the runtime on which the pool may have its task.
    pub(crate) fn finish(mut self, made: Result<C, E>) {
        self.is_over = true;
        let was_made = made.is_ok();
        let draw = random_fraction();
        let (after, unheard) = self.pool.change(|ledger| ledger.dialed(made, time::now(), draw));
        self.pool.finish(after);
        drop(unheard);
        if was_made {
            self.pool.keep_sweeping();
        }
    }
}

impl<C: Pooled, E> Dialing<C, E> {
    /// For one that the ledger has counted.
    pub(super) fn begun(pool: &Arc<Pool<C, E>>) -> Self {
        let place = Arc::new(Place(Arc::downgrade(pool)));
        Self { pool: pool.clone(), place, is_over: false }
    }

    /// What the owner of the socket holds until it is closed.
    pub(crate) fn place(&self) -> Arc<Place<C, E>> {
        self.place.clone()
    }
}

impl<C: Pooled, E> Drop for Dialing<C, E> {
    fn drop(&mut self) {
        if !self.is_over {
            // The place drops next, and has the first that waits look.
            self.pool.change(Ledger::dial_lost);
        }
    }
}

impl<C: Pooled, E> fmt::Debug for Dialing<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialing").finish_non_exhaustive()
    }
}
