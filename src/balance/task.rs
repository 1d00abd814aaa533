//! The one background task of a set: whatever changes, it makes the next snapshot.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Sleep;

use super::{
    Strategy,
    select::{Standing, select},
    set::{Connected, Dead, Set, Snapshot, Start, Status, Verdict},
};
use crate::{
    connect::Connect,
    discover::{Discover, EndpointSet},
    error::Kind,
    member::{Member, Reason, Veto},
    sync::{lock, random_fraction},
    time::{self, Instant},
};

/// Waits between connecting a service anew that dies: the first time none, then doubling.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

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
    fn task(&self, set: Weak<Set<S, P>>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (discover, connect) = (self.discover.clone(), self.connect.clone());
        Box::pin(async move {
            // A source or a strategy that panics ends a run, and nothing else.
            let mut panics = 0;
            loop {
                let began = time::now();
                let run = async {
                    let task = Task {
                        sets: Some(Box::pin(discover.discover().fuse())),
                        connect: connect.clone(),
                        entries: Vec::new(),
                        services: Arc::new([]),
                        slots: Vec::new(),
                        number: 0,
                        down_since: Some(time::now()),
                    };
                    task.run(set.clone()).await;
                };
                if AssertUnwindSafe(run).catch_unwind().await.is_ok() {
                    return;
                }
                let Some(this) = set.upgrade() else { return };
                if !this.is_up() {
                    this.set_status(Status::FailFast);
                    this.waiting.wake_all();
                }
                drop(this);
                let ran = time::now().saturating_duration_since(began);
                panics = if ran >= LONGEST_WAIT { 1 } else { panics + 1 };
                let wait = wait_after(panics);
                tracing::error!(?wait, "a source of endpoints or a strategy panicked");
                tokio::time::sleep(wait).await;
            }
        })
    }
}

struct Task<Sets, C, S> {
    /// `None` once the source has ended: the set stays as it is.
    sets: Option<Pin<Box<Sets>>>,
    connect: Arc<C>,
    /// Ordered by key.
    entries: Vec<Entry<S>>,
    services: Arc<[Connected<S>]>,
    /// Where the service of each entry stands in `services`, if it has one.
    slots: Vec<Option<u32>>,
    /// Of the last connection.
    number: u64,
    down_since: Option<Instant>,
}

struct Entry<S> {
    member: Arc<Member>,
    /// `None` if its connector panicked.
    connected: Option<Connected<S>>,
    connected_at: Instant,
    /// Bars the member while its service is dead.
    dead: Veto,
    deaths: u32,
    connect_at: Option<Instant>,
}

enum Event {
    Endpoints(EndpointSet),
    Signal,
    Due,
    SourceEnded,
}

impl<Sets, C, S> Task<Sets, C, S>
where
    Sets: Stream<Item = EndpointSet> + Send,
    C: Connect<Service = S>,
    S: Clone + Send + Sync + 'static,
{
    async fn run<P: Strategy>(mut self, set: Weak<Set<S, P>>) {
        let Some(signal) = set.upgrade().map(|set| set.signal.clone()) else {
            return;
        };
        let Some(next) = set.upgrade().map(|set| self.resume(&set)) else {
            return;
        };
        let mut timer: Option<Pin<Box<Sleep>>> = next.map(sleep_until);
        loop {
            let event = poll_fn(|cx| {
                signal.register(cx.waker());
                if set.strong_count() == 0 {
                    return Poll::Ready(None);
                }
                if let Some(event) = self.poll_sets(cx) {
                    return Poll::Ready(Some(event));
                }
                if signal.take() {
                    return Poll::Ready(Some(Event::Signal));
                }
                match &mut timer {
                    Some(timer) => timer.as_mut().poll(cx).map(|()| Some(Event::Due)),
                    None => Poll::Pending,
                }
            });
            let Some(event) = event.await else { return };
            let Some(set) = set.upgrade() else { return };
            let mut endpoints = None;
            match event {
                Event::Endpoints(new) => endpoints = Some(new),
                Event::SourceEnded => {
                    tracing::debug!("discovery has ended; the last endpoints stay in use");
                    self.sets = None;
                }
                Event::Signal | Event::Due => {}
            }
            if let Some(endpoints) = endpoints {
                self.apply(&set, &endpoints);
            }
            self.bury(std::mem::take(&mut *lock(&set.dead)));
            let next = self.publish(&set);
            timer = next.map(sleep_until);
            drop(set);
            // Changes that never cease must not keep a worker thread.
            tokio::task::yield_now().await;
        }
    }

    /// Goes on with the members of the last run, if the runtime of that has ended. They keep what
    /// is known of them, and are connected in this one.
    fn resume<P: Strategy>(&mut self, set: &Arc<Set<S, P>>) -> Option<Instant> {
        let last = set.snapshot.load_full();
        // So that no connection of this run is taken for one of the last.
        let numbers = last.services.iter().map(|connected| connected.number);
        self.number = numbers.max().unwrap_or(0);
        for member in last.all.iter() {
            let entry = self.enter(member.clone());
            self.entries.push(entry);
        }
        self.collect_services();
        self.publish(set)
    }

    fn poll_sets(&mut self, cx: &mut Context<'_>) -> Option<Event> {
        /// Sets taken together at most.
        const TOGETHER: usize = 64;
        let sets = self.sets.as_mut()?;
        let mut last = None;
        for _ in 0..TOGETHER {
            match sets.as_mut().poll_next(cx) {
                Poll::Ready(Some(set)) => last = Some(Event::Endpoints(set)),
                Poll::Ready(None) => return last.or(Some(Event::SourceEnded)),
                Poll::Pending => break,
            }
        }
        last
    }

    /// Takes over a set: connects who is new, lets go who is gone, keeps the rest.
    fn apply<P: Strategy>(&mut self, set: &Set<S, P>, endpoints: &EndpointSet) {
        let mut before: BTreeMap<Arc<str>, Entry<S>> = std::mem::take(&mut self.entries)
            .into_iter()
            .map(|entry| (entry.member.identity().clone(), entry))
            .collect();
        for endpoint in endpoints.iter() {
            let same_address = |member: &Member| member.endpoint().address() == endpoint.address();
            let entry = match before.remove(endpoint.identity()) {
                Some(entry) if same_address(&entry.member) => {
                    entry.member.update(endpoint.clone());
                    entry
                }
                _ => self.enter(Member::in_set(endpoint.clone(), set.signal.clone())),
            };
            self.entries.push(entry);
        }
        self.collect_services();
        tracing::debug!(revision = endpoints.revision(), endpoints = endpoints.len(), "endpoints");
    }

    fn enter(&mut self, member: Arc<Member>) -> Entry<S> {
        let connected = self.connect(&member);
        let dead = member.veto(Reason::Ejected);
        let mut entry = Entry {
            member,
            connected,
            connected_at: time::now(),
            dead,
            deaths: 0,
            connect_at: None,
        };
        if entry.connected.is_none() {
            entry.bury(time::now());
        }
        entry
    }

    /// `None` if the connector panicked: that is the trouble of this member alone.
    fn connect(&mut self, member: &Arc<Member>) -> Option<Connected<S>> {
        self.number += 1;
        match catch_unwind(AssertUnwindSafe(|| self.connect.connect(member))) {
            Ok(service) => {
                member.set_client(self.connect.is_known_client());
                Some(Connected { service, number: self.number })
            }
            Err(_) => {
                tracing::error!(endpoint = member.key(), "the connector panicked");
                None
            }
        }
    }

    fn collect_services(&mut self) {
        let connected = self.entries.iter().map(|entry| entry.connected.clone());
        let mut next = 0..;
        self.slots.clear();
        self.services = connected
            .inspect(|connected| {
                let slot = connected.as_ref().and_then(|_| next.next());
                self.slots.push(slot);
            })
            .flatten()
            .collect();
    }

    /// Bars members whose service died, and sets when to connect them anew.
    fn bury(&mut self, dead: Vec<Dead>) {
        let now = time::now();
        for Dead { member, number } in dead {
            let found = self.entries.iter_mut().find(|entry| Arc::ptr_eq(&entry.member, &member));
            let is_current = |connected: &Connected<S>| connected.number == number;
            if let Some(entry) = found.filter(|e| e.connected.as_ref().is_some_and(is_current)) {
                if entry.connect_at.is_none() {
                    entry.bury(now);
                }
            }
        }
    }

    /// Connects anew whoever is due, and tells when the next one is.
    fn connect_due(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let mut changed = false;
        for index in 0..self.entries.len() {
            let Some(at) = self.entries[index].connect_at else {
                continue;
            };
            if at > now {
                next = earlier(next, Some(at));
                continue;
            }
            let member = self.entries[index].member.clone();
            let connected = self.connect(&member);
            let entry = &mut self.entries[index];
            (entry.connected_at, entry.connect_at) = (now, None);
            if connected.is_some() {
                entry.connected = connected;
                entry.dead.clear();
                changed = true;
            } else {
                entry.bury(now);
                next = earlier(next, entry.connect_at);
            }
        }
        if changed {
            self.collect_services();
        }
        next
    }

    /// Makes the next snapshot, and tells when there is something to do without a signal.
    fn publish<P: Strategy>(&mut self, set: &Arc<Set<S, P>>) -> Option<Instant> {
        let now = time::now();
        let mut next = earlier(self.connect_due(now), set.signal.clear_due(now));
        // All that was changed up to here is in what follows; but not who died since the dead
        // were buried.
        set.signal.take();
        if !lock(&set.dead).is_empty() {
            set.signal.notify();
        }

        let standings: Vec<_> = self
            .entries
            .iter()
            .map(|Entry { member, connected, .. }| Standing {
                // Not even in a panic: there is nothing to call.
                word: match connected {
                    Some(_) => member.word(),
                    None => member.word() | Reason::Disabled.bits(),
                },
                tier: member.tier(),
                weight: member.weight(),
            })
            .collect();
        let selection = select(&standings, set.config.panic_threshold);
        let before = set.snapshot.load();
        let all: Arc<[Arc<Member>]> =
            self.entries.iter().map(|entry| entry.member.clone()).collect();
        let members: Box<[Arc<Member>]> =
            selection.candidates.iter().map(|&index| all[index as usize].clone()).collect();
        let slot = |index: u32| self.slots[index as usize];
        let reserve = selection.reserve.iter();
        let reserve =
            reserve.filter_map(|&index| Some((all[index as usize].clone(), slot(index)?)));
        let reserve = reserve.collect();
        let table = set.strategy.table(&members, Some(&before.table));
        let retry_at = match selection.verdict {
            Kind::CircuitOpen => set.signal.earliest(Reason::CircuitOpen),
            _ => None,
        };
        let is_empty = members.is_empty();
        if selection.panic && before.bars == u64::MAX {
            tracing::warn!(
                members = members.len(),
                "most endpoints are unhealthy: health is ignored"
            );
        }
        let snapshot = Snapshot {
            version: before.version + 1,
            members,
            index: selection.candidates.iter().filter_map(|&index| slot(index)).collect(),
            reserve,
            services: self.services.clone(),
            all,
            table,
            bars: if selection.panic { !Reason::OVERLOOKED_IN_PANIC } else { u64::MAX },
            verdict: Verdict { kind: selection.verdict, retry_at },
        };
        drop(before);
        set.snapshot.store(Arc::new(snapshot));

        if is_empty {
            let since = *self.down_since.get_or_insert(now);
            let end = time::later(since, set.config.fail_fast_after);
            if now >= end {
                set.set_status(Status::FailFast);
            } else {
                set.set_status(Status::Waiting);
                next = earlier(next, Some(end));
            }
        } else {
            self.down_since = None;
            set.set_status(Status::Up);
        }
        set.waiting.wake_all();
        next
    }
}

impl<S> Entry<S> {
    /// Bars the member until it is connected anew.
    fn bury(&mut self, now: Instant) {
        if now.saturating_duration_since(self.connected_at) >= LONGEST_WAIT {
            self.deaths = 0;
        }
        let wait = wait_after(self.deaths).mul_f64(0.5 + 0.5 * random_fraction());
        self.deaths = self.deaths.saturating_add(1);
        self.connect_at = Some(time::later(now, wait));
        self.dead.raise();
        let endpoint = self.member.key();
        tracing::debug!(endpoint, ?wait, "service is dead; connecting anew");
    }
}

fn sleep_until(at: Instant) -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep_until(at))
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn wait_after(deaths: u32) -> Duration {
    match deaths {
        0 => Duration::ZERO,
        _ => FIRST_WAIT.saturating_mul(1 << (deaths - 1).min(16)).min(LONGEST_WAIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_at_once_then_longer_and_longer() {
        let waits: Vec<_> = (0..5).map(|deaths| wait_after(deaths).as_millis()).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800]);
        assert_eq!(wait_after(u32::MAX), LONGEST_WAIT);
    }
}
