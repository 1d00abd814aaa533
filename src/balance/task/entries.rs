//! The members of a set, and the service of each: which are new, which are gone, and which to look at.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{
    super::{
        config::BalanceConfig,
        group::{Connected, OnProbation, Services},
        memory::Follows,
        outlier::OutlierConfig,
        select::Candidacy,
        snapshot::Snapshot,
        standing::{Follow, Judge},
    },
    entry::Entry,
    lists::{Lists, NEW},
};
use crate::{
    connect::Connect,
    discover::{Change, EndpointSet, changes},
    endpoint::Endpoint,
    member::{Member, Signal},
    rules::HealthRule,
    telemetry::Reporter,
    time::{self, Instant},
};

/// Members that are well, and that nothing is new of, cost nothing here.
pub(super) struct Entries<C, S> {
    connect: Arc<C>,
    /// What rules count time from.
    start: Instant,
    pub(super) reporter: Reporter,
    /// What discovery said last, one for each of `list`.
    endpoints: Vec<Arc<Endpoint>>,
    /// Ordered by identity.
    #[allow(
        clippy::vec_box,
        reason = "a change of the set moves what comes after it, so it shall be small"
    )]
    list: Vec<Box<Entry<S>>>,
    /// One for each of `list`, as of when it was looked at.
    candidacies: Vec<Candidacy>,
    lists: Lists<S>,
    /// Those that time changes, by identity.
    due: BTreeMap<Arc<str>, Instant>,
    /// Those on probation, by identity.
    on_probation: BTreeSet<Arc<str>>,
    /// By what all were looked at.
    judged_by: Option<(OutlierConfig, HealthRule)>,
    /// Services that the last snapshot may still have, and the next one has not.
    gone: Vec<Arc<Connected<S>>>,
}

impl<C, S> Entries<C, S> {
    pub(super) fn new(connect: Arc<C>, reporter: Reporter, start: Instant) -> Self {
        Self {
            connect,
            start,
            reporter,
            endpoints: Vec::new(),
            list: Vec::new(),
            candidacies: Vec::new(),
            lists: Lists::default(),
            due: BTreeMap::new(),
            on_probation: BTreeSet::new(),
            judged_by: None,
            gone: Vec::new(),
        }
    }

    pub(super) fn judge(&self, config: &BalanceConfig) -> Judge {
        Judge::new(config, self.start)
    }

    /// Lets go of all members, and tells how they stand and which services they have.
    pub(super) fn leave(&mut self) -> (Follows, Vec<Arc<Connected<S>>>) {
        let (mut follows, mut services) = (Follows::new(), mem::take(&mut self.gone));
        for (entry, candidacy) in self.list.drain(..).zip(&self.candidacies) {
            let (member, mut follow, connected) = entry.leave();
            follow.was_good = candidacy.was_good;
            follows.insert(member.identity().clone(), follow);
            services.extend(connected);
        }
        (follows, services)
    }

    pub(super) fn list(&self) -> &[Box<Entry<S>>] {
        &self.list
    }

    pub(super) fn list_mut(&mut self) -> &mut [Box<Entry<S>>] {
        &mut self.list
    }

    pub(super) fn all(&self) -> &Arc<[Arc<Member>]> {
        &self.lists.members
    }

    /// One for each of `all`. That of a member which has none, or is on probation, is gone from the start.
    pub(super) fn open_services(&self) -> &Services<S> {
        &self.lists.services
    }

    /// Those of `indices` that are on probation.
    pub(super) fn on_probation(
        &self,
        indices: impl Iterator<Item = usize>,
    ) -> Box<[OnProbation<S>]> {
        let on_probation = self.indices_on_probation();
        if on_probation.is_empty() {
            return Box::default();
        }
        let of = |index: usize| {
            let entry = self.list.get(index)?;
            Some((entry.follow.probation()?.clone(), entry.service()))
        };
        indices.filter(|index| on_probation.contains(index)).filter_map(of).collect()
    }

    pub(super) fn indices_on_probation(&self) -> BTreeSet<usize> {
        self.on_probation.iter().filter_map(|identity| self.position(identity)).collect()
    }

    pub(super) fn candidacies(&self) -> &[Candidacy] {
        &self.candidacies
    }

    pub(super) fn remember(&mut self, was_good: &[bool]) {
        let candidacies = self.candidacies.iter_mut().zip(was_good);
        candidacies.for_each(|(candidacy, &was_good)| candidacy.was_good = was_good);
    }

    /// Services that the snapshot has no longer, once there is a next one.
    pub(super) fn take_gone(&mut self) -> Vec<Arc<Connected<S>>> {
        mem::take(&mut self.gone)
    }

    /// Bars members whose service died, and sets when to connect them again.
    pub(super) fn bury(&mut self, dead: Vec<Arc<Connected<S>>>) {
        let now = time::now();
        for dead in dead {
            let found = self.position(dead.member.identity());
            let entry = found.and_then(|index| self.list.get_mut(index));
            if let Some(entry) = entry.filter(|entry| entry.is_connected(&dead)) {
                if entry.connect_at.is_none() {
                    entry.bury(now, &self.reporter);
                }
            }
        }
    }

    /// The indices of those to look at, in order: of which something is new, or that time changes by now. All, if
    /// they are to be judged by other rules.
    pub(super) fn take_changed(&mut self, signal: &Signal, judge: &Judge) -> Vec<usize> {
        /// With more than one of so many, to look for each takes longer than to look at all.
        const FEW: usize = 8;
        let mut noted = signal.take_noted();
        let due = self.due.iter().filter(|(_, at)| **at <= judge.now);
        noted.extend(due.map(|(identity, _)| identity.clone()));
        let judged_by = Some((judge.outlier, judge.rule));
        let are_others = mem::replace(&mut self.judged_by, judged_by) != judged_by;
        if are_others || noted.len() > self.list.len() / FEW {
            return (0..self.list.len()).collect();
        }
        let indices: BTreeSet<_> = noted.iter().filter_map(|of| self.position(of)).collect();
        indices.into_iter().collect()
    }

    /// Notes how it stands, after it was looked at, and when time changes that. Tells whether its service is
    /// another for that.
    pub(super) fn looked_at(&mut self, index: usize, due: Option<Instant>) -> bool {
        let Some(entry) = self.list.get(index) else { return false };
        if let Some(candidacy) = self.candidacies.get_mut(index) {
            *candidacy = entry.candidacy(candidacy.was_good);
        }
        let identity = entry.member.identity();
        match due {
            Some(at) => drop(self.due.insert(identity.clone(), at)),
            None => drop(self.due.remove(identity)),
        }
        match entry.follow.probation() {
            Some(_) => self.on_probation.insert(identity.clone()),
            None => self.on_probation.remove(identity),
        }
    }

    /// When time changes the next one.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }

    /// The services of those at `indices` are others than before.
    pub(super) fn renew_services(&mut self, indices: &[usize]) {
        let mut before: Vec<_> = (0..self.list.len()).collect();
        for &index in indices {
            if let Some(at) = before.get_mut(index) {
                *at = NEW;
            }
        }
        self.lists.renew_services(&self.list, &before);
    }

    fn position(&self, identity: &str) -> Option<usize> {
        self.list.binary_search_by(|entry| (**entry.member.identity()).cmp(identity)).ok()
    }
}

impl<C: Connect<Service = S>, S: Clone> Entries<C, S> {
    /// Goes on with the members of a snapshot. They keep what is known of them, and are connected again.
    pub(super) fn resume<T>(&mut self, last: &Snapshot<S, T>, mut stood: Follows, judge: &Judge) {
        self.endpoints = last.all.iter().map(|member| member.endpoint()).collect();
        for member in last.all.iter() {
            let follow = stood.remove(member.identity());
            let follow = follow.filter(|of| Arc::ptr_eq(of.member(), member));
            self.enter(member, follow, judge);
        }
        self.lists.renew(&self.list, &vec![NEW; self.list.len()]);
    }

    /// Takes over a set: connects those that are new, keeps the rest, and returns those that are gone.
    pub(super) fn apply(
        &mut self,
        endpoints: &EndpointSet,
        signal: &Arc<Signal>,
        judge: &Judge,
    ) -> Vec<Arc<Member>> {
        let changes: Vec<_> = changes(&self.endpoints, endpoints).collect();
        tracing::debug!(
            revision = endpoints.revision(),
            endpoints = endpoints.len(),
            changes = changes.len(),
            "endpoints"
        );
        for change in &changes {
            if let &Change::Update(at, endpoint) = change {
                if let (Some(entry), Some(of)) = (self.list.get(at), self.endpoints.get_mut(at)) {
                    of.clone_from(endpoint);
                    entry.member.update(endpoint.clone());
                    entry.member.note(false);
                }
            }
        }
        let is_update = |change: &Change<'_>| matches!(change, Change::Update(..));
        if changes.iter().all(is_update) {
            return Vec::new();
        }
        let mut was = mem::take(&mut self.list).into_iter();
        let mut said = mem::take(&mut self.endpoints).into_iter();
        let candidacies = mem::take(&mut self.candidacies);
        let (mut at, mut left) = (0, Vec::new());
        let mut from = Vec::with_capacity(endpoints.len());
        // One more, for those after the last.
        for change in changes.iter().filter(|of| !is_update(of)).map(Some).chain([None]) {
            let until = change.map_or(candidacies.len(), Change::at);
            self.list.extend(was.by_ref().take(until - at));
            self.endpoints.extend(said.by_ref().take(until - at));
            self.candidacies.extend_from_slice(candidacies.get(at..until).unwrap_or_default());
            from.extend(at..until);
            at = until;
            if let Some(Change::Remove(_) | Change::Move(..)) = change {
                left.extend(was.next().map(|entry| self.part(*entry)));
                said.next();
                at += 1;
            }
            if let Some(Change::Insert(_, endpoint) | Change::Move(_, endpoint)) = change {
                from.push(NEW);
                self.endpoints.push(Arc::clone(endpoint));
                let member = Member::in_set(Arc::clone(endpoint), signal.clone());
                self.enter(&member, None, judge);
            }
        }
        self.lists.renew(&self.list, &from);
        left
    }

    fn part(&mut self, entry: Entry<S>) -> Arc<Member> {
        let (member, _, connected) = entry.leave();
        self.due.remove(member.identity());
        self.on_probation.remove(member.identity());
        self.gone.extend(connected);
        member
    }

    /// Connects a member again, whose service died, and tells whether it has one now.
    pub(super) fn connect_again(&mut self, index: usize, now: Instant) -> bool {
        let Some(member) = self.list.get(index).map(|entry| entry.member.clone()) else {
            return false;
        };
        let connected = self.connect(&member);
        let is_connected = connected.is_some();
        if let Some(entry) = self.list.get_mut(index) {
            self.gone.extend(entry.connected_again(connected, now, &self.reporter));
        }
        is_connected
    }

    /// Connects a member, and puts it after those that there are.
    fn enter(&mut self, member: &Arc<Member>, follow: Option<Follow>, judge: &Judge) {
        let connected = self.connect(member);
        let follow = follow.unwrap_or_else(|| Follow::new(member, judge));
        let was_good = follow.was_good;
        let entry = Entry::new(follow, connected, judge.now, &self.reporter);
        member.note(false);
        self.candidacies.push(entry.candidacy(was_good));
        self.list.push(entry);
    }

    /// `None` if the connector panicked: that is the trouble of this member alone.
    fn connect(&self, member: &Arc<Member>) -> Option<Arc<Connected<S>>> {
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
}
