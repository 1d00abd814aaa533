//! Who is checked when, in one run.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    future::poll_fn,
    pin::pin,
    sync::{Arc, Weak},
    task::Poll,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{
    task::{spawn_blocking, yield_now},
    time::sleep_until,
};

use super::{
    check::Verdict,
    config::HealthConfig,
    probe::probe,
    record::Record,
    roster::{Orders, Run},
    watch::{Policy, Watch},
};
use crate::{
    sync::random_fraction,
    time::{self, Instant},
};

/// So many checks at most between two looks at other tasks.
const BUSY: usize = 64;
/// Void entries of the heap are borne up to so many.
const SWEEP: usize = 64;

/// What the task does from a start to a stop.
pub(super) struct Schedule {
    policy: Arc<Policy>,
    run: Run,
    slots: HashMap<u64, Slot>,
    /// The earliest on top. An entry that is not what its slot says is void.
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    round: Option<Round>,
}

struct Slot {
    watch: Weak<Watch>,
    /// When the last check was due.
    last: Option<Instant>,
    /// When the next one is; `None` while one runs, and where checks are off.
    due: Option<Instant>,
    checking: bool,
    /// Not known yet, so it was asked soon; once it is, it is put anywhere within the interval.
    crowded: bool,
    /// A round waits for a check that has not begun.
    owed: bool,
    /// A round waits for the check that runs.
    in_round: bool,
}

/// A round at once: it is done when each that was there at its begin has been checked by a check
/// that began after that, or has left.
struct Round {
    left: usize,
    changed: usize,
}

struct Finished {
    number: u64,
    due: Instant,
    generation: u64,
    verdict: Verdict,
    latency: Duration,
}

impl Schedule {
    pub(super) fn new(policy: Arc<Policy>, run: Run) -> Self {
        let (slots, due) = (HashMap::new(), BinaryHeap::new());
        let mut schedule = Self { policy, run, slots, due, round: None };
        let enlisted = schedule.policy.roster.enlisted();
        schedule.take_in(enlisted);
        schedule
    }

    /// `true`: the run was stopped. `false`: nobody is left.
    pub(super) async fn run(mut self) -> bool {
        let policy = self.policy.clone();
        let mut checks = FuturesUnordered::new();
        let mut sleep = pin!(sleep_until(time::now()));
        let mut busy = 0;
        let mut parallel;
        loop {
            match policy.roster.orders(self.run) {
                Orders::Stop => return true,
                Orders::End { news } => {
                    self.tell(news);
                    return false;
                }
                Orders::GoOn { arrivals, departures, replan, round, news, parallel: places } => {
                    parallel = places;
                    departures.into_iter().for_each(|number| self.let_go(number));
                    self.take_in(arrivals);
                    if replan {
                        self.replan();
                    }
                    if round {
                        self.begin_round();
                    }
                    self.tell(news);
                }
            }
            self.sweep();
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
            let mut woken = pin!(policy.roster.woken());
            let finished = poll_fn(|cx| {
                if let Poll::Ready(Some(finished)) = checks.poll_next_unpin(cx) {
                    return Poll::Ready(Some(finished));
                }
                let wakes = woken.as_mut().poll(cx).is_ready()
                    || (next.is_some() && sleep.as_mut().poll(cx).is_ready());
                if wakes { Poll::Ready(None) } else { Poll::Pending }
            })
            .await;
            // What is ready together is told together.
            let mut finished = finished;
            while let Some(one) = finished {
                self.settle(one);
                busy += 1;
                finished = checks.next().now_or_never().flatten();
            }
            // Checks that never wait must not keep a worker thread.
            if busy >= BUSY {
                busy = 0;
                yield_now().await;
            }
        }
    }

    fn take_in(&mut self, arrivals: Vec<(u64, Weak<Watch>)>) {
        let now = time::now();
        for (number, watch) in arrivals {
            let Some(record) = watch.upgrade().map(|watch| watch.record.clone()) else {
                continue;
            };
            let slot = Slot {
                watch,
                last: None,
                due: None,
                checking: false,
                crowded: !record.is_settled(),
                owed: false,
                in_round: false,
            };
            self.slots.insert(number, slot);
            // Spread over an interval, since all of a set come at once.
            let first = first_due(&record, now);
            self.schedule(number, first);
        }
    }

    fn schedule(&mut self, number: u64, due: Option<Instant>) {
        if let Some(slot) = self.slots.get_mut(&number) {
            slot.due = due;
            self.due.extend(due.map(|at| Reverse((at, number))));
        }
    }

    /// Drops void entries where there are more of them than others. A constant share of what made
    /// them.
    fn sweep(&mut self) {
        if self.due.len() > 2 * self.slots.len() + SWEEP {
            let dues = self.slots.iter();
            self.due =
                dues.filter_map(|(&number, slot)| Some(Reverse((slot.due?, number)))).collect();
        }
    }

    fn let_go(&mut self, number: u64) {
        let slot = self.slots.remove(&number);
        if slot.is_some_and(|slot| slot.owed || slot.in_round) {
            self.count_in_round(false);
        }
    }

    /// Puts all that wait at their time by the intervals that hold now.
    fn replan(&mut self) {
        let now = time::now();
        self.due.clear();
        for (&number, slot) in &mut self.slots {
            let Some(record) = slot.watch.upgrade().map(|watch| watch.record.clone()) else {
                continue;
            };
            if slot.checking {
                continue;
            }
            let config = record.config();
            if !config.enabled && std::mem::take(&mut slot.owed) {
                if let Some(round) = &mut self.round {
                    round.left -= 1;
                }
            }
            slot.due = match slot.last {
                _ if !config.enabled => None,
                _ if slot.owed => Some(now),
                // What would be late is spread, as the first checks are.
                Some(last) => {
                    let next = time::later(last, interval(&record, &config));
                    if next > now { Some(next) } else { first_due(&record, now) }
                }
                None => first_due(&record, now)
                    .map(|first| slot.due.map_or(first, |due| due.min(first))),
            };
            self.due.extend(slot.due.map(|at| Reverse((at, number))));
        }
        self.end_round_if_done();
    }

    fn begin_round(&mut self) {
        let now = time::now();
        let mut round = Round { left: 0, changed: 0 };
        for (&number, slot) in &mut self.slots {
            let on = slot.watch.upgrade().is_some_and(|watch| watch.record.config().enabled);
            if on {
                slot.owed = true;
                round.left += 1;
                if !slot.checking {
                    slot.due = Some(now);
                    self.due.push(Reverse((now, number)));
                }
            }
        }
        self.round = Some(round);
        self.end_round_if_done();
    }

    fn count_in_round(&mut self, changed: bool) {
        if let Some(round) = &mut self.round {
            round.left -= 1;
            round.changed += usize::from(changed);
        }
        self.end_round_if_done();
    }

    fn end_round_if_done(&mut self) {
        if let Some(round) = self.round.take_if(|round| round.left == 0) {
            self.policy.roster.end_round(round.changed);
        }
    }

    /// Begins the check of the one that has been due for longest.
    fn begin_due(&mut self, now: Instant) -> Option<impl Future<Output = Finished> + Send + use<>> {
        loop {
            let &Reverse((at, number)) = self.due.peek()?;
            if at > now {
                return None;
            }
            self.due.pop();
            let Some(slot) = self.slots.get_mut(&number).filter(|slot| slot.due == Some(at)) else {
                continue;
            };
            // One that has gone is let go as soon as the roster says so.
            let Some(watch) = slot.watch.upgrade() else {
                continue;
            };
            (slot.due, slot.last, slot.checking) = (None, Some(at), true);
            slot.in_round = std::mem::take(&mut slot.owed);
            let config = watch.record.config();
            let (check, limit) = (self.policy.check(&config), config.timeout);
            let endpoint = watch.member().map(|member| member.endpoint());
            let generation = watch.record.generation();
            return Some(async move {
                let (verdict, latency) = probe(check, endpoint, limit).await;
                Finished { number, due: at, generation, verdict, latency }
            });
        }
    }

    fn settle(&mut self, finished: Finished) {
        let Finished { number, due, generation, verdict, latency } = finished;
        // One that has left was let go, or will be.
        let Some(slot) = self.slots.get_mut(&number) else {
            return;
        };
        let Some(watch) = slot.watch.upgrade() else {
            return;
        };
        let changed = watch.settle(generation, verdict, latency);
        slot.checking = false;
        let (now, config) = (time::now(), watch.record.config());
        let spreads = slot.crowded && watch.record.is_settled();
        slot.crowded &= !spreads;
        let next = match config.enabled {
            false => None,
            true if slot.owed => Some(now),
            // The first checks of a set come close together, and would go on like that.
            true if spreads && !slot.in_round && config.interval > config.interval_unhealthy => {
                first_due(&watch.record, now)
            }
            true => Some(next_due(due, interval(&watch.record, &config), now)),
        };
        // A round waits no more for what is switched off.
        let is_given_up = !config.enabled && std::mem::take(&mut slot.owed);
        let was_in_round = std::mem::take(&mut slot.in_round);
        self.schedule(number, next);
        if was_in_round || is_given_up {
            self.count_in_round(changed);
        }
    }

    /// Lets the listener know, where it cannot hold up the checks.
    fn tell(&self, news: bool) {
        if news && self.policy.teller.listener.is_some() {
            self.policy.teller.note(self.run.number);
            let policy = self.policy.clone();
            drop(spawn_blocking(move || policy.teller.deliver()));
        }
    }
}

/// The next interval of this target.
fn interval(record: &Record, config: &HealthConfig) -> Duration {
    let interval = if record.is_settled() { config.interval } else { config.interval_unhealthy };
    jittered(interval, config.jitter, random_fraction())
}

/// When to check for the first time: anywhere within an interval.
fn first_due(record: &Record, now: Instant) -> Option<Instant> {
    let config = record.config();
    let soon = config.interval.min(config.interval_unhealthy);
    let within = if record.is_settled() { config.interval } else { soon };
    config.enabled.then(|| now + within.mul_f64(random_fraction()))
}

/// An interval, up to `jitter` of it longer or shorter; `random` is from 0 to 1.
fn jittered(interval: Duration, jitter: f64, random: f64) -> Duration {
    interval.mul_f64(1.0 + jitter * (2.0 * random - 1.0)).max(Duration::from_millis(1))
}

/// When to check again what was due at `last` and is done `now`: in whole intervals, so a slow one
/// skips those that it missed, and a little delay does not add up.
fn next_due(last: Instant, interval: Duration, now: Instant) -> Instant {
    let next = last + interval;
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
    use crate::{endpoint::Endpoint, health::check::check_upstream, member::Member};

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
    fn rounds_and_comers_and_goers_cost_no_memory() {
        let check = Arc::new(check_upstream(|| async { true }));
        let config = HealthConfig::default().with_interval(Duration::from_secs(86_400));
        let policy = Policy::new(config, check, None, None);
        let watch = |key: usize| {
            let endpoint = Endpoint::new("a:1").unwrap().with_key(key.to_string());
            policy.watch_member(&Member::new(endpoint))
        };
        let stays: Vec<_> = (0..10).map(watch).collect();
        let run = policy.roster.enlist(&stays[0]).unwrap();
        let mut schedule = Schedule::new(policy.clone(), run);
        schedule.take_in(stays.iter().map(|it| (it.name.1, Arc::downgrade(it))).collect());
        for key in 0..1_000 {
            let comes = watch(100 + key);
            schedule.take_in(vec![(comes.name.1, Arc::downgrade(&comes))]);
            schedule.begin_round();
            schedule.let_go(comes.name.1);
            schedule.sweep();
            assert!(schedule.due.len() <= 2 * 11 + SWEEP && schedule.slots.len() == 10);
        }
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
