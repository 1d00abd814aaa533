use std::{
    collections::BTreeMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use mdns_sd::{DaemonEvent, DaemonStatus, ServiceDaemon, ServiceInfo};

use super::{
    super::register::{Instance, Kept, Registrar},
    daemon::{Daemon, Daemons, failed},
    kind::{MAX_LABEL, ServiceType, is_askable},
    orders::{Announced, Order},
    txt::{self, Written},
};
use crate::error::{BoxError, Error, Kind};

/// How often to look whether the thread that answers still runs.
const LOOK: Duration = Duration::from_secs(10);
/// For so long an instance may not be announced: its name is probed for three times, 250 ms apart, and later if
/// another has the same.
const ANNOUNCE: Duration = Duration::from_secs(5);
/// A goodbye is said again after 120 ms.
const GOODBYE: Duration = Duration::from_millis(200);
/// What is added to a name that another host has, at most.
const NUMBER: &str = " (999)";

/// Announces instances in the local network. Made by [`Mdns::registrar`](super::Mdns::registrar).
///
/// | of an endpoint | in mDNS |
/// |---|---|
/// | key | `id`, at most 63 bytes; and the name of the instance |
/// | IP address | A or AAAA record, on the interfaces in whose network it is |
/// | port | SRV record |
/// | scheme, path, weight, priority, place, status, draining | `protocol`, `path`, `weight`, `priority`, `region`, `zone`, `sub_zone`, `status`, `draining` in the TXT record, if they are not the default |
/// | metadata, tags | pairs of the TXT record; `tags`, with commas |
///
/// The TXT record has the layout of the Go library. Addresses and ports hold for 120 s, names and TXT records
/// for 75 min (RFC 6762 §10), unless they are renewed. If another host has the same name, ` (2)` is added to
/// it; the `id` stays. In one process, a name is of the registration that was announced last. A key with dots,
/// backslashes or capital letters, or of more than 57 bytes, has a name that is made of it: `10-0-0-1-80-` and a
/// number for `10.0.0.1:80`.
///
/// # Bounds
/// A pair has at most 255 bytes, and a record 1,300. Metadata and tags that do not fit, or whose keys a record
/// cannot have, are [left out](Self::left_out).
///
/// # Example
/// ```no_run
/// use std::time::Duration;
/// use tower_upstream::{Endpoint, discover::{Mdns, MdnsConfig, Registry}};
///
/// # async fn example() -> Result<(), tower_upstream::Error> {
/// let mdns = Mdns::new(MdnsConfig::default().with_interface("eth0"))?;
/// let registry = Registry::new(mdns.registrar());
/// let tax = registry.register("tax", Endpoint::new("http://10.0.0.1:8080")?)?;
/// // Serve, and before the end:
/// tax.deregister(Duration::from_secs(5)).await?;
/// # Ok(()) }
/// ```
pub struct MdnsRegistrar {
    daemons: Arc<Daemons>,
    shared: Option<ServiceType>,
}

/// What is announced.
#[derive(Debug, Default)]
#[allow(unnameable_types, reason = "what a registrar remembers is for the registrar alone")]
pub struct MdnsSession {
    daemon: Option<Arc<Daemon>>,
    /// By their full names.
    announced: BTreeMap<String, Announced>,
}

impl MdnsRegistrar {
    pub(super) fn new(daemons: Arc<Daemons>, shared: Option<ServiceType>) -> Self {
        Self { daemons, shared }
    }

    /// Returns the keys of metadata, and the tags, of `instance` that a TXT record cannot carry.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for an instance that cannot be announced at all: without an IP address and a
    /// port, with an id of more than 63 bytes, or of a service whose name is no service type.
    ///
    /// ```
    /// use tower_upstream::{Endpoint, discover::{Instance, Mdns, MdnsConfig}};
    /// let mdns = Mdns::new(MdnsConfig::default())?;
    /// let endpoint = Endpoint::new("10.0.0.1:8080")?.with_key("tax-1").with_tag("a,b");
    /// assert_eq!(mdns.registrar().left_out(&Instance::new("tax", endpoint)?)?, ["a,b"]);
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn left_out(&self, instance: &Instance) -> Result<Vec<String>, Error> {
        Ok(self.records(instance)?.1.left_out)
    }

    fn kind(&self, instance: &Instance) -> Result<ServiceType, Error> {
        match &self.shared {
            Some(kind) => Ok(kind.clone()),
            None => ServiceType::of_service(instance.service()),
        }
    }

    fn records(&self, instance: &Instance) -> Result<(ServiceInfo, Written), Error> {
        let (id, address) = (instance.id(), instance.endpoint().address());
        let refused = |what: &str| {
            let text = format!("`{id}` cannot be announced by mDNS: {what}");
            Error::not_sent(Kind::InvalidConfig).message(text)
        };
        let kind = self.kind(instance)?;
        if id.len() > MAX_LABEL {
            return Err(refused("its id has more than 63 bytes"));
        }
        let host = address.host();
        let ip = host.split_once("%25").map_or(host, |(ip, _)| ip).parse::<IpAddr>();
        let ip = ip.map_err(|_| refused("its address must have an IP address as its host"))?;
        if ip.is_ipv6() && !self.daemons.config.ipv6 {
            return Err(refused("it has an IPv6 address, and `ipv6` is false"));
        }
        let port = address.port().or_else(|| address.default_port());
        let port = port.ok_or_else(|| refused("it has no port"))?;
        let written = txt::write(instance, &kind)?;
        let (label, host) = (label_of(id), format!("{}.local.", unique(id, &kind)));
        let info = ServiceInfo::new(kind.full(), &label, &host, ip, port, &written.pairs[..]);
        let info = info.map_err(|error| refused("its records are refused").caused_by(error))?;
        Ok((info, written))
    }
}

/// The name of an instance: its id, if the daemon can answer to that. It knows no name with capital letters again, and has
/// to have room for a number.
fn label_of(id: &str) -> String {
    let is_short = id.len() + NUMBER.len() <= MAX_LABEL;
    match is_short && is_askable(id) && id.to_lowercase() == id {
        true => id.to_owned(),
        false => unique(id, &()),
    }
}

/// The name of a host that is that of no other instance, since a goodbye takes back the addresses of the host, too; and
/// that of an instance where its id cannot be.
fn unique(id: &str, of: &impl Hash) -> String {
    let mut hash = DefaultHasher::new();
    (id, of).hash(&mut hash);
    let plain = |of: char| if of.is_ascii_alphanumeric() { of.to_ascii_lowercase() } else { '-' };
    let name: String = id.chars().take(40).map(plain).collect();
    format!("{name}-{:016x}", hash.finish())
}

impl Registrar for MdnsRegistrar {
    type Session = MdnsSession;

    fn name(&self) -> String {
        "mDNS".to_owned()
    }

    fn keep_alive_every(&self) -> Option<Duration> {
        Some(LOOK)
    }

    fn timeout(&self) -> Duration {
        ANNOUNCE * 2
    }

    async fn put(&self, session: &mut MdnsSession, instance: &Instance) -> Result<(), BoxError> {
        let (info, Written { left_out, .. }) = self.records(instance)?;
        if !left_out.is_empty() {
            tracing::warn!(id = instance.id(), ?left_out, "a TXT record cannot carry all metadata");
        }
        let daemon = match &session.daemon {
            Some(daemon) => daemon.clone(),
            None => session.daemon.insert(self.daemons.get()?).clone(),
        };
        let full = info.get_fullname().to_owned();
        let failed = |error| failed("an instance cannot be announced", error);
        let events = daemon.orders.ask(ServiceDaemon::monitor).map_err(failed)?;
        let announced = daemon.orders.announce(info).map_err(failed)?;
        session.announced.insert(full.clone(), announced);
        let announced = async {
            let mut name = full;
            while let Ok(event) = events.recv_async().await {
                match event {
                    DaemonEvent::NameChange(change)
                        if change.original.eq_ignore_ascii_case(&name) =>
                    {
                        let (was, is) = (&name, &change.new_name);
                        tracing::warn!(%was, %is, "another host has the name of an instance");
                        name = change.new_name;
                    }
                    DaemonEvent::Announce(of, _) if of.eq_ignore_ascii_case(&name) => return true,
                    _ => {}
                }
            }
            false
        };
        match tokio::time::timeout(ANNOUNCE, announced).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::unsent("mDNS: the daemon has ended").into()),
            Err(_) => {
                let (id, host) = (instance.id(), instance.endpoint().address().host());
                let text = format!(
                    "`{id}` is not announced: no interface that is used is in the network of `{host}`"
                );
                Err(Error::not_sent(Kind::Connection).message(text).into())
            }
        }
    }

    async fn keep_alive(
        &self,
        session: &mut MdnsSession,
        _: &[Instance],
    ) -> Result<Kept, BoxError> {
        let Some(daemon) = &session.daemon else { return Ok(Kept::Lost) };
        match daemon.orders.ask(ServiceDaemon::status) {
            Ok(status) => match status.recv_async().await {
                Ok(DaemonStatus::Running) => Ok(Kept::Alive),
                _ => Ok(Kept::Lost),
            },
            Err(mdns_sd::Error::Again) => Ok(Kept::Alive),
            Err(_) => Ok(Kept::Lost),
        }
    }

    async fn remove(&self, session: &mut MdnsSession, instance: &Instance) -> Result<(), BoxError> {
        // One of another session is gone with that.
        let Some(daemon) = &session.daemon else { return Ok(()) };
        let (info, _) = self.records(instance)?;
        let full = info.get_fullname();
        let Some(announced) = session.announced.get(full) else { return Ok(()) };
        let failed = |error| failed("an instance cannot be taken back", error);
        if let Some(removed) = daemon.orders.take_back(announced).map_err(failed)? {
            // Either way it is not there any more.
            let _ = removed.recv_async().await;
        }
        session.announced.remove(full);
        Ok(())
    }

    async fn end(&self, session: MdnsSession) -> Result<(), BoxError> {
        tokio::time::sleep(GOODBYE).await;
        drop(session);
        Ok(())
    }
}

/// What is announced ends with its session, also if the daemon has other users.
impl Drop for MdnsSession {
    fn drop(&mut self) {
        if let Some(daemon) = &self.daemon {
            for announced in std::mem::take(&mut self.announced).into_values() {
                daemon.orders.give(Order::Unregister(announced));
            }
        }
    }
}

impl fmt::Debug for MdnsRegistrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MdnsRegistrar").field("config", &self.daemons.config).finish()
    }
}

#[cfg(test)]
mod tests {
    use mdns_sd::UnregisterStatus;

    use super::{super::daemon::tests::loopback, *};

    #[tokio::test]
    async fn all_that_a_session_has_announced_ends_with_it_although_the_thread_is_busy() {
        let daemon = loopback().get().unwrap();
        let mut session = MdnsSession { daemon: Some(daemon.clone()), announced: BTreeMap::new() };
        // More than its queue holds.
        for number in 0..300 {
            let (id, host) = (format!("tax-{number}"), format!("host-{number}.local."));
            let info = ServiceInfo::new("_tax._tcp.local.", &id, &host, "127.0.0.1", 80, None);
            let info = info.unwrap();
            let announced = loop {
                match daemon.orders.announce(info.clone()) {
                    Err(mdns_sd::Error::Again) => tokio::task::yield_now().await,
                    announced => break announced.unwrap(),
                }
            };
            session.announced.insert(info.get_fullname().to_owned(), announced);
        }
        let announced = session.announced.clone();
        drop(session);
        for full in announced.into_keys() {
            let status = loop {
                match daemon.orders.ask(|mdns| mdns.unregister(&full)) {
                    Err(mdns_sd::Error::Again) => tokio::task::yield_now().await,
                    status => break status.unwrap().recv_async().await.unwrap(),
                }
            };
            assert!(matches!(status, UnregisterStatus::NotFound), "{full}");
        }
    }
}
