//! The one background task of a set: whatever changes, it makes the next snapshot.

mod ejecting;
mod entries;
mod entry;
mod lists;
mod look;
mod publish;

use std::{
    future::poll_fn,
    mem,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Sleep;

use self::{
    entries::Entries,
    entry::RECONNECT,
    publish::{SOONEST, publish},
};
use super::{
    memory::Memory,
    select::Selector,
    set::{Set, Start},
    standing::Judge,
    state::Availability,
    strategy::Strategy,
};
use crate::{
    connect::Connect,
    discover::{Discover, EndpointSet},
    error::BoxError,
    sync::lock,
    time::{self, Instant},
};

/// What starts the task: the source of the endpoints, and what connects them.
pub(super) struct Starter<D, C> {
    pub(super) discover: Arc<D>,
    pub(super) connect: Arc<C>,
}

impl<D, C, S, P> Start<S, P> for Starter<D, C>
where
    D: Discover,
    C: Connect<Service = S> + Send + Sync + 'static,
    S: Clone + Send + Sync + 'static,
    P: Strategy,
{
    fn last_error(&self) -> Option<BoxError> {
        self.discover.last_error()
    }

    fn task(&self, set: Weak<Set<S, P>>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (discover, connect) = (self.discover.clone(), self.connect.clone());
        Box::pin(async move {
            let of_set = |set: Arc<Set<S, P>>| (set.reporter.clone(), set.memory.clone());
            let Some((reporter, memory)) = set.upgrade().map(of_set) else { return };
            // A source or a strategy that panics ends a run, and nothing else.
            let mut panics = 0;
            loop {
                let began = time::now();
                let run = async {
                    let (start, selector) = {
                        let mut memory = lock(&memory);
                        (memory.start, mem::take(&mut memory.selector))
                    };
                    let task = Task {
                        sets: Some(Box::pin(discover.discover().fuse())),
                        entries: Entries::new(connect.clone(), reporter.clone(), start),
                        memory: memory.clone(),
                        down_since: Some(began),
                        selector,
                        held: None,
                        sweep: None,
                        watch: None,
                    };
                    task.run(set.clone()).await;
                };
                if AssertUnwindSafe(run).catch_unwind().await.is_ok() {
                    return;
                }
                let Some(this) = set.upgrade() else { return };
                if !this.is_up() {
                    this.state.set(Availability::FailFast);
                    this.waiting.wake_all();
                }
                let ran = time::now().saturating_duration_since(began);
                panics = if ran >= RECONNECT.max { 1 } else { panics + 1 };
                let wait = RECONNECT.grown(panics);
                let guard = this.name();
                tracing::error!(guard, ?wait, "a source of endpoints or a strategy panicked");
                drop(this);
                tokio::time::sleep(wait).await;
            }
        })
    }
}

struct Task<Sets, C, S> {
    /// `None` once the source has ended: the set stays as it is.
    sets: Option<Pin<Box<Sets>>>,
    entries: Entries<C, S>,
    memory: Arc<Mutex<Memory<S>>>,
    down_since: Option<Instant>,
    selector: Selector,
    /// A set of endpoints that waits for more, and until when.
    held: Option<(EndpointSet, Pin<Box<Sleep>>)>,
    sweep: Option<Pin<Box<Sleep>>>,
    /// When the strategy looks at the load of the members again.
    watch: Option<Pin<Box<Sleep>>>,
}

/// The next task goes on with what this one knows.
impl<Sets, C, S> Drop for Task<Sets, C, S> {
    fn drop(&mut self) {
        let ((follows, services), selector) = (self.entries.leave(), mem::take(&mut self.selector));
        let mut memory = lock(&self.memory);
        (memory.follows, memory.selector) = (follows, selector);
        memory.services.extend(services);
    }
}

/// Why the task wakes.
enum Wake {
    Endpoints(EndpointSet),
    Signal,
    Due,
    Sweep,
    Watch,
    SourceEnded,
}

fn is_due(timer: Option<&mut Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> bool {
    timer.is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
}

impl<Sets, C, S> Task<Sets, C, S>
where
    Sets: Stream<Item = EndpointSet> + Send,
    C: Connect<Service = S>,
    S: Clone + Send + Sync + 'static,
{
    async fn run<P: Strategy>(mut self, set: Weak<Set<S, P>>) {
        let Some(first) = set.upgrade() else { return };
        let signal = first.signal.clone();
        signal.await_failure();
        // Goes on with the members of the last run, if the runtime of that has ended.
        let judge = self.entries.judge(&first.config());
        let follows = mem::take(&mut lock(&self.memory).follows);
        self.entries.resume(&first.snapshot.load(), follows, &judge);
        let mut timer = self.publish(first);
        let mut debounce = Duration::ZERO;
        loop {
            let wake = poll_fn(|cx| {
                signal.register(cx.waker());
                if set.strong_count() == 0 {
                    return Poll::Ready(None);
                }
                if let Some(wake) = self.poll_held(cx, debounce) {
                    return Poll::Ready(Some(wake));
                }
                // Before what may never cease.
                if is_due(self.sweep.as_mut(), cx) {
                    return Poll::Ready(Some(Wake::Sweep));
                }
                if signal.take_watch() || is_due(self.watch.as_mut(), cx) {
                    return Poll::Ready(Some(Wake::Watch));
                }
                if signal.take() {
                    return Poll::Ready(Some(Wake::Signal));
                }
                if is_due(timer.as_mut(), cx) {
                    return Poll::Ready(Some(Wake::Due));
                }
                Poll::Pending
            });
            let Some(wake) = wake.await else { return };
            let Some(set) = set.upgrade() else { return };
            if let Wake::Watch = wake {
                self.watch(&set);
                continue;
            }
            let config = set.config();
            debounce = config.debounce;
            let judge = self.entries.judge(&config);
            match wake {
                Wake::Endpoints(endpoints) => {
                    let left = self.entries.apply(&endpoints, &signal, &judge);
                    left.iter().for_each(|member| set.let_go(member));
                }
                Wake::SourceEnded => {
                    tracing::debug!("discovery has ended; the last endpoints stay in use");
                    self.sets = None;
                }
                Wake::Sweep => {
                    self.sweep = None;
                    if set.random.scope(|| ejecting::sweep(&mut self.entries, &judge)) {
                        self.sweep_later(&judge);
                    } else {
                        signal.await_failure();
                    }
                    // A member that it ejects signals that.
                    continue;
                }
                Wake::Signal | Wake::Due | Wake::Watch => {}
            }
            timer = self.publish(set);
            // Changes that never cease must not keep a worker thread.
            tokio::task::yield_now().await;
        }
    }

    /// Publishes the next snapshot, and tells when there is something to do without a signal.
    fn publish<P: Strategy>(&mut self, set: Arc<Set<S, P>>) -> Option<Pin<Box<Sleep>>> {
        // What changes from here on wakes the task again.
        set.signal.take();
        // Not under the lock: listeners are told of it.
        let dead = mem::take(&mut *lock(&set.dead));
        set.random.scope(|| self.entries.bury(dead));
        let judge = self.entries.judge(&set.config());
        set.signal.set_row(judge.rule.consecutive);
        if !judge.outlier.is_on() {
            self.sweep = None;
        } else if self.sweep.is_none() && !set.signal.awaits_failure() {
            self.sweep_later(&judge);
        }
        let Self { entries, selector, down_since, .. } = self;
        let next = set.random.scope(|| publish(&set, entries, selector, down_since, &judge));
        set.signal.wakes_at(next);
        self.watch(&set);
        next.map(|at| Box::pin(tokio::time::sleep_until(at)))
    }

    /// Lets the strategy look at the members.
    fn watch<P: Strategy>(&mut self, set: &Set<S, P>) {
        let snapshot = set.snapshot.load();
        let after = snapshot.groups().filter_map(|group| set.strategy.watch(&group.table)).min();
        let again = after.map(|after| time::later(time::now(), after.max(SOONEST)));
        match (&mut self.watch, again) {
            (Some(sleep), Some(at)) => sleep.as_mut().reset(at),
            (watch, at) => *watch = at.map(|at| Box::pin(tokio::time::sleep_until(at))),
        }
    }

    fn sweep_later(&mut self, judge: &Judge) {
        let at = time::later(judge.now, judge.outlier.interval);
        self.sweep = Some(Box::pin(tokio::time::sleep_until(at)));
    }

    /// The newest set of endpoints, once those that come with it have been gathered.
    fn poll_held(&mut self, cx: &mut Context<'_>, debounce: Duration) -> Option<Wake> {
        match self.poll_sets(cx) {
            Some(Wake::Endpoints(set))
                if !debounce.is_zero() && !self.entries.list().is_empty() =>
            {
                let until = self.held.take().map(|(_, until)| until);
                let later = || Box::pin(tokio::time::sleep(debounce));
                self.held = Some((set, until.unwrap_or_else(later)));
            }
            Some(wake) => return Some(wake),
            None => {}
        }
        let (set, until) = self.held.as_mut()?;
        if until.as_mut().poll(cx).is_pending() {
            return None;
        }
        let set = set.clone();
        self.held = None;
        Some(Wake::Endpoints(set))
    }

    fn poll_sets(&mut self, cx: &mut Context<'_>) -> Option<Wake> {
        /// Sets taken together at most.
        const TOGETHER: usize = 64;
        let sets = self.sets.as_mut()?;
        let mut last = None;
        for _ in 0..TOGETHER {
            match sets.as_mut().poll_next(cx) {
                Poll::Ready(Some(set)) => last = Some(Wake::Endpoints(set)),
                Poll::Ready(None) => return last.or(Some(Wake::SourceEnded)),
                Poll::Pending => break,
            }
        }
        last
    }
}
