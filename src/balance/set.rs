//! What the calls and the task of one set share.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU8, Ordering},
    },
};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use super::{BalanceConfig, Pick, Strategy, strategy::Candidates};
use crate::{
    choose::Tried,
    error::{Error, Kind},
    member::{Member, Signal},
    sync::{WaitList, lock, random_below},
    time::Instant,
};

/// What all calls over one set share.
pub(super) struct Set<S, P: Strategy> {
    pub(super) snapshot: ArcSwap<Snapshot<S, P::Table>>,
    pub(super) strategy: P,
    pub(super) config: BalanceConfig,
    status: AtomicU8,
    /// Calls and services that wait for a snapshot, or for the status to change.
    pub(super) waiting: WaitList,
    pub(super) signal: Arc<Signal>,
    /// Services that said they are dead, for the task.
    pub(super) dead: Mutex<Vec<Dead>>,
    running: Mutex<bool>,
    /// Where the task runs; `None` is the runtime of the call that starts it.
    runtime: Option<Handle>,
    start: Box<dyn Start<S, P>>,
}

/// The members that a call may choose from, at one moment.
pub(super) struct Snapshot<S, T> {
    pub(super) version: u64,
    /// The candidates, ordered by key.
    pub(super) members: Box<[Arc<Member>]>,
    /// Where the service of each candidate stands in `services`.
    pub(super) index: Box<[u32]>,
    /// Members of other tiers, the lowest tier first, for calls that have tried all candidates; each
    /// with where its service stands.
    pub(super) reserve: Box<[(Arc<Member>, u32)]>,
    /// One for each member of the set, and shared by snapshots until one is connected.
    pub(super) services: Arc<[Connected<S>]>,
    /// All members of the set, ordered by key.
    pub(super) all: Arc<[Arc<Member>]>,
    pub(super) table: T,
    /// The bits of a member's word that bar it: less of them in a panic.
    pub(super) bars: u64,
    pub(super) verdict: Verdict,
}

/// A member that was chosen, and its service.
pub(super) type Choice<'a, S> = (&'a Arc<Member>, &'a Connected<S>);

/// A service, and which connection of its member it is.
#[derive(Clone)]
pub(super) struct Connected<S> {
    pub(super) service: S,
    pub(super) number: u64,
}

/// A service whose `poll_ready` failed.
pub(super) struct Dead {
    pub(super) member: Arc<Member>,
    pub(super) number: u64,
}

/// Why there are no candidates, and when that may be over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    pub(super) kind: Kind,
    pub(super) retry_at: Option<Instant>,
}

impl Verdict {
    #[cold]
    pub(super) fn error(self) -> Error {
        let error = Error::refused(self.kind);
        match self.retry_at {
            Some(at) => error.retry_at(at),
            None => error,
        }
    }
}

impl<S, T> Snapshot<S, T> {
    /// Those that a call's first attempt may choose from.
    #[inline]
    pub(super) fn candidates<'a>(&'a self, tried: &'a Tried) -> Candidates<'a> {
        Candidates::new(&self.members, self.bars, tried)
    }

    #[inline]
    pub(super) fn service(&self, candidate: usize) -> Option<&Connected<S>> {
        self.services.get(*self.index.get(candidate)? as usize)
    }

    /// The candidate with this index, and its service.
    pub(super) fn candidate(&self, index: usize) -> Option<Choice<'_, S>> {
        Some((self.members.get(index)?, self.service(index)?))
    }

    /// `member`, if it may be chosen, and its service.
    pub(super) fn find(&self, member: &Arc<Member>) -> Option<Choice<'_, S>> {
        let identity = |of: &Arc<Member>| of.identity().cmp(member.identity());
        let candidate = self.members.binary_search_by(identity).ok();
        let candidate = candidate.and_then(|index| self.candidate(index));
        let mut all = candidate.into_iter().chain(self.reserve());
        all.find(|(of, _)| Arc::ptr_eq(of, member))
    }

    fn reserve(&self) -> impl Iterator<Item = Choice<'_, S>> {
        self.reserve
            .iter()
            .filter_map(|(member, index)| Some((member, self.services.get(*index as usize)?)))
    }

    /// Whether there is a member that another attempt may go to.
    pub(super) fn has_untried(&self, tried: &Tried) -> bool {
        let is_free = |(member, _): &(Arc<Member>, u32)| is_free(member, tried);
        self.candidates(tried).free_from(0).next().is_some() || self.reserve.iter().any(is_free)
    }

    /// The choice for an attempt that is not the call's first: of those not tried, first what nothing
    /// bars, of the candidates and then of any tier; and only then what a panic overlooks. `passed_over`
    /// are those tried, and those that the call waits for already: while one of the candidates is among
    /// the latter, no other tier is looked at.
    #[cold]
    pub(super) fn choose_again<P, Req>(
        &self,
        strategy: &P,
        tried: &Tried,
        passed_over: &Tried,
        request: &Req,
    ) -> Option<Choice<'_, S>>
    where
        P: Pick<Req, Table = T>,
    {
        let choose = |bars| {
            let candidates = Candidates::new(&self.members, bars, passed_over);
            let chosen = strategy.pick(&self.table, candidates, request);
            self.candidate(chosen.filter(|&index| candidates.is_free(index))?)
        };
        let untried = Candidates::new(&self.members, u64::MAX, tried).free_from(0).next();
        if untried.is_some() {
            return choose(u64::MAX);
        }
        self.choose_of_reserve(passed_over).or_else(|| choose(self.bars))
    }

    /// Any of the lowest tier in which one is free, with the same chance.
    fn choose_of_reserve(&self, tried: &Tried) -> Option<Choice<'_, S>> {
        let free = || self.reserve().filter(|(member, _)| is_free(member, tried));
        let tier = free().next()?.0.tier();
        let of_tier = || free().filter(|(member, _)| member.tier() == tier);
        let drawn = random_below(u32::try_from(of_tier().count()).ok()?);
        of_tier().nth(drawn as usize)
    }
}

fn is_free(member: &Member, tried: &Tried) -> bool {
    member.is_eligible() && !tried.contains(member)
}

/// Whether there is somebody to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Status {
    /// Nobody yet, or not for long.
    Waiting,
    Up,
    /// Nobody for so long that calls fail at once.
    FailFast,
}

/// Starts the task of a set. Knows the connector and the source, so that the set need not.
pub(super) trait Start<S, P: Strategy>: Send + Sync {
    fn task(&self, set: Weak<Set<S, P>>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl<S, P> Set<S, P>
where
    S: Send + Sync + 'static,
    P: Strategy,
{
    pub(super) fn new(
        strategy: P,
        config: BalanceConfig,
        runtime: Option<Handle>,
        start: Box<dyn Start<S, P>>,
    ) -> Arc<Self> {
        let table = strategy.table(&[], None);
        let nobody = Snapshot {
            version: 0,
            members: Box::default(),
            index: Box::default(),
            reserve: Box::default(),
            services: Arc::new([]),
            all: Arc::new([]),
            table,
            bars: u64::MAX,
            verdict: Verdict { kind: Kind::NoEndpoints, retry_at: None },
        };
        Arc::new(Self {
            snapshot: ArcSwap::from_pointee(nobody),
            strategy,
            config: config.clamped(),
            status: AtomicU8::new(Status::Waiting as u8),
            waiting: WaitList::default(),
            signal: Arc::default(),
            dead: Mutex::default(),
            running: Mutex::new(false),
            runtime,
            start,
        })
    }

    #[inline]
    pub(super) fn is_up(&self) -> bool {
        // Acquire with the Release in `set_status`: who sees it up finds the snapshot.
        self.status.load(Ordering::Acquire) == Status::Up as u8
    }

    pub(super) fn is_failing_fast(&self) -> bool {
        self.status.load(Ordering::Acquire) == Status::FailFast as u8
    }

    pub(super) fn set_status(&self, status: Status) {
        self.status.store(status as u8, Ordering::Release);
    }

    /// Starts the task if it does not run: on the runtime that was given, while that lives, or else on
    /// the caller's.
    ///
    /// # Errors
    /// `Unavailable` without either.
    #[cold]
    pub(super) fn ensure_running(self: &Arc<Self>) -> Result<(), Error> {
        for runtime in [self.runtime.clone(), Handle::try_current().ok()].into_iter().flatten() {
            let mut running = lock(&self.running);
            if *running {
                return Ok(());
            }
            *running = true;
            drop(running);
            // Made here and moved into the task, so that it drops even if the runtime ends before the
            // task is polled for the first time.
            let mark = Running { set: Arc::downgrade(self) };
            let task = self.start.task(Arc::downgrade(self));
            let spawned = runtime.spawn(async move {
                let _mark = mark;
                task.await;
            });
            // A runtime that has ended drops it at once.
            if !spawned.is_finished() {
                return Ok(());
            }
        }
        Err(Error::refused(Kind::Unavailable))
    }

    pub(super) fn report_dead(&self, member: Arc<Member>, number: u64) {
        let mut dead = lock(&self.dead);
        let known =
            dead.iter().any(|dead| dead.number == number && Arc::ptr_eq(&dead.member, &member));
        if !known {
            dead.push(Dead { member, number });
            drop(dead);
            self.signal.notify();
        }
    }
}

/// The task lives as long as this.
struct Running<S, P>
where
    S: Send + Sync + 'static,
    P: Strategy,
{
    set: Weak<Set<S, P>>,
}

impl<S, P> Drop for Running<S, P>
where
    S: Send + Sync + 'static,
    P: Strategy,
{
    fn drop(&mut self) {
        if let Some(set) = self.set.upgrade() {
            // Whoever comes next, or waits now, starts it again. The status first, so that it does
            // not overwrite what the next task says.
            let mut running = lock(&set.running);
            set.set_status(Status::Waiting);
            *running = false;
            drop(running);
            set.waiting.wake_all();
        }
    }
}

/// The last handle is gone: the task finds nobody to work for.
impl<S, P: Strategy> Drop for Set<S, P> {
    fn drop(&mut self) {
        self.signal.notify();
    }
}

impl<S, P: Strategy> fmt::Debug for Set<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.snapshot.load();
        f.debug_struct("Set")
            .field("version", &snapshot.version)
            .field("candidates", &snapshot.members.len())
            .field("members", &snapshot.all)
            .finish_non_exhaustive()
    }
}
