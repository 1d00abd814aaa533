//! What lasts as long as a connection does.

use std::{
    fmt, mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    sync::lock,
    time::{self, Instant},
};

/// Most guards of one slot. Each layer of a stack puts in one.
const MAX_GUARDS: usize = 64;

/// Counts the connections that were ever made.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// A moment among the births of connections: the number of those that were made before.
///
/// A number and no instant, so that a call need not read a clock, and so that two events at the same
/// reading of a clock are in order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(u64);

impl Moment {
    #[inline]
    pub(crate) fn now() -> Self {
        // Relaxed: a connection that was there before a call began was handed on through a lock.
        Self(CONNECTIONS.load(Ordering::Relaxed))
    }
}

/// Guards that drop when a connection closes, and the instant at which the connection was made.
///
/// Each connection of a [`TcpConnector`](crate::dial::TcpConnector) has one, and hyper-util puts it
/// into the extensions of each response. When a response upgrades the connection (a status of 101, or
/// a 2xx to `CONNECT`), the layers of this crate move what counts the call into the slot, so that the
/// call counts until the socket closes.
///
/// Other connectors have no slots, and a connection of HTTP/2 is shared by many calls, so neither tells
/// when one call is over. The layers then put a new slot into the extensions of the response, which no
/// connection closes: keep it, or a clone, for as long as the upgraded connection is in use.
///
/// # Bounds
/// A slot holds at most 64 guards. One more is dropped at once.
///
/// # Example
/// ```
/// use tower_upstream::http::ConnectionSlot;
///
/// fn kept(response: &http::Response<()>) -> Option<ConnectionSlot> {
///     response.extensions().get().cloned()
/// }
/// # assert!(kept(&http::Response::new(())).is_none());
/// ```
#[derive(Clone)]
pub struct ConnectionSlot(Arc<Slot>);

struct Slot {
    /// `None` if the caller keeps it.
    birth: Option<Birth>,
    /// `None` once the connection is closed.
    guards: Mutex<Option<Vec<Box<dyn Send>>>>,
}

struct Birth {
    number: u64,
    at: Instant,
}

impl ConnectionSlot {
    /// Creates the slot of a connection that was made just now.
    pub(crate) fn of_connection() -> Self {
        // Relaxed: only that each has a number of its own, later ones a higher one.
        let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        Self::new(Some(Birth { number, at: time::now() }))
    }

    /// Creates a slot that no connection closes.
    pub(crate) fn for_caller() -> Self {
        Self::new(None)
    }

    fn new(birth: Option<Birth>) -> Self {
        Self(Arc::new(Slot { birth, guards: Mutex::new(Some(Vec::new())) }))
    }

    /// Keeps `guard` until the connection closes, or drops it at once if the connection is closed.
    ///
    /// ```
    /// # use tower_upstream::http::ConnectionSlot;
    /// fn count_until_closed(slot: &ConnectionSlot, call: tower_upstream::member::InFlight) {
    ///     slot.hold(call);
    /// }
    /// ```
    pub fn hold(&self, guard: impl Send + 'static) {
        let guard: Box<dyn Send> = Box::new(guard);
        let mut guards = lock(&self.0.guards);
        match &mut *guards {
            Some(guards) if guards.len() < MAX_GUARDS => guards.push(guard),
            _ => {
                // The drop of a guard is not our code, so outside the lock.
                mem::drop(guards);
                mem::drop(guard);
            }
        }
    }

    /// Returns when the connection was made, or `None` for a slot that no connection closes.
    ///
    /// ```
    /// # use tower_upstream::http::ConnectionSlot;
    /// fn age(slot: &ConnectionSlot) -> Option<std::time::Duration> {
    ///     Some(slot.connected_at()?.elapsed())
    /// }
    /// ```
    pub fn connected_at(&self) -> Option<Instant> {
        self.0.birth.as_ref().map(|birth| birth.at)
    }

    /// Returns whether a connection closes it.
    pub(crate) fn is_of_connection(&self) -> bool {
        self.0.birth.is_some()
    }

    /// Returns whether the connection was there at `moment`.
    pub(crate) fn is_older_than(&self, moment: Moment) -> bool {
        self.0.birth.as_ref().is_some_and(|birth| birth.number < moment.0)
    }

    /// Drops the guards, and those to come at once.
    pub(crate) fn close(&self) {
        let guards = lock(&self.0.guards).take();
        drop(guards);
    }
}

impl fmt::Debug for ConnectionSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guards = lock(&self.0.guards).as_ref().map(Vec::len);
        f.debug_struct("ConnectionSlot")
            .field("connected_at", &self.connected_at())
            .field("open", &guards.is_some())
            .field("guards", &guards.unwrap_or(0))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_drop_with_the_connection_and_later_ones_at_once() {
        let (slot, guard) = (ConnectionSlot::of_connection(), Arc::new(()));
        slot.clone().hold(guard.clone());
        assert_eq!(Arc::strong_count(&guard), 2);
        slot.close();
        assert_eq!(Arc::strong_count(&guard), 1);
        slot.hold(guard.clone());
        assert_eq!(Arc::strong_count(&guard), 1);
    }

    #[test]
    fn a_slot_that_is_kept_drops_its_guards_with_its_last_clone() {
        let (slot, guard) = (ConnectionSlot::for_caller(), Arc::new(()));
        slot.hold(guard.clone());
        let kept = slot.clone();
        drop(slot);
        assert_eq!(Arc::strong_count(&guard), 2);
        drop(kept);
        assert_eq!(Arc::strong_count(&guard), 1);
    }

    #[test]
    fn a_slot_is_bounded() {
        let (slot, guard) = (ConnectionSlot::of_connection(), Arc::new(()));
        for _ in 0..1_000 {
            slot.hold(guard.clone());
        }
        assert_eq!(Arc::strong_count(&guard), 1 + MAX_GUARDS);
    }

    #[test]
    fn a_connection_is_older_than_what_began_after_it() {
        let before = Moment::now();
        let slot = ConnectionSlot::of_connection();
        assert!(slot.is_older_than(Moment::now()) && !slot.is_older_than(before));
        assert!(!ConnectionSlot::for_caller().is_older_than(Moment::now()));
    }

    #[test]
    fn a_guard_may_look_at_its_slot_while_it_drops() {
        struct Looks(ConnectionSlot);
        impl Drop for Looks {
            fn drop(&mut self) {
                self.0.hold(());
            }
        }
        let slot = ConnectionSlot::of_connection();
        slot.hold(Looks(slot.clone()));
        slot.close();
    }
}
