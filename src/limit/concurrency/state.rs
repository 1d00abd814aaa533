//! The places, shared by all that one layer value made, or by the clones of one member's service.

use std::{fmt, sync::Arc, task::Waker};

use super::{
    config::ConcurrencyLimitConfig,
    place::{Place, Ticket},
    queue::{Left, Number, Queue},
    word::Word,
};
use crate::{
    error::{Error, Kind},
    guard::ByMember,
    member::Member,
    sync::atomic::{AtomicU64, AtomicUsize, Mutex, Ordering, lock},
    time::Instant,
};

#[repr(C)]
pub(super) struct State {
    /// First, and so beside the counters of the `Arc`: a call writes to both.
    word: AtomicU64,
    /// What a refusal looks like. Made before it is needed: it may name an endpoint.
    refusal: Error,
    member: Option<Arc<Member>>,
    pub(super) queue: Mutex<Queue<Waker>>,
    most_pending: AtomicUsize,
    /// What `update` said last, for those that come.
    config: Mutex<ConcurrencyLimitConfig>,
    /// Of the connector; empty below it.
    pub(super) members: ByMember<State>,
}

/// What becomes of a call that may wait.
pub(super) enum Entry {
    Now(Place),
    Waits(Ticket),
    /// As many wait as may.
    Full,
}

impl State {
    pub(super) fn new(config: ConcurrencyLimitConfig) -> Arc<Self> {
        Arc::new(Self::build(config, Error::refused(Kind::Overloaded), None))
    }

    /// The state for `member`: the same as before, if it still lives.
    pub(super) fn of_member(&self, member: &Arc<Member>) -> Arc<Self> {
        let is_its = |state: &Self| state.member.as_ref().is_some_and(|of| Arc::ptr_eq(of, member));
        // Held until the new one is listed, so that an update passes none by.
        let config = lock(&self.config);
        self.members.get_or_insert(member, is_its, || {
            let refusal = Error::refused(Kind::Overloaded).at_endpoint(member.shared_key());
            Self::build(config.clone(), refusal, Some(member.clone()))
        })
    }

    fn build(config: ConcurrencyLimitConfig, refusal: Error, member: Option<Arc<Member>>) -> Self {
        Self {
            word: AtomicU64::new(Word::new(config.max).0),
            refusal,
            member,
            queue: Mutex::new(Queue::default()),
            most_pending: AtomicUsize::new(config.pending as usize),
            config: Mutex::new(config),
            members: ByMember::default(),
        }
    }

    pub(super) fn config(&self) -> ConcurrencyLimitConfig {
        lock(&self.config).clone()
    }

    pub(super) fn is_bound(&self) -> bool {
        self.member.is_some()
    }

    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Relaxed))
    }

    pub(super) fn waiting(&self) -> usize {
        lock(&self.queue).len()
    }

    /// How many calls may wait that are refused otherwise.
    pub(super) fn most_pending(&self) -> usize {
        // Relaxed: a number that stands alone.
        self.most_pending.load(Ordering::Relaxed)
    }

    #[cold]
    pub(super) fn refusal(&self) -> Error {
        self.refusal.clone()
    }

    /// Takes a place, if one is free and nobody waits for it.
    #[inline]
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        // Relaxed: looking alone decides nothing.
        let mut word = self.word();
        loop {
            match self.replace(word, word.enter_behind()?) {
                Ok(()) => return Some(Place::taken(self.clone())),
                Err(newer) => word = newer,
            }
        }
    }

    /// Takes a place, or waits for one until `until` if fewer than `most` do.
    pub(super) fn enter_or_wait(
        self: &Arc<Self>,
        most: usize,
        until: Instant,
        now: Instant,
    ) -> Entry {
        self.pass_over_the_late(now, None);
        let mut queue = lock(&self.queue);
        loop {
            let word = self.word();
            if let Some(entered) = word.enter_behind() {
                if self.replace(word, entered).is_ok() {
                    return Entry::Now(Place::taken(self.clone()));
                }
            } else if queue.len() >= most {
                return Entry::Full;
            } else if self.replace(word, word.with_queue(true)).is_ok() {
                // Of the very word that had no place: whoever gives one back from now on sees the
                // queue, and comes here.
                let of = queue.push(until);
                return Entry::Waits(Ticket::new(self.clone(), of));
            }
        }
    }

    /// Gives back a place.
    #[inline]
    pub(super) fn leave(&self) {
        // Release, with the Acquire of `replace`: who takes the place sees all that was done in it.
        let word = Word(self.word.fetch_sub(Word::CALL, Ordering::Release));
        if word.has_queue() {
            self.call_next();
        }
    }

    pub(super) fn set_max(&self, max: u32) {
        self.limit_to(max);
        self.call_those_who_fit();
    }

    fn limit_to(&self, max: u32) {
        let mut word = self.word();
        while let Err(newer) = self.replace(word, word.with_max(max)) {
            word = newer;
        }
    }

    /// Applies a valid config here, and to all members.
    pub(super) fn update(&self, config: &ConcurrencyLimitConfig) {
        // Of two updates at once, one is the last everywhere.
        let mut current = lock(&self.config);
        current.clone_from(config);
        let members = self.members.live();
        let all = || members.iter().map(|member| &**member).chain([self]);
        for state in all() {
            state.most_pending.store(config.pending as usize, Ordering::Relaxed);
            state.limit_to(config.max);
        }
        drop(current);
        all().for_each(Self::call_those_who_fit);
    }

    /// After the limit has grown.
    fn call_those_who_fit(&self) {
        if self.word().has_queue() {
            self.call_next();
        }
    }

    /// Gives free places to those who wait, in order.
    #[cold]
    fn call_next(&self) {
        while let Some(called) = self.call_one() {
            if let Some(waker) = called {
                // Outside the lock.
                waker.wake();
            }
        }
    }

    /// Gives a free place to the first who waits, if there is both, and tells how to wake it.
    fn call_one(&self) -> Option<Option<Waker>> {
        let mut queue = lock(&self.queue);
        let behind = queue.len().checked_sub(1)?;
        let mut word = self.word();
        loop {
            match self.replace(word, word.enter()?.with_queue(behind > 0)) {
                Ok(()) => return Some(queue.call_first()),
                Err(newer) => word = newer,
            }
        }
    }

    /// Takes out those whose time is over and who are not polled, and gives on what places they
    /// were given.
    pub(super) fn pass_over_the_late(&self, now: Instant, own: Option<Number>) {
        loop {
            let late = lock(&self.queue).overdue(now, own);
            match late {
                Some(late) => self.dismiss(late),
                None => return,
            }
        }
    }

    pub(super) fn dismiss(&self, of: Number) {
        let mut queue = lock(&self.queue);
        let left = queue.leave(of);
        if queue.len() == 0 {
            // Relaxed: under the lock, as whoever sets it.
            self.word.fetch_and(!Word::QUEUE, Ordering::Relaxed);
        }
        // Before the waker, which may do as it likes when it drops.
        drop(queue);
        match left {
            Left::Called => self.leave(),
            Left::Waiting(_) | Left::Gone => {}
        }
    }

    #[inline]
    fn replace(&self, word: Word, new: Word) -> Result<(), Word> {
        // Acquire: see `leave`.
        let order = (Ordering::Acquire, Ordering::Relaxed);
        match self.word.compare_exchange(word.0, new.0, order.0, order.1) {
            Ok(_) => Ok(()),
            Err(newer) => Err(Word(newer)),
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word();
        let mut debug = f.debug_struct("ConcurrencyLimit");
        debug
            .field("in_flight", &word.in_flight())
            .field("max", &word.max())
            .field("waiting", &self.waiting());
        if let Some(member) = &self.member {
            debug.field("member", &member.key());
        }
        debug.finish()
    }
}
