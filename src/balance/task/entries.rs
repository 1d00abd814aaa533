//! The members of a set, and the service of each: which are new, which are gone, and those with a dead service.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
    time::Duration,
};

use super::super::{
    config::BalanceConfig,
    memory::Follows,
    select::Candidacy,
    snapshot::{Connected, OnProbation, Services, Snapshot},
    standing::{Follow, Judge},
};
use crate::{
    backoff::{Backoff, Jitter},
    connect::Connect,
    discover::EndpointSet,
    member::{Member, Reason, Signal, Veto},
    sync::random_fraction,
    telemetry::{EventKind, Reporter},
    time::{self, Instant},
};

/// Waits between connecting a service again that dies, from the second time on.
pub(super) const RECONNECT: Backoff = Backoff {
    first: Duration::from_millis(100),
    multiplier: 2.0,
    max: Duration::from_secs(10),
    jitter: Jitter::Equal,
};

pub(super) struct Entries<C, S> {
    connect: Arc<C>,
    /// What rules count time from.
    start: Instant,
    pub(super) reporter: Reporter,
    /// Ordered by key.
    list: Vec<Entry<S>>,
    /// The members of all entries, and the service of each, for the snapshots to share.
    all: Arc<[Arc<Member>]>,
    services: Services<S>,
    /// What keeps these alive, for the set.
    connected: Arc<[Arc<Connected<S>>]>,
}

pub(super) struct Entry<S> {
    pub(super) member: Arc<Member>,
    pub(super) follow: Follow,
    /// `None` if its connector panicked.
    connected: Option<Arc<Connected<S>>>,
    connected_at: Instant,
    /// Bars the member while its service is dead.
    dead: Veto,
    deaths: u32,
    connect_at: Option<Instant>,
}

impl<C, S> Entries<C, S> {
    pub(super) fn new(connect: Arc<C>, reporter: Reporter, start: Instant) -> Self {
        let (all, services, connected) = (Arc::new([]), Arc::new([]), Arc::new([]));
        Self { connect, start, reporter, list: Vec::new(), all, services, connected }
    }

    pub(super) fn judge(&self, config: &BalanceConfig, signal: &Arc<Signal>) -> Judge {
        Judge::new(config, self.start, signal)
    }

    /// Lets go of all members, and tells how they stand.
    pub(super) fn leave(&mut self) -> Follows {
        let follow = |entry: Entry<S>| (entry.member.identity().clone(), entry.follow);
        self.list.drain(..).map(follow).collect()
    }

    pub(super) fn list(&self) -> &[Entry<S>] {
        &self.list
    }

    pub(super) fn list_mut(&mut self) -> &mut [Entry<S>] {
        &mut self.list
    }

    pub(super) fn members(&self) -> impl ExactSizeIterator<Item = &Arc<Member>> {
        self.list.iter().map(|entry| &entry.member)
    }

    pub(super) fn all(&self) -> &Arc<[Arc<Member>]> {
        &self.all
    }

    /// One for each of `all`. That of a member which has none, or is on probation, is gone from the start.
    pub(super) fn open_services(&self) -> Services<S> {
        let is_open = |entry: &Entry<S>| entry.follow.probation().is_none();
        if self.list.iter().all(is_open) {
            return self.services.clone();
        }
        let services = self.list.iter().zip(&*self.services);
        services
            .map(|(entry, service)| if is_open(entry) { service.clone() } else { Weak::new() })
            .collect()
    }

    /// Those of `indices` that are on probation.
    pub(super) fn on_probation(
        &self,
        indices: impl Iterator<Item = usize>,
    ) -> Box<[OnProbation<S>]> {
        let on_probation = |index: usize| {
            let probation = self.list.get(index)?.follow.probation()?.clone();
            Some((probation, self.services.get(index)?.clone()))
        };
        indices.filter_map(on_probation).collect()
    }

    pub(super) fn remember(&mut self, was_good: &[bool]) {
        let entries = self.list.iter_mut().zip(was_good);
        entries.for_each(|(entry, &was_good)| entry.follow.was_good = was_good);
    }

    pub(super) fn connected(&self) -> &Arc<[Arc<Connected<S>>]> {
        &self.connected
    }

    pub(super) fn candidacies(&self) -> Vec<Candidacy> {
        let of = |Entry { member, connected, follow, .. }: &Entry<S>| Candidacy {
            // Not even in a panic: there is nothing to call.
            word: match connected {
                Some(_) => member.word(),
                None => member.word() | Reason::Disabled.bits(),
            },
            tier: member.tier(),
            weight: member.weight(),
            was_good: follow.was_good,
        };
        self.list.iter().map(of).collect()
    }

    /// Bars members whose service died, and sets when to connect them again.
    pub(super) fn bury(&mut self, dead: Vec<Arc<Connected<S>>>) {
        let now = time::now();
        for dead in dead {
            let is_current = |connected: &Arc<Connected<S>>| Arc::ptr_eq(connected, &dead);
            let mut entries = self.list.iter_mut();
            let found = entries.find(|entry| entry.connected.as_ref().is_some_and(is_current));
            if let Some(entry) = found {
                if entry.connect_at.is_none() {
                    entry.bury(now, &self.reporter);
                }
            }
        }
    }
}

impl<C: Connect<Service = S>, S: Clone> Entries<C, S> {
    /// Goes on with the members of a snapshot. They keep what is known of them, and are connected again.
    pub(super) fn resume<T>(&mut self, last: &Snapshot<S, T>, mut stood: Follows, judge: &Judge) {
        for member in last.all.iter() {
            let follow = stood.remove(member.identity());
            let follow = follow.filter(|of| Arc::ptr_eq(of.member(), member));
            let entry = self.enter(member.clone(), follow, judge);
            self.list.push(entry);
        }
        self.collect();
    }

    /// Takes over a set: connects those that are new, keeps the rest, and returns those that are gone.
    pub(super) fn apply(
        &mut self,
        endpoints: &EndpointSet,
        signal: &Arc<Signal>,
        judge: &Judge,
    ) -> Vec<Arc<Member>> {
        let mut before: BTreeMap<Arc<str>, Entry<S>> = std::mem::take(&mut self.list)
            .into_iter()
            .map(|entry| (entry.member.identity().clone(), entry))
            .collect();
        let mut left = Vec::new();
        for endpoint in endpoints.iter() {
            let entry = match before.remove(endpoint.identity()) {
                Some(entry) if entry.member.endpoint().address() == endpoint.address() => {
                    entry.member.update(endpoint.clone());
                    entry
                }
                moved => {
                    left.extend(moved.map(|entry| entry.member));
                    self.enter(Member::in_set(endpoint.clone(), signal.clone()), None, judge)
                }
            };
            self.list.push(entry);
        }
        left.extend(before.into_values().map(|entry| entry.member));
        self.collect();
        tracing::debug!(revision = endpoints.revision(), endpoints = endpoints.len(), "endpoints");
        left
    }

    /// Connects whoever is due again, and tells when the next one is.
    pub(super) fn connect_due(&mut self, now: Instant) -> Option<Instant> {
        let mut changed = false;
        for index in 0..self.list.len() {
            if self.list[index].connect_at.is_none_or(|at| at > now) {
                continue;
            }
            let member = self.list[index].member.clone();
            let connected = self.connect(&member);
            let entry = &mut self.list[index];
            (entry.connected_at, entry.connect_at) = (now, None);
            if connected.is_some() {
                entry.connected = connected;
                entry.dead.clear();
                changed = true;
            } else {
                entry.bury(now, &self.reporter);
            }
        }
        if changed {
            self.collect();
        }
        self.list.iter().filter_map(|entry| entry.connect_at).min()
    }

    fn enter(&mut self, member: Arc<Member>, follow: Option<Follow>, judge: &Judge) -> Entry<S> {
        let connected = self.connect(&member);
        let dead = member.veto(Reason::Ejected);
        let now = judge.now;
        let follow = follow.unwrap_or_else(|| Follow::new(&member, judge));
        let connect_at = None;
        let mut entry =
            Entry { member, follow, connected, connected_at: now, dead, deaths: 0, connect_at };
        if entry.connected.is_none() {
            entry.bury(now, &self.reporter);
        }
        entry
    }

    /// `None` if the connector panicked: that is the trouble of this member alone.
    fn connect(&mut self, member: &Arc<Member>) -> Option<Arc<Connected<S>>> {
        match catch_unwind(AssertUnwindSafe(|| self.connect.connect(member))) {
            Ok(service) => {
                member.set_client(self.connect.is_known_client());
                Some(Connected::new(member.clone(), service))
            }
            Err(_) => {
                tracing::error!(endpoint = member.key(), "the connector panicked");
                None
            }
        }
    }

    fn collect(&mut self) {
        let service = |entry: &Entry<S>| entry.connected.as_ref().map(Arc::downgrade);
        self.all = self.members().cloned().collect();
        self.services = self.list.iter().map(|entry| service(entry).unwrap_or_default()).collect();
        self.connected = self.list.iter().filter_map(|entry| entry.connected.clone()).collect();
    }
}

impl<S> Entry<S> {
    /// Bars the member until it is connected again.
    fn bury(&mut self, now: Instant, reporter: &Reporter) {
        if now.saturating_duration_since(self.connected_at) >= RECONNECT.max {
            self.deaths = 0;
        }
        let wait = match self.deaths {
            0 => Duration::ZERO,
            deaths => RECONNECT.wait(deaths, None, random_fraction()),
        };
        self.deaths = self.deaths.saturating_add(1);
        let at = time::later(now, wait);
        self.connect_at = Some(at);
        self.dead.raise_until(at);
        tracing::debug!(endpoint = self.member.key(), ?wait, "service is dead; connecting again");
        let key = Some(self.member.shared_key());
        reporter.emit(key, || EventKind::Reconnect { delay: wait });
    }
}
