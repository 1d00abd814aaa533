use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc, time::Duration};

use futures_util::{
    future::join,
    stream::{self, StreamExt, TryStreamExt},
};
use hickory_resolver::{
    TokioResolver,
    config::{ResolverConfig, ResolverOpts},
    name_server::TokioConnectionProvider,
    proto::rr::{RData, RecordType, rdata::SRV},
};

use super::{
    super::{
        set::EndpointSet,
        watch::{Observation, Source},
    },
    ask::{Answer, ask},
    config::{DnsConfig, IpFamily},
    name::ServiceName,
    records::{Target, endpoints},
};
use crate::error::{BoxError, Error, Kind};

/// What all services of a resolver have in common.
pub(super) struct Settings {
    pub(super) resolver: (ResolverConfig, ResolverOpts),
    pub(super) config: DnsConfig,
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
    /// By host and type. Of those that do not answer any more, the others still do.
    known: HashMap<(String, RecordType), Vec<IpAddr>>,
}

impl DnsService {
    pub(super) fn new(name: ServiceName, settings: Arc<Settings>) -> Self {
        Self { name, settings }
    }

    fn resolver(&self) -> TokioResolver {
        let (config, options) = self.settings.resolver.clone();
        let provider = TokioConnectionProvider::default();
        TokioResolver::builder_with_config(config, provider).with_options(options).build()
    }

    /// The targets, and for how long they hold; `None`: the service says that it is not there.
    async fn targets(
        &self,
        state: &mut DnsState,
    ) -> Result<Option<(Vec<Target>, Duration)>, BoxError> {
        let resolver = state.resolver.get_or_insert_with(|| self.resolver()).clone();
        let (records, ttl) = match self.name.port {
            // As one record that leads to the host itself.
            Some(port) => (vec![(self.name.host.clone(), port, 0, 0)], Duration::MAX),
            None => {
                let answer = ask(&resolver, &self.name.host, RecordType::SRV, |data| match data {
                    RData::SRV(srv) => Some(srv.clone()),
                    _ => None,
                });
                let Answer { records, ttl } = answer.await?;
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
        let found = stream::iter(records).map(|(host, port, priority, weight)| async move {
            let found = self.addresses(resolver, known, &host).await?;
            Ok::<_, BoxError>((
                host,
                found,
                Target { port, priority, weight, addresses: Vec::new() },
            ))
        });
        let found: Vec<_> = found.buffered(PARALLEL).try_collect().await?;
        let (mut targets, mut ttl, mut now_known) = (Vec::new(), ttl, HashMap::new());
        for (host, found, mut target) in found {
            for (of, answer) in found {
                ttl = ttl.min(answer.ttl);
                target.addresses.extend(&answer.records);
                now_known.insert((host.clone(), of), answer.records);
            }
            targets.push(target);
        }
        state.known = now_known;
        Ok(Some((targets, ttl)))
    }

    /// The addresses of a host, of both families. One that is not answered is what it was, unless neither is.
    async fn addresses(
        &self,
        resolver: &TokioResolver,
        known: &HashMap<(String, RecordType), Vec<IpAddr>>,
        host: &str,
    ) -> Result<Vec<(RecordType, Answer<IpAddr>)>, BoxError> {
        let of = |of: RecordType| ask(resolver, host, of, RData::ip_addr);
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
                    let records = known.get(&(host.to_owned(), of)).cloned().unwrap_or_default();
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
                tracing::debug!(host, %error, records = records.len(), "one address family is not answered; what is known of it stays in use");
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
        let Ok(found) = tokio::time::timeout(config.timeout, self.targets(state)).await else {
            return Err(Error::not_sent(Kind::Timeout).message(self.name()).into());
        };
        let found = found.map_err(|error| {
            let failed = Error::not_sent(Kind::Connection);
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
