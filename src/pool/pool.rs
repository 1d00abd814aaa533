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
    after::After,
    kept::{Kept, Pooled},
    ledger::Ledger,
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
    /// `may_share`: whether connections may carry many calls at once, which the first will tell.
    pub(crate) fn new(limits: Limits, may_share: bool) -> Arc<Self> {
        let is_bounded = AtomicBool::new(limits.max.is_some());
        let inside = Mutex::new(Inside { ledger: Ledger::new(limits, may_share), sweeper: None });
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
        let has_room = || !self.is_bounded.load(Ordering::Relaxed) || self.change(Ledger::has_room);
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

    /// A connection of `epoch` died which had been used before. Those that are idle beside it may be as
    /// dead, so lets go of them, and of those in use once they are given back; but once for all that died
    /// together.
    ///
    /// Returns whether they may have died while they were idle, which says nothing of the endpoint.
    pub(crate) fn died(&self, epoch: u64, now: Instant) -> bool {
        self.change(|ledger, after| {
            if epoch == ledger.epoch() {
                ledger.empty(after);
                ledger.deaths().of_epoch(now);
            }
            ledger.deaths().were_of_age()
        })
    }

    /// Lets go of the connections of `epoch`, which is that of one which may be of no use.
    pub(crate) fn empty(&self, epoch: u64) {
        self.change(|ledger, after| {
            if epoch == ledger.epoch() {
                ledger.empty(after);
            }
        });
    }

    /// Whether a fresh connection may do better than one that died.
    pub(crate) fn may_resend(&self, now: Instant) -> bool {
        lock(&self.inside).ledger.deaths().may_resend(now)
    }

    pub(crate) fn resent_in_vain(&self, now: Instant) {
        lock(&self.inside).ledger.deaths().resent_in_vain(now);
    }

    /// Goes by other settings from now on. `change` stores them, and returns the limits and whether
    /// connections that were made before are of use no more. Of two changes at once, one comes after the
    /// other.
    pub(crate) fn configure(&self, change: impl FnOnce() -> (Limits, bool)) {
        let mut after = After::default();
        let mut inside = lock(&self.inside);
        let (limits, is_anew) = change();
        if *inside.ledger.limits() != limits {
            inside.ledger.set_limits(limits, &mut after);
            // It sleeps until a moment of the limits of before. The next connection starts another.
            if let Some(sweeper) = inside.sweeper.take() {
                sweeper.abort();
            }
            self.is_bounded.store(limits.max.is_some(), Ordering::Relaxed);
        }
        if is_anew {
            inside.ledger.empty(&mut after);
        }
        drop(inside);
        self.finish(after);
    }

    /// Calls `change` under the lock, and does afterwards what must not be done under it.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut Ledger<C, E, Waker>, &mut After<C, E, Waker>) -> T,
    ) -> T {
        let mut after = After::default();
        let changed = change(&mut lock(&self.inside).ledger, &mut after);
        self.finish(after);
        changed
    }

    fn finish(&self, after: After<C, E, Waker>) {
        let After { woken, closed, has_room, unheard, unneeded } = after;
        woken.into_iter().for_each(Waker::wake);
        if has_room {
            self.room.wake_all();
        }
        drop((closed, unheard, unneeded));
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
        let (mut after, now) = (After::default(), time::now());
        let mut inside = lock(&self.inside);
        let next = inside.ledger.sweep(now, &mut after);
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

    /// For [`Pool::died`].
    pub(crate) fn epoch(&self) -> u64 {
        self.kept.epoch
    }

    /// When it was made, or its last call ended.
    pub(crate) fn since(&self) -> Instant {
        self.kept.since
    }

    /// Whether it was there before the call that began at `begun`, and so may have died meanwhile.
    pub(crate) fn is_older_than(&self, begun: Instant) -> bool {
        self.kept.was_used || self.kept.since < begun
    }

    /// The call is over, and the connection may carry another.
    pub(crate) fn give_back(self) {
        let (Self { pool, kept }, now) = (self, time::now());
        pool.change(|ledger, after| ledger.put(kept, now, after));
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
            pool.change(Ledger::closed);
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
/// Dropping it says that it never will be: those that wait then see to another.
pub(crate) struct Dialing<C: Pooled, E> {
    pool: Arc<Pool<C, E>>,
    place: Arc<Place<C, E>>,
    epoch: u64,
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
        let (was_made, epoch) = (made.is_ok(), self.epoch);
        let (now, draw) = (time::now(), random_fraction());
        self.pool.change(|ledger, after| ledger.dialed(made, epoch, now, draw, after));
        if was_made {
            self.pool.keep_sweeping();
        }
    }
}

impl<C: Pooled, E> Dialing<C, E> {
    /// For one that the ledger has counted, in `epoch`.
    pub(super) fn begun(pool: &Arc<Pool<C, E>>, epoch: u64) -> Self {
        let place = Arc::new(Place(Arc::downgrade(pool)));
        Self { pool: pool.clone(), place, epoch, is_over: false }
    }

    /// What the owner of the socket holds until it is closed.
    pub(crate) fn place(&self) -> Arc<Place<C, E>> {
        self.place.clone()
    }
}

impl<C: Pooled, E> Drop for Dialing<C, E> {
    fn drop(&mut self) {
        if !self.is_over {
            // The place drops next, and has those that wait look.
            self.pool.change(|ledger, _| ledger.dial_lost());
        }
    }
}

impl<C: Pooled, E> fmt::Debug for Dialing<C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialing").finish_non_exhaustive()
    }
}
