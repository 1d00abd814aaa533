use std::{collections::HashMap, fmt, net::IpAddr, ops::ControlFlow, sync::Arc, time::Duration};

use futures_util::{
    future::join,
    stream::{self, StreamExt},
};
use hickory_resolver::{
    TokioResolver,
    config::{ResolverConfig, ResolverOpts},
    name_server::TokioConnectionProvider,
    proto::rr::{Name, RData, RecordType, rdata::SRV},
};
use tokio::time::timeout_at;

use super::{
    super::{
        set::EndpointSet,
        watch::{Observation, Source},
    },
    ask::{Answer, ask, ask_service},
    config::{DnsConfig, IpFamily},
    name::ServiceName,
    records::{Target, endpoints},
    search::{Heard, names},
};
use crate::{
    error::{BoxError, Error, Kind},
    time::{self, Instant},
};

/// What all services of a resolver have in common.
pub(super) struct Settings {
    pub(super) servers: Servers,
    pub(super) config: DnsConfig,
}

/// Which servers to ask, and how.
pub(super) type Way = (ResolverConfig, ResolverOpts);

/// The name servers.
#[derive(Clone)]
pub(super) struct Servers {
    pub(super) known: Way,
    /// What they are now, if the system may have others since. Reads a file.
    pub(super) read: Option<fn() -> Option<Way>>,
}

impl Servers {
    /// Those there are now, or those that are known.
    async fn now(&self) -> Way {
        let read = match self.read {
            Some(read) => tokio::task::spawn_blocking(read).await.ok().flatten(),
            None => None,
        };
        read.unwrap_or_else(|| self.known.clone())
    }
}

/// A name in DNS, as a [`Source`]. Made by [`Dns::service`](super::Dns::service).
pub struct DnsService {
    name: ServiceName,
    settings: Arc<Settings>,
}

/// Most targets of a service.
const MAX_TARGETS: usize = 1_024;
/// Hosts that are resolved at once.
const PARALLEL: usize = 10;
/// When to ask again for what was not answered, beside what was.
const RETRY: Duration = Duration::from_secs(5);

/// What was found last.
#[derive(Debug, Default)]
#[allow(unnameable_types, reason = "what a source remembers is for the source alone")]
pub struct DnsState {
    /// Made inside the runtime that runs its tasks.
    resolver: Option<TokioResolver>,
    /// The name of the SRV records.
    service: Option<Name>,
    /// By host. Of those that do not answer any more, the others still do.
    known: HashMap<String, Known>,
}

/// What is known of a host.
#[derive(Debug, Clone, Default)]
struct Known {
    /// The name on the search path that has the addresses.
    name: Option<Name>,
    addresses: Vec<(RecordType, Vec<IpAddr>)>,
}

impl Known {
    fn of(&self, family: RecordType) -> Vec<IpAddr> {
        let known = self.addresses.iter().find(|(of, _)| *of == family);
        known.map(|(_, addresses)| addresses.clone()).unwrap_or_default()
    }
}

/// The name that has something, and what.
type Found<T> = (Option<Name>, T);
type Addresses = Vec<(RecordType, Answer<IpAddr>)>;

impl DnsService {
    pub(super) fn new(name: ServiceName, settings: Arc<Settings>) -> Self {
        Self { name, settings }
    }

    async fn resolver(&self) -> TokioResolver {
        let (config, mut options) = self.settings.servers.now().await;
        // A watch asks when it wants an answer, and the TTL tells it when that is.
        options.cache_size = 0;
        let provider = TokioConnectionProvider::default();
        TokioResolver::builder_with_config(config, provider).with_options(options).build()
    }

    /// The targets, and for how long they hold; `None`: the service says that it is not there.
    async fn targets(
        &self,
        state: &mut DnsState,
        until: Instant,
    ) -> Result<Option<(Vec<Target>, Duration)>, BoxError> {
        let late = || Error::not_sent(Kind::Timeout).message(self.name());
        let resolver = match &state.resolver {
            Some(resolver) => resolver.clone(),
            None => state.resolver.insert(self.resolver().await).clone(),
        };
        let (records, ttl) = match self.name.port {
            // As one record that leads to the host itself.
            Some(port) => (vec![(self.name.host.clone(), port, 0, 0)], Duration::MAX),
            None => {
                let answer = self.service(&resolver, state.service.as_ref());
                let answer = timeout_at(until, answer).await;
                let (name, Answer { records, ttl }) = answer.map_err(|_| late())??;
                state.service = name;
                if records.len() > MAX_TARGETS {
                    return Err(Error::not_sent(Kind::InvalidRequest)
                        .message(format!("more than {MAX_TARGETS} targets"))
                        .into());
                }
                // RFC 2782: "the service is decidedly not available at this domain".
                if matches!(&records[..], [of] if of.target().is_root()) {
                    return Ok(None);
                }
                let of =
                    |srv: SRV| (srv.target().to_ascii(), srv.port(), srv.priority(), srv.weight());
                (records.into_iter().map(of).collect(), ttl)
            }
        };
        let known = &state.known;
        let resolver = &resolver;
        // Those that are silent leave time for the ones behind them.
        let turns = if records.len() > PARALLEL { 3 } else { 1 };
        let limit = self.settings.config.timeout / turns;
        let found = stream::iter(records).map(|(host, port, priority, weight)| async move {
            let addresses = self.addresses(resolver, known.get(&host), &host);
            let found = timeout_at(until.min(time::later(time::now(), limit)), addresses).await;
            let found = found.unwrap_or_else(|_| Err(late().into()));
            (host, found, Target { port, priority, weight, addresses: Vec::new() })
        });
        let found: Vec<_> = found.buffer_unordered(PARALLEL).collect().await;
        let (mut targets, mut ttl, mut now_known) = (Vec::new(), ttl, HashMap::new());
        let (mut failed, mut failures) = (None, 0);
        for (host, found, mut target) in found {
            // One that is not answered is what it was, and costs no other.
            let (name, answers) = found.unwrap_or_else(|error| {
                tracing::debug!(host, %error, "one host is not answered; what is known of it stays in use");
                failed.get_or_insert(error);
                failures += 1;
                let Known { name, addresses } = known.get(&host).cloned().unwrap_or_default();
                let as_it_was = |(of, records)| (of, Answer { records, ttl: RETRY });
                ttl = ttl.min(RETRY);
                (name, addresses.into_iter().map(as_it_was).collect())
            });
            let mut addresses = Vec::with_capacity(answers.len());
            for (of, answer) in answers {
                ttl = ttl.min(answer.ttl);
                target.addresses.extend(&answer.records);
                addresses.push((of, answer.records));
            }
            now_known.insert(host, Known { name, addresses });
            targets.push(target);
        }
        let has_some = targets.iter().any(Target::is_there);
        match failed {
            Some(error) if !has_some || failures == targets.len() => Err(error),
            _ => {
                state.known = now_known;
                Ok(Some((targets, ttl)))
            }
        }
    }

    /// The SRV records, by the first name on the search path that has some.
    async fn service(
        &self,
        resolver: &TokioResolver,
        last: Option<&Name>,
    ) -> Result<Found<Answer<SRV>>, BoxError> {
        let mut heard = Heard::new(last);
        for name in names(resolver, &self.name.host)? {
            let answer = ask_service(resolver, &name).await.map_err(BoxError::from);
            let has_some = |answer: &Answer<SRV>| !answer.records.is_empty();
            if let ControlFlow::Break(answer) = heard.take(&name, answer, has_some) {
                return Ok((Some(name), answer?));
            }
        }
        Ok((None, heard.end()?))
    }

    /// The addresses of a host, by the first name on the search path that has some of any family.
    async fn addresses(
        &self,
        resolver: &TokioResolver,
        known: Option<&Known>,
        host: &str,
    ) -> Result<Found<Addresses>, BoxError> {
        let mut heard = Heard::new(known.and_then(|known| known.name.as_ref()));
        for name in names(resolver, host)? {
            let known = known.filter(|known| known.name.as_ref() == Some(&name));
            let answers = self.addresses_of(resolver, known, &name).await;
            let has_some =
                |answers: &Addresses| answers.iter().any(|(_, of)| !of.records.is_empty());
            if let ControlFlow::Break(answers) = heard.take(&name, answers, has_some) {
                return Ok((Some(name), answers?));
            }
        }
        Ok((None, heard.end()?))
    }

    /// The addresses of a name, of both families. One that is not answered is what it was, unless neither is.
    async fn addresses_of(
        &self,
        resolver: &TokioResolver,
        known: Option<&Known>,
        name: &Name,
    ) -> Result<Addresses, BoxError> {
        let of = |of: RecordType| ask(resolver, name, of, RData::ip_addr);
        let family = self.settings.config.family;
        let (v4, v6) = match family {
            IpFamily::Both => {
                let (v4, v6) = join(of(RecordType::A), of(RecordType::AAAA)).await;
                (Some(v4), Some(v6))
            }
            IpFamily::V4 => (Some(of(RecordType::A).await), None),
            IpFamily::V6 => (None, Some(of(RecordType::AAAA).await)),
        };
        let all = [(RecordType::A, v4), (RecordType::AAAA, v6)];
        let (mut found, mut failed) = (Vec::new(), None);
        for (of, answer) in all {
            match answer {
                None => {}
                Some(Ok(answer)) => found.push((of, answer)),
                Some(Err(error)) => {
                    let records = known.map(|known| known.of(of)).unwrap_or_default();
                    failed = Some((error, of, records));
                }
            }
        }
        match failed {
            None => Ok(found),
            // With nothing in the other family either, it may be that this one has all there is.
            Some((error, _, records))
                if records.is_empty() && found.iter().all(|(_, of)| of.records.is_empty()) =>
            {
                Err(error.into())
            }
            Some((error, of, records)) if !found.is_empty() => {
                tracing::debug!(
                    %name, %error, records = records.len(),
                    "one address family is not answered; what is known of it stays in use"
                );
                found.push((of, Answer { records, ttl: RETRY }));
                Ok(found)
            }
            Some((error, ..)) => Err(error.into()),
        }
    }
}

impl Source for DnsService {
    type State = DnsState;

    fn name(&self) -> String {
        format!("DNS name `{}`", self.name.host)
    }

    async fn observe(&self, state: &mut DnsState) -> Result<Observation, BoxError> {
        let config = &self.settings.config;
        let until = time::later(time::now(), config.timeout);
        let found = self.targets(state, until).await;
        // Another server may know it, as of a network that was joined since.
        let has_some =
            |(targets, _): &(Vec<Target>, Duration)| targets.iter().any(Target::is_there);
        let is_found = found.as_ref().is_ok_and(|of| of.as_ref().is_none_or(has_some));
        if !is_found && self.settings.servers.read.is_some() {
            state.resolver = None;
        }
        let found = found.map_err(|error| {
            let is_late = error.downcast_ref::<Error>().is_some_and(Error::is_timeout);
            let failed = Error::not_sent(if is_late { Kind::Timeout } else { Kind::Connection });
            failed.message(format!("{} cannot be resolved", self.name())).caused_by(error)
        })?;
        let Some((targets, ttl)) = found else {
            let none = Observation::of(EndpointSet::new(Vec::<Arc<_>>::new(), "dns")?);
            return Ok(none.certain().again_after(config.max_ttl));
        };
        let set = EndpointSet::new(endpoints(&self.name, targets)?, "dns")?;
        Ok(Observation::of(set).again_after(config.wait(ttl)))
    }
}

impl fmt::Debug for DnsService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsService")
            .field("name", &self.name)
            .field("config", &self.settings.config)
            .finish()
    }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
