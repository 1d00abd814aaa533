//! The places, shared by all that one layer value made, or by the clones of one member's service.

use std::{fmt, sync::Arc, task::Waker};

use super::{config::ConcurrencyLimitConfig, word::Word};
use crate::{
    error::{Error, Kind},
    guard::{Configured, Family, Newest},
    limit::{
        queue::{Line, Queue, Supply, Waiter},
        telemetry::{Setup, Telemetry},
    },
    member::Member,
    sync::atomic::{AtomicU64, AtomicUsize, Mutex, Ordering, lock},
};

/// The kind of all refusals.
const REFUSED: Kind = Kind::Overloaded;

#[repr(C)]
pub(super) struct State {
    /// First, and so beside the counters of the `Arc`: a call writes to both.
    word: AtomicU64,
    pub(super) telemetry: Telemetry,
    member: Option<Arc<Member>>,
    queue: Queue,
    most_pending: AtomicUsize,
    /// Held while settings are applied.
    applies: Mutex<()>,
    pub(super) family: Arc<ConcurrencyFamily>,
}

/// The places of one layer value, and of the members it guards.
pub(super) type ConcurrencyFamily = Family<State, ConcurrencyLimitConfig>;

/// Where a call is that may wait.
pub(super) enum Entry {
    /// It has taken a place.
    InFlight,
    InLine,
    /// As many wait as may.
    Full,
}

impl State {
    /// The places of a new layer value.
    pub(super) fn of_layer(config: ConcurrencyLimitConfig, setup: Setup) -> Arc<Self> {
        let family = Arc::new(Family::new(config));
        family.own(|config| Arc::new(Self::build(&family, config, setup, None)))
    }

    /// The places of `member`: those that it has, if its service is only connected anew.
    pub(super) fn of_member(&self, member: &Arc<Member>) -> Arc<Self> {
        let setup = || self.telemetry.setup().clone();
        self.family
            .of_member(member, |config| Self::build(&self.family, config, setup(), Some(member)))
    }

    fn build(
        family: &Arc<ConcurrencyFamily>,
        config: &ConcurrencyLimitConfig,
        setup: Setup,
        member: Option<&Arc<Member>>,
    ) -> Self {
        Self {
            word: AtomicU64::new(Word::new(config.max).0),
            telemetry: Telemetry::new(setup, member),
            member: member.cloned(),
            queue: Queue::default(),
            most_pending: AtomicUsize::new(config.pending as usize),
            applies: Mutex::new(()),
            family: family.clone(),
        }
    }

    pub(super) fn is_bound(&self) -> bool {
        self.member.is_some()
    }

    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Relaxed))
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// How many calls may wait that are refused otherwise.
    pub(super) fn most_pending(&self) -> usize {
        // Relaxed: a number that stands alone.
        self.most_pending.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(super) fn refuse(&self) -> Error {
        self.telemetry.refuse(REFUSED)
    }

    /// Takes a place, if one is free and none waits for it.
    #[inline]
    pub(super) fn enter(&self) -> bool {
        // Relaxed: looking alone decides nothing.
        let mut word = self.word();
        while let Some(entered) = word.enter_behind() {
            match self.replace(word, entered) {
                Ok(()) => return true,
                Err(newer) => word = newer,
            }
        }
        false
    }

    /// Takes a place, or notes that one is going to wait, if it may. Under the lock of the line.
    pub(super) fn enter_or_queue(&self, may_wait: bool) -> Entry {
        let mut word = self.word();
        loop {
            let (new, entry) = match word.enter_behind() {
                Some(entered) => (entered, Entry::InFlight),
                // Of the very word that had no place: a call that gives one back from now on sees that
                // one waits, and comes to the line.
                None if may_wait => (word.with_queue(true), Entry::InLine),
                None => return Entry::Full,
            };
            match self.replace(word, new) {
                Ok(()) => return entry,
                Err(newer) => word = newer,
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

    /// After the limit has grown.
    fn call_those_who_fit(&self) {
        if self.word().has_queue() {
            self.call_next();
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

impl Configured<ConcurrencyLimitConfig> for State {
    fn apply(self: Arc<Self>, newest: &Newest<ConcurrencyLimitConfig>) {
        let applies = lock(&self.applies);
        let config = newest.get();
        self.most_pending.store(config.pending as usize, Ordering::Relaxed);
        self.limit_to(config.max);
        drop(applies);
        self.call_those_who_fit();
    }

    fn member(&self) -> Option<&Arc<Member>> {
        self.member.as_ref()
    }
}

/// Each that is called has a place, which is its own once it comes for it.
impl Supply for State {
    fn queue(&self) -> &Queue {
        &self.queue
    }

    fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    fn set_aside(&self, line: &Line<Waker>) -> bool {
        let others_wait = line.waiting() > 1;
        let mut word = self.word();
        while let Some(entered) = word.enter() {
            match self.replace(word, entered.with_queue(others_wait)) {
                Ok(()) => return true,
                Err(newer) => word = newer,
            }
        }
        false
    }

    fn put_back(&self) {
        self.leave();
    }

    fn note_that_none_waits(&self) {
        // Relaxed: under the lock, as where it is set.
        self.word.fetch_and(!Word::QUEUE, Ordering::Relaxed);
    }

    fn lacks(&self, _: u64) -> Result<u64, Error> {
        Ok(0)
    }

    fn take(waiter: &Waiter<Self>) -> Result<(), u64> {
        // If its time was over and the place went to another, it looks again at once.
        if waiter.come() { Ok(()) } else { Err(0) }
    }

    fn refusal(&self, _: u64) -> Error {
        self.refuse()
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
