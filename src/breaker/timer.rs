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
    telemetry::{Events, WatchListeners},
    time::{self, Instant},
};

/// Has things looked at when their time has come, while there are listeners. It keeps none of them alive,
/// and each has one time at most, which its owner takes back when the thing goes.
///
/// The task starts inside a runtime, with the first time that is set or the first listener that comes,
/// whichever is later. It ends with this or with the last listener, and starts again if its runtime ended
/// before. Without a runtime, and in one without timers, nothing happens.
pub(super) struct Timer<T>(Arc<Schedule<T>>);

struct Schedule<T> {
    times: Mutex<Times<T>>,
    changed: Notify,
    events: Events,
    look: fn(Arc<T>),
}

struct Times<T> {
    things: BTreeMap<(Instant, usize), Weak<T>>,
    /// The task that there is, of all there were.
    running: Option<u64>,
    tasks: u64,
    /// No time is set any more.
    over: bool,
    /// The last runtime that had no timers.
    timeless: Option<Id>,
}

/// So many are looked at before others get their turn.
const AT_ONCE: usize = 32;

impl<T: Send + Sync + 'static> Timer<T> {
    pub(super) fn new(events: Events, look: fn(Arc<T>)) -> Self {
        let times = Mutex::new(Times {
            things: BTreeMap::new(),
            running: None,
            tasks: 0,
            over: false,
            timeless: None,
        });
        let schedule = Arc::new(Schedule { times, changed: Notify::new(), events, look });
        let listens: Weak<Schedule<T>> = Arc::downgrade(&schedule);
        schedule.events.watch(listens);
        Self(schedule)
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

    /// Starts the task if it does not run, and there is a runtime and a listener.
    pub(super) fn ensure_running(&self) {
        Schedule::ensure_running(&self.0);
    }
}

impl<T: Send + Sync + 'static> WatchListeners for Schedule<T> {
    fn listeners_changed(self: Arc<Self>) {
        self.changed.notify_one();
        self.ensure_running();
    }
}

impl<T: Send + Sync + 'static> Schedule<T> {
    fn ensure_running(self: &Arc<Self>) {
        let mut times = lock(&self.times);
        if times.running.is_some() || times.over || times.things.is_empty() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if times.timeless == Some(runtime.id()) || !self.events.is_listened_to() {
            return;
        }
        times.tasks += 1;
        times.running = Some(times.tasks);
        // Made here and moved into the task, so that it drops even if the runtime ends before the
        // task is polled for the first time.
        let running = Running { schedule: self.clone(), task: times.tasks };
        drop(times);
        drop(runtime.spawn(async move { running.schedule.run().await }));
    }
}

impl<T> Schedule<T> {
    async fn run(&self) {
        loop {
            let (due, next) = {
                let mut times = lock(&self.times);
                // Under the lock: a listener that comes later starts another task.
                if times.over || !self.events.is_listened_to() {
                    times.running = None;
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
struct Running<T> {
    schedule: Arc<Schedule<T>>,
    task: u64,
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        lock(&self.schedule.times).running.take_if(|task| *task == self.task);
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
            .field("running", &times.running.is_some())
            .finish()
    }
}
