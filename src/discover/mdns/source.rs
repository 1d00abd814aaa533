use std::{
    fmt,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use futures_util::{
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt},
};
use tokio::sync::watch;

use super::{
    super::{
        set::EndpointSet,
        watch::{Observation, Source},
    },
    board::together,
    check::{self, Check},
    daemon::{Daemon, Daemons},
    gather::{Gather, Step, View},
    kind::ServiceType,
    search::Search,
    trust::Trust,
};
use crate::{
    endpoint::Endpoint,
    error::{BoxError, Error, Kind},
    sync::{lock, random_fraction},
    time::{self, Instant},
};

/// Instances in the local network, as a [`Source`]. Made by [`Mdns::service`](super::Mdns::service).
pub struct MdnsService {
    daemons: Arc<Daemons>,
    /// `None`: of all services.
    name: Option<String>,
    kinds: Vec<ServiceType>,
    /// Whether instances of other services have the same type.
    is_shared: bool,
    check: Option<Check>,
    trust: Mutex<Trust>,
    has_told: AtomicBool,
}

/// How one watch looks for instances.
#[derive(Default)]
#[allow(unnameable_types, reason = "what a source remembers is for the source alone")]
pub struct MdnsState {
    watching: Option<Watching>,
}

struct Watching {
    daemon: Arc<Daemon>,
    news: watch::Receiver<()>,
    searches: Vec<Search>,
    gather: Gather,
    checks: FuturesUnordered<BoxFuture<'static, (Arc<Endpoint>, bool)>>,
    began: Instant,
}

impl MdnsService {
    pub(super) fn new(
        daemons: Arc<Daemons>,
        name: Option<String>,
        kinds: Vec<ServiceType>,
        is_shared: bool,
        check: Option<Check>,
    ) -> Self {
        let (trust, has_told) = Default::default();
        Self { daemons, name, kinds, is_shared, check, trust, has_told }
    }

    /// Looks for the whole time before it tells anything.
    pub(super) fn thorough(self) -> Self {
        Self { has_told: AtomicBool::new(true), ..self }
    }

    /// Returns the name of the service, or `None` for all services of some types.
    pub fn service(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn begin(&self, now: Instant) -> Result<Watching, Error> {
        lock(&self.trust).stopped(now);
        let daemon = self.daemons.get()?;
        let searches = self.kinds.iter().map(|kind| Search::new(kind, now));
        let timeout = self.daemons.config.browse_timeout;
        // Only to tell whether there was one: no order is needed.
        let is_anew = self.has_told.load(Ordering::Relaxed);
        Ok(Watching {
            news: daemon.news(),
            searches: searches.collect(),
            gather: Gather::new(now, timeout, is_anew),
            checks: FuturesUnordered::new(),
            began: now,
            daemon,
        })
    }

    fn is_wanted(&self, endpoint: &Endpoint) -> bool {
        match &self.name {
            Some(name) if self.is_shared => {
                let told = endpoint.metadata().get("name");
                told.is_some_and(|told| told.eq_ignore_ascii_case(name))
            }
            _ => true,
        }
    }

    /// All that were found, each once.
    fn found(&self, watching: &mut Watching, now: Instant) -> Result<Vec<Arc<Endpoint>>, Error> {
        let config = &self.daemons.config;
        let mut failed = None;
        for search in &mut watching.searches {
            if let Err(error) = search.follow(&watching.daemon, config.browse_timeout, now) {
                failed.get_or_insert(error);
            }
        }
        match failed {
            // Otherwise it is only some types that fail.
            Some(error) if !watching.searches.iter().any(Search::is_on) => Err(error),
            _ => {
                let all = watching.searches.iter().flat_map(Search::found);
                Ok(together(all, |of| self.is_wanted(of), config.max_instances))
            }
        }
    }

    /// Those of `found` that may be used, and whether all were checked. Begins the checks that are due.
    fn trusted(
        &self,
        watching: &mut Watching,
        found: Vec<Arc<Endpoint>>,
        now: Instant,
    ) -> (Vec<Arc<Endpoint>>, bool) {
        let Some(check) = &self.check else { return (found, true) };
        let mut trust = lock(&self.trust);
        trust.seen(&found, watching.gather.is_complete(now), now);
        for endpoint in trust.begin(&found, now) {
            watching.checks.push(Box::pin(check::run(check.clone(), endpoint)));
        }
        let is_checked = trust.knows_all(&found);
        let usable = found.iter().filter_map(|endpoint| match trust.has_passed(endpoint) {
            true => Some(endpoint.clone()),
            // One that has moved stays where it was until it is known to be there.
            false => watching.gather.told(endpoint.key()),
        });
        (usable.collect(), is_checked)
    }

    /// What to tell, or until when there is nothing.
    fn look(
        &self,
        watching: &mut Watching,
        now: Instant,
    ) -> Result<Result<Observation, Option<Instant>>, Error> {
        let found = self.found(watching, now)?;
        let (own, lost, is_over) =
            watching.daemon.heard.look(|board| (board.own.len(), board.lost, board.is_over));
        if is_over {
            return Err(Error::not_sent(Kind::Connection).message("mDNS: the daemon has ended"));
        }
        let until = time::later(watching.began, self.daemons.config.browse_timeout);
        if own == 0 {
            // It takes a moment to know them.
            if now < until && !watching.gather.has_told() {
                return Ok(Err(Some(until)));
            }
            let interfaces = &self.daemons.config.interfaces;
            let text = format!("mDNS: no interface can be used; asked for: {interfaces:?}");
            return Err(Error::not_sent(Kind::Connection).message(text));
        }
        let (set, is_checked) = self.trusted(watching, found, now);
        let searches = watching.searches.iter();
        let changed_at = searches.clone().map(|of| of.changed_at).max().unwrap_or(now);
        let removals = searches.clone().map(Search::removals).sum();
        let lost = lost + searches.map(|of| of.breaks).sum::<u64>();
        let view = View { set: set.clone(), is_checked, changed_at, removals, lost };
        Ok(match watching.gather.step(view, now) {
            Step::Tell { is_certain } => {
                // As for `begin`.
                self.has_told.store(true, Ordering::Relaxed);
                let observation = Observation::of(EndpointSet::new(set, "mdns")?);
                Ok(if is_certain { observation.certain() } else { observation })
            }
            Step::Wait(until) => {
                let checks = lock(&self.trust).next_due().filter(|_| self.check.is_some());
                let timeout = self.daemons.config.browse_timeout;
                let searches = watching.searches.iter();
                let searches = searches.filter_map(|of| of.due(timeout, now)).min();
                Err(time::earlier(time::earlier(until, checks), searches))
            }
        })
    }
}

impl MdnsService {
    /// The next news.
    async fn next(&self, watching: &mut Watching) -> Result<Observation, Error> {
        loop {
            watching.news.mark_unchanged();
            match self.look(watching, time::now())? {
                Ok(observation) => return Ok(observation),
                Err(due) => {
                    if let Some((endpoint, passed)) = watching.wait(due).await {
                        let now = time::now();
                        lock(&self.trust).ended(&endpoint, passed, random_fraction(), now);
                    }
                }
            }
        }
    }
}

impl Watching {
    /// Waits until something was heard, a check has ended, or it is due. Tells what a check has shown.
    async fn wait(&mut self, due: Option<Instant>) -> Option<(Arc<Endpoint>, bool)> {
        let mut changed = pin!(self.news.changed());
        let mut timer = pin!(due.map(tokio::time::sleep_until));
        let checks = &mut self.checks;
        poll_fn(|cx| {
            if let Poll::Ready(Some(ended)) = checks.poll_next_unpin(cx) {
                return Poll::Ready(Some(ended));
            }
            let is_due = timer.as_mut().as_pin_mut().is_some_and(|of| of.poll(cx).is_ready());
            match is_due || changed.as_mut().poll(cx).is_ready() {
                true => Poll::Ready(None),
                false => Poll::Pending,
            }
        })
        .await
    }
}

impl Source for MdnsService {
    type State = MdnsState;

    fn name(&self) -> String {
        match &self.name {
            Some(name) => format!("service `{name}` in mDNS"),
            None => {
                let kinds: Vec<_> = self.kinds.iter().map(ServiceType::short).collect();
                format!("services in mDNS: {}", kinds.join(", "))
            }
        }
    }

    async fn observe(&self, state: &mut MdnsState) -> Result<Observation, BoxError> {
        let watching = match &mut state.watching {
            Some(watching) => watching,
            none => none.insert(self.begin(time::now())?),
        };
        let told = self.next(watching).await;
        if told.is_err() {
            // Of what was heard before, nothing may be true any more.
            state.watching = None;
        }
        Ok(told?)
    }
}

impl fmt::Debug for MdnsService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MdnsService")
            .field("name", &self.name)
            .field("kinds", &self.kinds)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MdnsState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MdnsState").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
