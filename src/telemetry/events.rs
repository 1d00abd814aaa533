use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;

use super::Event;
use crate::sync::{EventQueue, lock};

type Listener = Arc<dyn Fn(&Event) + Send + Sync>;
type Listeners = Vec<(u64, Listener)>;

/// Runs something only while there are listeners, such as a timer.
pub(crate) trait WatchListeners: Send + Sync {
    /// One came, or went. No lock is held.
    fn listeners_changed(self: Arc<Self>);
}

/// Takes the events of layers, and tells them to listeners.
///
/// Give it to layers with their `with_events`, and [`subscribe`](Self::subscribe) any number of
/// listeners, before or after. Clones are the same.
///
/// Events come one after the other and in the order in which they happened, each to all listeners. What
/// an event says is visible before the event comes, and no lock is held while listeners run: they may
/// use handles. They run where the event happened, in a call, in a handle or in a task, so they should
/// not block. A listener that panics is told of the next event all the same.
///
/// Without a listener an event costs one read.
///
/// # Bounds
/// At most 1,024 events wait for listeners that are slow; of more, the oldest are lost.
///
/// ```
/// use tower_upstream::telemetry::Events;
/// let events = Events::new();
/// events.subscribe(|event| println!("{event:?}")).detach();
/// ```
#[derive(Clone)]
pub struct Events {
    shared: Arc<Shared>,
}

struct Shared {
    listeners: ArcSwap<Listeners>,
    watchers: Mutex<Vec<Weak<dyn WatchListeners>>>,
    queue: EventQueue<Event>,
    next: AtomicU64,
}

impl Events {
    /// Creates an empty one, without listeners.
    pub fn new() -> Self {
        let shared = Arc::new_cyclic(|shared: &Weak<Shared>| {
            let shared = shared.clone();
            let tell = move |event: Event| {
                if let Some(shared) = shared.upgrade() {
                    shared.tell(&event);
                }
            };
            Shared {
                listeners: ArcSwap::default(),
                watchers: Mutex::default(),
                queue: EventQueue::new(Some(Arc::new(tell))),
                next: AtomicU64::new(0),
            }
        });
        Self { shared }
    }

    /// Adds a listener. It is told of events until the subscription is dropped.
    ///
    /// ```
    /// use tower_upstream::telemetry::Events;
    /// let events = Events::new();
    /// let listening = events.subscribe(|event| println!("{event:?}"));
    /// drop(listening);
    /// ```
    pub fn subscribe(&self, listener: impl Fn(&Event) + Send + Sync + 'static) -> Subscription {
        // Relaxed: only that no two get the same number matters.
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let listener: Listener = Arc::new(listener);
        self.shared.listeners.rcu(|listeners| {
            let mut listeners = Listeners::clone(listeners);
            listeners.push((number, listener.clone()));
            listeners
        });
        self.shared.tell_watchers();
        Subscription { events: Arc::downgrade(&self.shared), number }
    }

    /// Tells `watcher` from now on when listeners come and go. Does not keep it alive.
    pub(crate) fn watch(&self, watcher: Weak<dyn WatchListeners>) {
        let mut watchers = lock(&self.shared.watchers);
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(watcher);
    }

    /// Whether there is a listener.
    pub(crate) fn is_listened_to(&self) -> bool {
        !self.shared.listeners.load().is_empty()
    }

    /// Notes an event, if there is a listener. May be used under a lock.
    pub(crate) fn note(&self, event: impl FnOnce() -> Event) {
        if self.is_listened_to() {
            self.shared.queue.note(event());
        }
    }

    /// Tells listeners what was noted. Never under a lock.
    pub(crate) fn deliver(&self) {
        self.shared.queue.deliver();
    }

    /// Notes an event and tells listeners. Never under a lock.
    pub(crate) fn emit(&self, event: impl FnOnce() -> Event) {
        if self.is_listened_to() {
            self.shared.queue.note(event());
            self.deliver();
        }
    }
}

impl Shared {
    fn tell_watchers(&self) {
        let watchers: Vec<_> = lock(&self.watchers).iter().filter_map(Weak::upgrade).collect();
        watchers.into_iter().for_each(WatchListeners::listeners_changed);
    }

    fn tell(&self, event: &Event) {
        for (_, listener) in self.listeners.load_full().iter() {
            if catch_unwind(AssertUnwindSafe(|| listener(event))).is_err() {
                tracing::error!("a listener panicked");
            }
        }
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listeners = self.shared.listeners.load().len();
        f.debug_struct("Events").field("listeners", &listeners).finish()
    }
}

/// A listener's place at [`Events`]. Dropping it ends the subscription.
///
/// ```
/// use tower_upstream::telemetry::{Events, Subscription};
/// struct Page {
///     listening: Subscription,
/// }
/// let page = Page { listening: Events::new().subscribe(|_| {}) };
/// # let _ = page.listening;
/// ```
#[must_use = "dropping it ends the subscription; use `detach` to keep it"]
pub struct Subscription {
    events: Weak<Shared>,
    number: u64,
}

impl Subscription {
    /// Keeps the listener for as long as the [`Events`] and the layers that have them live.
    pub fn detach(mut self) {
        self.events = Weak::new();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(events) = self.events.upgrade() else {
            return;
        };
        events.listeners.rcu(|listeners| {
            let others = listeners.iter().filter(|(number, _)| *number != self.number);
            others.cloned().collect::<Listeners>()
        });
        events.tell_watchers();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::EventKind;

    fn event() -> Event {
        Event::new(EventKind::BudgetEmpty)
    }

    #[test]
    fn each_listener_is_told_until_its_subscription_ends() {
        let (events, seen) = (Events::new(), Arc::new(Mutex::new(Vec::new())));
        let listen = |name: &'static str| {
            let seen = seen.clone();
            events.subscribe(move |_| lock(&seen).push(name))
        };
        let first = listen("first");
        listen("second").detach();
        events.emit(event);
        drop(first);
        events.clone().emit(event);
        assert_eq!(*lock(&seen), ["first", "second", "second"]);
    }

    #[test]
    fn without_a_listener_an_event_is_not_made() {
        let events = Events::new();
        events.emit(|| unreachable!());
        drop(events.subscribe(|_| {}));
        events.note(|| unreachable!());
        events.deliver();
    }

    #[test]
    fn a_listener_that_panics_harms_no_other_and_is_told_again() {
        let (events, told) = (Events::new(), Arc::new(AtomicU64::new(0)));
        let (one, other) = (told.clone(), told.clone());
        let count = |by: &AtomicU64| by.fetch_add(1, Ordering::Relaxed);
        events
            .subscribe(move |_| {
                count(&one);
                panic!("on purpose");
            })
            .detach();
        events
            .subscribe(move |_| {
                count(&other);
            })
            .detach();
        events.emit(event);
        events.emit(event);
        assert_eq!(told.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn who_watches_is_told_when_listeners_come_and_go() {
        struct Watcher(Events, Mutex<Vec<bool>>);
        impl WatchListeners for Watcher {
            fn listeners_changed(self: Arc<Self>) {
                lock(&self.1).push(self.0.is_listened_to());
            }
        }
        let events = Events::new();
        let watcher = Arc::new(Watcher(events.clone(), Mutex::default()));
        let weak: Weak<Watcher> = Arc::downgrade(&watcher);
        events.watch(weak);
        drop(events.subscribe(|_| {}));
        events.subscribe(|_| {}).detach();
        assert_eq!(*lock(&watcher.1), [true, false, true]);
        assert_eq!(Arc::strong_count(&watcher), 1);
    }

    #[test]
    fn a_listener_may_subscribe_unsubscribe_and_emit() {
        let (events, told) = (Events::new(), Arc::new(AtomicU64::new(0)));
        let (inner, counts) = (events.clone(), told.clone());
        let itself = Arc::new(Mutex::new(None));
        let ends = itself.clone();
        *lock(&itself) = Some(events.subscribe(move |_| {
            drop(lock(&ends).take());
            let counts = counts.clone();
            inner
                .subscribe(move |_| {
                    counts.fetch_add(1, Ordering::Relaxed);
                })
                .detach();
            inner.emit(event);
        }));
        events.emit(event);
        assert_eq!(told.load(Ordering::Relaxed), 1);
    }
}
