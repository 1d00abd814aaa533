//! What was replaced, until its last call has ended.

use std::{
    mem,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use tokio::runtime::Handle;

use super::{
    body::{Request, Response},
    calls::in_flight,
    generation::{Held, retire_if_done},
};
use crate::sync::lock;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Generations that were replaced, and may have calls still.
pub(super) struct Leaving<Req, Res> {
    state: Mutex<State<Req, Res>>,
}

struct State<Req, Res> {
    all: Vec<Held<Req, Res>>,
    /// A task looks at them. Under the same lock, so that what comes while it ends is seen by it, or by the next.
    is_watched: bool,
}

impl<Req, Res> Leaving<Req, Res> {
    pub(super) fn new() -> Arc<Self> {
        let state = State { all: Vec::new(), is_watched: false };
        Arc::new(Self { state: Mutex::new(state) })
    }

    pub(super) fn extend(&self, held: impl IntoIterator<Item = Held<Req, Res>>) {
        // Made before the lock: that runs code of others.
        let held: Vec<_> = held.into_iter().collect();
        lock(&self.state).all.extend(held);
    }

    /// Lets go of those whose last call has ended. Not under a lock: they hold what is the user's.
    pub(super) fn sweep(&self) {
        let all: Vec<_> = lock(&self.state).all.clone();
        all.iter().for_each(retire_if_done);
        let done: Vec<_> = {
            let state = &mut *lock(&self.state);
            let (done, left) =
                mem::take(&mut state.all).into_iter().partition(|held| held.core().is_retired());
            state.all = left;
            done
        };
        drop((all, done));
    }

    /// How many calls are in flight there.
    pub(super) fn taken(&self) -> usize {
        lock(&self.state).all.iter().map(in_flight).sum()
    }
}

impl<Req: Request, Res: Response> Leaving<Req, Res> {
    /// Looks again until there is nothing: two calls that end at once may each take the other for one that is
    /// still there.
    pub(super) fn sweep_later(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        if !lock(&self.state).begin() {
            return;
        }
        let mut watch = Watch { of: Arc::downgrade(self), is_over: false };
        runtime.spawn(async move {
            while !watch.is_over {
                tokio::time::sleep(PAUSE).await;
                watch.look();
            }
        });
    }
}

impl<Req, Res> State<Req, Res> {
    /// Whether a task is to begin.
    fn begin(&mut self) -> bool {
        !self.all.is_empty() && !mem::replace(&mut self.is_watched, true)
    }

    /// Whether the task is over.
    fn end(&mut self) -> bool {
        self.is_watched = !self.all.is_empty();
        !self.is_watched
    }
}

/// What the task is. If its runtime ends, another may begin.
struct Watch<Req, Res> {
    of: Weak<Leaving<Req, Res>>,
    is_over: bool,
}

impl<Req, Res> Watch<Req, Res> {
    fn look(&mut self) {
        self.is_over = self.of.upgrade().is_none_or(|leaving| {
            leaving.sweep();
            lock(&leaving.state).end()
        });
    }
}

impl<Req, Res> Drop for Watch<Req, Res> {
    fn drop(&mut self) {
        if let (false, Some(leaving)) = (self.is_over, self.of.upgrade()) {
            lock(&leaving.state).is_watched = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{calls::Taken, generation::Generation},
        *,
    };

    #[tokio::test(start_paused = true)]
    async fn what_comes_while_the_task_ends_is_looked_at_by_the_next() {
        let leaving = Leaving::<u64, u64>::new();
        let replaced = || {
            let held = Generation::gone("tax");
            super::super::generation::replace(&held);
            held
        };
        leaving.extend([replaced()]);
        leaving.sweep_later();
        leaving.sweep();
        // The last look of the task has found nothing, and the task is not gone yet.
        let mut watch = Watch { of: Arc::downgrade(&leaving), is_over: false };
        watch.look();
        assert!(watch.is_over);
        leaving.extend([replaced()]);
        assert!(lock(&leaving.state).begin(), "the next one looks at it");
        drop(watch);
        assert!(!lock(&leaving.state).begin(), "and one is enough");
    }

    #[test]
    fn a_runtime_that_ends_leaves_the_rest_to_the_next() {
        let leaving = Leaving::<u64, u64>::new();
        let held = Generation::gone("tax");
        let call = Taken::of(&held);
        super::super::generation::replace(&held);
        leaving.extend([held]);
        for _ in 0..2 {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async { leaving.sweep_later() });
            assert!(!lock(&leaving.state).begin());
            drop(runtime);
            assert!(lock(&leaving.state).begin());
            lock(&leaving.state).is_watched = false;
        }
        assert_eq!(leaving.taken(), 1);
        drop(call);
        leaving.sweep();
        assert!(lock(&leaving.state).all.is_empty());
    }
}
