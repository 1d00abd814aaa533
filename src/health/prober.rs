//! The background task that checks all that one layer value made.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    future::poll_fn,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{sleep_until, timeout},
};

use super::{
    check::Verdict,
    watch::{IDLE, Policy, UNHEALTHY, Watch},
};
use crate::{
    sync::{lock, random_fraction},
    time::{self, Instant},
};

/// How gates and the task find each other.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<QueueState>,
    /// How many watches live.
    watches: AtomicUsize,
    /// Wakes the task: somebody came, or the last one left.
    changed: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    running: bool,
    fresh: Vec<Weak<Watch>>,
}

impl Queue {
    pub(super) fn watch_begins(&self) {
        self.watches.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn watch_ends(&self) {
        // Release, with the Acquire of the task: who sees none left sees all they did.
        if self.watches.fetch_sub(1, Ordering::Release) == 1 {
            self.changed.notify_one();
        }
    }
}

/// Has `watch` checked from now on. `false`: there is no runtime to do it in.
pub(super) fn enlist(watch: &Arc<Watch>) -> bool {
    let Ok(runtime) = Handle::try_current() else {
        return false;
    };
    let queue = &watch.policy.queue;
    let starts = {
        let mut state = lock(&queue.state);
        if !watch.clear(IDLE) {
            return true;
        }
        state.fresh.push(Arc::downgrade(watch));
        !std::mem::replace(&mut state.running, true)
    };
    if starts {
        // Made here and moved into the task, so that it drops, and says that nobody runs any
        // more, even if the runtime ends before the first poll.
        let schedule = Schedule::new(watch.policy.clone());
        drop(runtime.spawn(schedule.run()));
    } else {
        queue.changed.notify_one();
    }
    true
}

/// Who is checked when.
struct Schedule {
    policy: Arc<Policy>,
    watches: Vec<Weak<Watch>>,
    free: Vec<usize>,
    /// The next check of each that is not being checked; the earliest on top.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Ended because nobody is left.
    over: bool,
}

struct Finished {
    index: usize,
    began: Instant,
    verdict: Verdict,
}

impl Schedule {
    fn new(policy: Arc<Policy>) -> Self {
        Self { policy, watches: Vec::new(), free: Vec::new(), due: BinaryHeap::new(), over: false }
    }

    async fn run(mut self) {
        let policy = self.policy.clone();
        let parallel = policy.config.parallel;
        let mut checks = FuturesUnordered::new();
        let mut sleep = pin!(sleep_until(time::now()));
        while self.take_fresh() {
            let now = time::now();
            // Those that are due and find no place stay on the heap, the longest waiting on top.
            while checks.len() < parallel {
                match self.begin_due(now) {
                    Some(check) => checks.push(check),
                    None => break,
                }
            }
            let next = self.due.peek().filter(|_| checks.len() < parallel);
            let next = next.map(|Reverse((at, _))| *at);
            if let Some(at) = next {
                sleep.as_mut().reset(at);
            }
            let mut changed = pin!(policy.queue.changed.notified());
            let finished = poll_fn(|cx| {
                if let Poll::Ready(Some(finished)) = checks.poll_next_unpin(cx) {
                    return Poll::Ready(Some(finished));
                }
                let wakes = changed.as_mut().poll(cx).is_ready()
                    || (next.is_some() && sleep.as_mut().poll(cx).is_ready());
                if wakes { Poll::Ready(None) } else { Poll::Pending }
            })
            .await;
            if let Some(finished) = finished {
                self.settle(finished);
            }
        }
    }

    /// Takes over who came. `false`: nobody is left, and the task is over.
    fn take_fresh(&mut self) -> bool {
        let queue = &self.policy.queue;
        let fresh = {
            let mut state = lock(&queue.state);
            if queue.watches.load(Ordering::Acquire) == 0 {
                // Under the lock, so that whoever comes next starts another task.
                state.running = false;
                state.fresh.clear();
                self.over = true;
                return false;
            }
            std::mem::take(&mut state.fresh)
        };
        let now = time::now();
        for watch in fresh {
            let index = match self.free.pop() {
                Some(index) => {
                    self.watches[index] = watch;
                    index
                }
                None => {
                    self.watches.push(watch);
                    self.watches.len() - 1
                }
            };
            // Spread over the interval, since all of a set come at once.
            let first = self.policy.config.interval.mul_f64(random_fraction());
            self.due.push(Reverse((now + first, index)));
        }
        true
    }

    /// Begins the check of the one that has been due for longest.
    fn begin_due(&mut self, now: Instant) -> Option<impl Future<Output = Finished> + Send + use<>> {
        loop {
            let &Reverse((at, index)) = self.due.peek()?;
            if at > now {
                return None;
            }
            self.due.pop();
            let Some(watch) = self.watches[index].upgrade() else {
                self.free.push(index);
                continue;
            };
            let (check, limit) = (self.policy.check.clone(), self.policy.config.timeout);
            let endpoint = watch.member().map(|member| member.endpoint());
            return Some(async move {
                let check = AssertUnwindSafe(async move { check.begin(endpoint).await });
                let verdict = match timeout(limit, check.catch_unwind()).await {
                    Ok(Ok(verdict)) => verdict,
                    Ok(Err(_)) => Verdict::Unhealthy("the check panicked".into()),
                    Err(_) => Verdict::Unhealthy(format!("no answer within {limit:?}").into()),
                };
                Finished { index, began: now, verdict }
            });
        }
    }

    fn settle(&mut self, finished: Finished) {
        let Finished { index, began, verdict } = finished;
        let Some(watch) = self.watches[index].upgrade() else {
            self.free.push(index);
            return;
        };
        let now = time::now();
        watch.settle(verdict, now.saturating_duration_since(began));
        let config = &self.policy.config;
        let interval =
            if watch.word() & UNHEALTHY == 0 { config.interval } else { config.interval_unhealthy };
        let interval = jittered(interval, config.jitter, random_fraction());
        self.due.push(Reverse((next_due(began, interval, now), index)));
    }
}

/// The runtime ended, or a check panicked while it was dropped. The next use starts another task.
impl Drop for Schedule {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut left = std::mem::take(&mut self.watches);
        {
            let mut state = lock(&self.policy.queue.state);
            state.running = false;
            left.append(&mut state.fresh);
        }
        for watch in left.iter().filter_map(Weak::upgrade) {
            watch.set(IDLE);
        }
    }
}

/// An interval, up to `jitter` of it longer or shorter; `random` is from 0 to 1.
fn jittered(interval: Duration, jitter: f64, random: f64) -> Duration {
    interval.mul_f64(1.0 + jitter * (2.0 * random - 1.0)).max(Duration::from_millis(1))
}

/// When to check again what was checked from `began` to `now`: in whole intervals from the start,
/// so a slow one skips those that it missed.
fn next_due(began: Instant, interval: Duration, now: Instant) -> Instant {
    let next = began + interval;
    match now.checked_duration_since(next) {
        None => next,
        Some(late) => {
            let missed = late.as_nanos() / interval.as_nanos().max(1) + 1;
            let missed = u32::try_from(missed).unwrap_or(u32::MAX);
            time::later(next, interval.saturating_mul(missed))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_check_skips_what_it_missed() {
        let (began, ms) = (time::now(), Duration::from_millis);
        let next = |took| next_due(began, ms(10), began + ms(took)) - began;
        assert_eq!(next(0), ms(10));
        assert_eq!(next(9), ms(10));
        assert_eq!(next(10), ms(20));
        assert_eq!(next(35), ms(40));
    }

    #[test]
    fn jitter_goes_both_ways() {
        let of = |jitter, random| jittered(Duration::from_secs(10), jitter, random);
        assert_eq!(of(0.0, 0.9), Duration::from_secs(10));
        assert_eq!(of(0.1, 0.0), Duration::from_secs(9));
        assert_eq!(of(0.1, 1.0), Duration::from_secs(11));
        assert_eq!(of(1.0, 0.0), Duration::from_millis(1));
    }
}
