use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
};

use super::lock;

/// At most so many events wait for a listener that is slow; then the oldest go.
const MAX_QUEUED: usize = 1_024;

/// Tells a listener of events, one after the other and in the order in which they were noted.
///
/// Noting is short and may be done under a lock; delivering runs the listener, outside of all locks.
/// Of several that deliver at once one does, and the others leave theirs to it.
pub(crate) struct EventQueue<E> {
    listener: Option<Arc<dyn Fn(E) + Send + Sync>>,
    queue: Mutex<Queue<E>>,
}

struct Queue<E> {
    events: VecDeque<E>,
    delivering: bool,
}

impl<E> EventQueue<E> {
    pub(crate) fn new(listener: Option<Arc<dyn Fn(E) + Send + Sync>>) -> Self {
        let queue = Queue { events: VecDeque::new(), delivering: false };
        Self { listener, queue: Mutex::new(queue) }
    }

    /// Notes an event, if anybody listens.
    pub(crate) fn note(&self, event: E) {
        if self.listener.is_none() {
            return;
        }
        let mut queue = lock(&self.queue);
        let oldest = if queue.events.len() < MAX_QUEUED { None } else { queue.events.pop_front() };
        queue.events.push_back(event);
        // Dropped outside the lock: it may be of the user's types.
        drop(queue);
        if oldest.is_some() {
            tracing::warn!("a listener is too slow: an event is lost");
        }
    }

    /// Tells the listener what was noted. A listener that panics is told of the next event all the
    /// same.
    pub(crate) fn deliver(&self) {
        let Some(listener) = &self.listener else {
            return;
        };
        loop {
            let event = {
                let mut queue = lock(&self.queue);
                if queue.delivering {
                    return;
                }
                let event = queue.events.pop_front();
                queue.delivering = event.is_some();
                event
            };
            let Some(event) = event else {
                return;
            };
            if catch_unwind(AssertUnwindSafe(|| listener(event))).is_err() {
                tracing::error!("a listener panicked");
            }
            lock(&self.queue).delivering = false;
        }
    }
}

impl<E> fmt::Debug for EventQueue<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventQueue").field("listener", &self.listener.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_and_never_overlap_whoever_delivers() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (list, events) = (seen.clone(), Arc::new(Mutex::new(None::<Arc<EventQueue<u32>>>)));
        let again = events.clone();
        let listener = move |event| {
            // A listener that notes and delivers itself is not called within itself.
            if event == 0 {
                let events = lock(&again).clone().unwrap();
                events.note(100);
                events.deliver();
            }
            lock(&list).push(event);
            assert_ne!(event, 1, "the listener panics, and is called again");
        };
        let all = Arc::new(EventQueue::new(Some(Arc::new(listener))));
        *lock(&events) = Some(all.clone());
        (0..3).for_each(|event| all.note(event));
        all.deliver();
        assert_eq!(*lock(&seen), [0, 1, 2, 100]);
    }

    #[test]
    fn a_stuck_listener_costs_no_memory() {
        let events = EventQueue::new(Some(Arc::new(|_: usize| {})));
        (0..5_000).for_each(|event| events.note(event));
        assert_eq!(lock(&events.queue).events.len(), MAX_QUEUED);
        assert_eq!(lock(&events.queue).events.back(), Some(&4_999));
    }
}
