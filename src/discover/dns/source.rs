use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc, time::Duration};

use futures_util::{
    future::join,
    stream::{self, StreamExt},
};
use hickory_resolver::{
    TokioResolver,
    config::{ResolverConfig, ResolverOpts},
    name_server::TokioConnectionProvider,
    proto::rr::{RData, RecordType, rdata::SRV},
};
use tokio::time::timeout_at;

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
use crate::{
    error::{BoxError, Error, Kind},
    time::{self, Instant},
};

/// What all services of a resolver have in common.
pub(super) struct Settings {
    pub(super) servers: Servers,
    pub(super) config: DnsConfig,
}

/// The name servers, and how to ask them.
#[derive(Clone)]
pub(super) struct Servers {
    pub(super) known: (ResolverConfig, ResolverOpts),
    /// What they are now, if the system may have others since. Reads a file.
    pub(super) read: Option<fn() -> Option<(ResolverConfig, ResolverOpts)>>,
}

impl Servers {
    /// Those there are now, or those that are known.
    async fn now(&self) -> (ResolverConfig, ResolverOpts) {
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
    /// By host and type. Of those that do not answer any more, the others still do.
    known: HashMap<(String, RecordType), Vec<IpAddr>>,
}

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
                let answer = ask(&resolver, &self.name.host, RecordType::SRV, |data| match data {
                    RData::SRV(srv) => Some(srv.clone()),
                    _ => None,
                });
                let answer = timeout_at(until, answer).await;
                let Answer { records, ttl } = answer.map_err(|_| late())??;
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
            let addresses = self.addresses(resolver, known, &host);
            let found = timeout_at(until, addresses).await;
            let found = found.unwrap_or_else(|_| Err(late().into()));
            (host, found, Target { port, priority, weight, addresses: Vec::new() })
        });
        let found: Vec<_> = found.buffered(PARALLEL).collect().await;
        let (mut targets, mut ttl, mut now_known) = (Vec::new(), ttl, HashMap::new());
        let (mut failed, mut failures) = (None, 0);
        for (host, found, mut target) in found {
            // One that is not answered is what it was, and costs no other.
            let found = found.unwrap_or_else(|error| {
                tracing::debug!(host, %error, "one host is not answered; what is known of it stays in use");
                failed.get_or_insert(error);
                failures += 1;
                let of = |of| known.get(&(host.clone(), of)).cloned().unwrap_or_default();
                let families = [RecordType::A, RecordType::AAAA];
                families.map(|family| (family, Answer { records: of(family), ttl: RETRY })).into()
            });
            for (of, answer) in found {
                ttl = ttl.min(answer.ttl);
                target.addresses.extend(&answer.records);
                now_known.insert((host.clone(), of), answer.records);
            }
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
                tracing::debug!(
                    host, %error, records = records.len(),
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
mod tests {
    use std::{
        net::{Ipv4Addr, SocketAddr},
        sync::atomic::{AtomicU16, Ordering},
    };

    use hickory_resolver::{config::NameServerConfig, proto::xfer::Protocol};
    use tokio::net::UdpSocket;

    use super::*;

    /// Of the server that the system names now, or 0.
    static PORT: AtomicU16 = AtomicU16::new(0);

    fn at(port: u16) -> (ResolverConfig, ResolverOpts) {
        let mut config = ResolverConfig::new();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        config.add_name_server(NameServerConfig::new(address, Protocol::Udp));
        (config, ResolverOpts::default())
    }

    #[tokio::test]
    async fn what_is_not_answered_is_asked_of_the_servers_that_the_system_names_then() {
        let [first, second] = [UdpSocket::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0")];
        let (first, second) = (first.await.unwrap(), second.await.unwrap());
        let port = |of: &UdpSocket| of.local_addr().unwrap().port();
        let read = || Some(PORT.load(Ordering::SeqCst)).filter(|port| *port > 0).map(at);
        let servers = Servers { known: at(port(&first)), read: Some(read) };
        let config = DnsConfig::default().with_timeout(Duration::from_millis(100));
        let settings = Arc::new(Settings { servers, config });
        let source = DnsService::new(ServiceName::parse("tax.internal:80").unwrap(), settings);
        let (mut state, mut packet) = (DnsState::default(), [0; 512]);
        for (named, asked) in [(0, &first), (port(&second), &second), (0, &first)] {
            PORT.store(named, Ordering::SeqCst);
            assert!(source.observe(&mut state).await.is_err());
            assert!(asked.recv_from(&mut packet).await.is_ok());
            while asked.try_recv_from(&mut packet).is_ok() {}
        }
    }
}
