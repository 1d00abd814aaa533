use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use super::{
    circuit::{Circuit, Kept, Shared},
    machine::{counts::Counted, rules::Ended, word::Ticket},
};
use crate::{member::Ending, outcome::Outcome, time};

/// Permit of a circuit for one call, from which the circuit learns how the call ended.
///
/// The breaker's service holds one for each call. For calls that do not go through it, there is
/// [`CircuitHandle::try_acquire`](super::CircuitHandle::try_acquire).
///
/// # Cancel safety
/// Dropped before it is settled, it counts as a cancelled call:
/// [`CircuitBreakerConfig::cancelled`](super::CircuitBreakerConfig::cancelled) says how. A half-open
/// circuit has its place back in any case.
///
/// # Example
/// ```
/// use tower_upstream::CircuitBreakerLayer;
/// let circuit = CircuitBreakerLayer::default().handle();
/// let permit = circuit.try_acquire()?;
/// // ... the call
/// permit.success();
/// assert_eq!(circuit.stats().succeeded, Some(1));
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[must_use = "dropping it counts as a cancelled call"]
pub struct Permit {
    /// `None` once it is settled, and for a call that was refused.
    lease: Option<Arc<Kept>>,
    ticket: Ticket,
}

impl Permit {
    /// Nothing to settle.
    #[inline]
    pub(crate) fn nothing() -> Self {
        Self { lease: None, ticket: Ticket::NONE }
    }

    #[inline]
    pub(super) fn new(shared: &Shared, ticket: Ticket) -> Self {
        Self { lease: Some(shared.take()), ticket }
    }

    /// Whether its circuit is still in the generation that let it through.
    pub(crate) fn is_current(&self) -> bool {
        let generation = |lease: &Arc<Kept>| Circuit::word(lease.core()).generation();
        self.lease.as_ref().is_some_and(|lease| self.ticket.is_of(generation(lease)))
    }

    /// The call is on its way, and not done at once.
    #[inline]
    pub(crate) fn has_to_wait(&mut self) {
        if !self.ticket.has_begun() {
            self.begin();
        }
    }

    #[inline(never)]
    fn begin(&mut self) {
        let Some(lease) = &self.lease else {
            return;
        };
        let circuit = lease.core();
        let slow_after = circuit.slow_after();
        if slow_after != u64::MAX {
            let now = circuit.clock.nanos();
            self.ticket.begin_timed(now);
            // A probe that hangs has a time of its own.
            if !self.ticket.is_probe() {
                Circuit::enter(lease, self.ticket, slow_after, now);
            }
            return;
        }
        let since = circuit.cancelled_since();
        self.ticket.begin(since);
    }

    /// It is on its way no longer: whether it was slow, where that matters.
    #[inline]
    fn leave(&self, lease: &Kept) -> bool {
        self.ticket.is_timed() && Circuit::leave(lease, self.ticket)
    }

    /// Whether the call took at least `after` nanoseconds. Reads a clock only if that matters.
    fn took(&self, circuit: &Circuit, after: u64) -> bool {
        match after {
            u64::MAX => false,
            0 => self.ticket.has_begun(),
            after if self.ticket.has_begun() => {
                let took = self.ticket.since_begin(circuit.clock.nanos());
                took.is_some_and(|took| took >= after)
            }
            _ => false,
        }
    }

    /// Tells the circuit that the call succeeded.
    ///
    /// ```
    /// use tower_upstream::CircuitBreakerLayer;
    /// let circuit = CircuitBreakerLayer::default().handle();
    /// circuit.try_acquire()?.success();
    /// assert_eq!(circuit.stats().succeeded, Some(1));
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn success(mut self) {
        self.settle(Outcome::Success);
    }

    /// Tells the circuit that the call failed.
    ///
    /// ```
    /// use tower_upstream::CircuitBreakerLayer;
    /// let circuit = CircuitBreakerLayer::default().handle();
    /// circuit.try_acquire()?.failure();
    /// assert_eq!(circuit.failures_in_a_row(), 1);
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn failure(mut self) {
        self.settle(Outcome::Failure);
    }

    /// Tells the circuit how the call ended, where [`success`](Self::success) or
    /// [`failure`](Self::failure) say too little. Only the first time counts.
    ///
    /// ```
    /// use tower_upstream::{CircuitBreakerLayer, Outcome};
    /// let circuit = CircuitBreakerLayer::default().handle();
    /// circuit.try_acquire()?.settle(Outcome::Failure);
    /// assert_eq!(circuit.stats().failed, Some(1));
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    #[inline(always)]
    pub fn settle(&mut self, outcome: Outcome) {
        let Some(lease) = self.lease.take() else {
            return;
        };
        // A call that was done at once cannot have been slow.
        if matches!(outcome, Outcome::Success) && !self.ticket.has_begun() {
            match lease.local().count_good(self.ticket) {
                Counted::Yes => {}
                counted => self.settle_good(&lease, counted),
            }
        } else {
            self.settle_seldom(&lease, outcome);
        }
    }

    #[inline(never)]
    fn settle_seldom(&self, lease: &Arc<Kept>, outcome: Outcome) {
        let slow = self.leave(lease);
        // A good call that is counted already must not be among the good ones, too.
        if matches!(outcome, Outcome::Success) && !slow && !self.ticket.is_judged() {
            self.settle_good(lease, lease.local().count_good(self.ticket));
        } else {
            Self::settle_slowly(lease, self.ticket, outcome, slow);
        }
    }

    #[inline(never)]
    fn settle_good(&self, lease: &Arc<Kept>, counted: Counted) {
        match counted {
            Counted::Yes => {}
            Counted::Look => Self::look(lease),
            Counted::No => Self::settle_slowly(lease, self.ticket, Outcome::Success, false),
        }
    }

    /// Gives a place back that was not used: no call, so nothing to count.
    pub(crate) fn give_back(mut self) {
        if let Some(lease) = self.lease.take() {
            let shared = Shared::of(lease);
            let ticket = self.ticket;
            Circuit::apply(&shared, |machine, now| machine.settle(ticket, None, now));
        }
    }

    /// Moves good calls into the window, and plans when to do so next.
    #[cold]
    #[inline(never)]
    fn look(lease: &Arc<Kept>) {
        let is_full = lease.local().is_full();
        let pace = Circuit::apply(&Shared::of(lease.clone()), |machine, now| {
            machine.look(1, now);
            if is_full {
                machine.renew(now);
            }
            machine.pace(now)
        });
        lease.local().plan(pace);
    }

    #[cold]
    #[inline(never)]
    fn settle_slowly(lease: &Arc<Kept>, ticket: Ticket, outcome: Outcome, slow: bool) {
        let shared = Shared::of(lease.clone());
        let counts = lease.local();
        let slow = slow || outcome == Outcome::Slow;
        let failed = |retry_after| Some(Ended { failed: true, slow, retry_after });
        let ended = match outcome {
            Outcome::Success | Outcome::Slow => {
                counts.good_otherwise.fetch_add(1, Ordering::Relaxed);
                Some(Ended { failed: false, slow, retry_after: None })
            }
            Outcome::Failure => failed(None),
            Outcome::Overload { retry_after } => failed(retry_after),
            Outcome::Ignored => {
                counts.ignored.fetch_add(1, Ordering::Relaxed);
                None
            }
        };
        if ended.is_some_and(|ended| ended.failed) {
            counts.failures.fetch_add(1, Ordering::Relaxed);
            lease.core().last_failure.store(time::stamp(time::now()), Ordering::Relaxed);
        }
        if ended.is_some_and(|ended| ended.slow) {
            counts.slow.fetch_add(1, Ordering::Relaxed);
        }
        Circuit::apply(&shared, |machine, now| machine.settle(ticket, ended, now));
    }

    /// The head of the response is there and good, and what follows it goes on, maybe for hours: from
    /// now on time is no matter.
    ///
    /// The rule: what a head alone decides is decided now, and at the end only a failure is news. So a
    /// probe gives its place back, and one that was slow is among the slow ones while it goes on.
    #[cfg(feature = "http")]
    pub(crate) fn goes_on(&mut self) {
        let Some(lease) = &self.lease else {
            return;
        };
        let slow = self.leave(lease);
        if slow {
            lease.local().slow.fetch_add(1, Ordering::Relaxed);
        }
        if slow || self.ticket.is_probe() {
            let ticket = self.ticket;
            let good = Ended { failed: false, slow, retry_after: None };
            let shared = Shared::of(lease.clone());
            Circuit::apply(&shared, |machine, now| machine.settle(ticket, Some(good), now));
            self.ticket.judge();
        } else {
            self.ticket.begin(None);
        }
    }

    /// Makes the call; if that panics it has failed.
    #[inline(always)]
    pub(crate) fn call<R>(mut self, call: impl FnOnce() -> R) -> (R, Self) {
        let panics = IfPanics(&mut self);
        let called = call();
        std::mem::forget(panics);
        (called, self)
    }

    /// The call panicked.
    #[cold]
    #[inline(never)]
    pub(super) fn panicked(&mut self) {
        if let Some(lease) = self.lease.take() {
            let slow = self.leave(&lease);
            Self::settle_slowly(&lease, self.ticket, Outcome::Failure, slow);
        }
    }

    /// The call was cut short, whatever did that: the policy decides what that says.
    #[cold]
    #[inline(never)]
    pub(crate) fn cancel(&mut self) {
        if let Some(lease) = self.lease.take() {
            let slow = self.leave(&lease);
            let failed = self.took(lease.core(), lease.core().cancelled_after());
            let outcome = if failed { Outcome::Failure } else { Outcome::Ignored };
            Self::settle_slowly(&lease, self.ticket, outcome, slow);
        }
    }

    #[cold]
    #[inline(never)]
    fn abandon(&mut self) {
        let ending = self.lease.as_ref().map(|lease| lease.core().ending());
        match (ending, self.ticket.has_begun()) {
            (Some(Ending::TimedOut), true) => self.settle(Outcome::Failure),
            _ => self.cancel(),
        }
    }
}

/// Dropped only while unwinding: a call that panics has failed.
struct IfPanics<'a>(&'a mut Permit);

impl Drop for IfPanics<'_> {
    fn drop(&mut self) {
        self.0.panicked();
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if self.lease.is_some() {
            self.abandon();
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("probe", &self.ticket.is_probe()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::{
        CircuitBreakerConfig, CircuitState, Window, circuit::Circuits, transition::Told,
    };

    #[test]
    fn good_calls_look_seldom_and_before_their_number_is_full() {
        let config = CircuitBreakerConfig::default().with_window(Window::Calls(100));
        let shared = Circuits::new(config, Told::default()).own();
        let mine = shared.take();
        let good_call = || {
            let ticket = Circuit::admit(&shared).unwrap();
            Permit::new(&shared, ticket).settle(Outcome::Success);
        };
        good_call();
        let ticket = shared.core().word().ticket();
        assert_eq!(mine.local().count_good(ticket), Counted::Yes);
        mine.local().fill();
        good_call();
        let word = shared.core().word();
        assert_eq!((word.state(), word.generation()), (CircuitState::Closed, 1));
        assert_eq!(mine.local().good(), 0);
        assert_eq!(Circuit::apply(&shared, |machine, now| machine.tally(now)).calls, 100);
    }
}
