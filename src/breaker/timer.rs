//! One task for all that is to happen at a time, for the circuits of one layer value.

use std::{
    collections::BTreeMap,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, Weak},
};

use futures_util::FutureExt;
use tokio::{
    runtime::{Handle, Id},
    sync::Notify,
    time::timeout_at,
};

use crate::{
    sync::lock,
    time::{self, Instant},
};

/// Has things looked at when their time has come. It keeps none of them alive, and each has one time at
/// most, which its owner takes back when the thing goes.
///
/// The task starts with the first time that is set inside a runtime, ends with this, and starts again
/// if its runtime ended before. Without a runtime, and in one without timers, nothing happens.
pub(super) struct Timer<T>(Arc<Schedule<T>>);

struct Schedule<T> {
    times: Mutex<Times<T>>,
    changed: Notify,
    look: fn(Arc<T>),
}

struct Times<T> {
    things: BTreeMap<(Instant, usize), Weak<T>>,
    /// There is a task.
    running: bool,
    /// Nobody sets a time any more.
    over: bool,
    /// The last runtime that had no timers.
    timeless: Option<Id>,
}

/// So many are looked at before others get their turn.
const AT_ONCE: usize = 32;

impl<T: Send + Sync + 'static> Timer<T> {
    pub(super) fn new(look: fn(Arc<T>)) -> Self {
        let times = Times { things: BTreeMap::new(), running: false, over: false, timeless: None };
        Self(Arc::new(Schedule { times: Mutex::new(times), changed: Notify::new(), look }))
    }

    /// The time of the thing with this number was `before` and is `at` now.
    pub(super) fn set(
        &self,
        number: usize,
        before: Option<Instant>,
        at: Option<(Instant, Weak<T>)>,
    ) {
        let mut times = lock(&self.0.times);
        if let Some(before) = before {
            times.things.remove(&(before, number));
        }
        if let Some((at, thing)) = at.filter(|_| !times.over) {
            times.things.insert((at, number), thing);
            let is_next = times.things.first_key_value().map(|(key, _)| *key) == Some((at, number));
            drop(times);
            if is_next {
                self.0.changed.notify_one();
            }
            self.ensure_running();
        }
    }

    /// Starts the task if it does not run and there is a runtime.
    pub(super) fn ensure_running(&self) {
        let mut times = lock(&self.0.times);
        if times.running || times.over || times.things.is_empty() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if times.timeless == Some(runtime.id()) {
            return;
        }
        times.running = true;
        drop(times);
        // Made here and moved into the task, so that it drops even if the runtime ends before the
        // task is polled for the first time.
        let running = Running(self.0.clone());
        drop(runtime.spawn(async move { running.0.run().await }));
    }
}

impl<T> Schedule<T> {
    async fn run(&self) {
        loop {
            let (due, next) = {
                let mut times = lock(&self.times);
                if times.over {
                    return;
                }
                times.take_due(time::now())
            };
            match next {
                _ if !due.is_empty() => {
                    due.iter().filter_map(Weak::upgrade).for_each(self.look);
                    tokio::task::yield_now().await;
                }
                Some(next) => {
                    // That there are no timers one can only hear from a panic, and once is enough.
                    let wait = async { timeout_at(next, self.changed.notified()).await.is_ok() };
                    if AssertUnwindSafe(wait).catch_unwind().await.is_err() {
                        let runtime = Handle::try_current();
                        lock(&self.times).timeless = runtime.ok().map(|runtime| runtime.id());
                        return;
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }
}

impl<T> Times<T> {
    /// Takes what is due, or tells when something is.
    fn take_due(&mut self, now: Instant) -> (Vec<Weak<T>>, Option<Instant>) {
        let mut due = Vec::new();
        while let Some(first) = self.things.first_entry() {
            let (at, _) = *first.key();
            if at > now || due.len() == AT_ONCE {
                return (due, Some(at));
            }
            due.push(first.remove());
        }
        (due, None)
    }
}

/// The task lives as long as this.
struct Running<T>(Arc<Schedule<T>>);

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        lock(&self.0.times).running = false;
    }
}

impl<T> Drop for Timer<T> {
    fn drop(&mut self) {
        lock(&self.0.times).over = true;
        self.0.changed.notify_one();
    }
}

impl<T> fmt::Debug for Timer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = lock(&self.0.times);
        f.debug_struct("Timer")
            .field("things", &times.things.len())
            .field("running", &times.running)
            .finish()
    }
}
