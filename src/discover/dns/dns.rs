use std::{fmt, net::SocketAddr, sync::Arc};

use hickory_resolver::{
    config::{NameServerConfig, ResolverConfig, ResolverOpts},
    proto::xfer::Protocol,
};

use super::{
    super::watch::{Watched, Watches},
    config::DnsConfig,
    name::ServiceName,
    source::{DnsService, Servers, Settings},
    system,
};
use crate::error::{Error, Kind};

/// Watches a name in DNS for endpoints, with the name servers of the operating system.
///
/// The same as `Dns::system()?.service(address)`; see [`Dns`] for what an address may be. To watch several
/// names, or one name in several places, keep a [`Dns`].
///
/// # Errors
/// [`Kind::InvalidConfig`] for an address without a name, or if the configuration of the system cannot be
/// read.
///
/// # Example
/// ```no_run
/// use tower_upstream::{BalanceLayer, LeastRequest, discover};
///
/// let endpoints = discover::dns("http://tax.internal:8080")?;
/// let layer = BalanceLayer::new(endpoints, LeastRequest::new());
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
pub fn dns(address: &str) -> Result<Watched<DnsService>, Error> {
    Dns::system()?.service(address)
}

/// A resolver that watches names.
///
/// | address | records | endpoints |
/// |---|---|---|
/// | `http://tax.internal:8080/v1`, `tax.internal:8080` | A and AAAA | one for each address, at that port |
/// | `http://_http._tcp.tax.internal`, `_http._tcp.tax.internal` | SRV (RFC 2782), and A and AAAA of its targets | one for each address of each target, with its port and priority; the addresses of a target share its weight |
///
/// Scheme and path of the address become those of the endpoints. Names that end in a dot are not looked for in the search
/// domains of the system. Of others the first name with addresses of either family counts, and none takes the place of one
/// that had some while it is not answered. The hosts file of the system is not read. Its name servers are read again if a name is not
/// answered, or has no addresses.
///
/// # Changes
/// Names are resolved again once the shortest TTL of their records ends, within
/// [`min_ttl`](DnsConfig::min_ttl) and [`max_ttl`](DnsConfig::max_ttl). Aliases are followed. An answer that
/// is cut is asked for over TCP.
///
/// | answer | the endpoints |
/// |---|---|
/// | the name does not exist, or has no such records | stay for [`empty_grace`](super::super::WatchConfig::empty_grace) |
/// | one SRV record with the target `.` | are removed at once: the service says that it is not available |
/// | SERVFAIL, REFUSED, no answer | stay as they were |
/// | the same, for one of A and AAAA | of that family stay as they were |
/// | the same, for some of the targets of SRV records | of those targets stay as they were; until then they have none |
/// | an address that is none of a host, such as the `0.0.0.0` of a resolver that blocks a name | is left out |
///
/// # TLS
/// The endpoints have IP addresses, so with `https` each must have a certificate for its address.
///
/// # Bounds
/// A service has at most 1,024 SRV records; 10 hosts are resolved at once.
///
/// # Example
/// ```
/// use std::net::SocketAddr;
/// use tower_upstream::discover::{Dns, DnsConfig};
///
/// let server = SocketAddr::from(([10, 0, 0, 53], 53));
/// let dns = Dns::new([server], DnsConfig::default());
/// let tax = dns.service("http://_http._tcp.tax.internal")?;
/// let same = dns.service("http://_http._tcp.tax.internal")?;
/// assert!(std::ptr::eq(tax.source(), same.source()), "one watch for both");
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct Dns {
    settings: Arc<Settings>,
    watches: Watches<DnsService>,
}

impl Dns {
    /// Creates a resolver that asks these name servers, over UDP, and over TCP if an answer is too long.
    pub fn new(servers: impl IntoIterator<Item = SocketAddr>, config: DnsConfig) -> Self {
        let mut resolver = ResolverConfig::new();
        for server in servers {
            for protocol in [Protocol::Udp, Protocol::Tcp] {
                resolver.add_name_server(NameServerConfig::new(server, protocol));
            }
        }
        Self::with(Servers { known: (resolver, ResolverOpts::default()), read: None }, config)
    }

    /// Creates a resolver that asks the name servers of the operating system, such as those of
    /// `/etc/resolv.conf`, with default settings. Options and lines that are not known there are ignored.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] if the configuration of the system cannot be read.
    pub fn system() -> Result<Self, Error> {
        Self::system_with_config(DnsConfig::default())
    }

    /// Creates a resolver that asks the name servers of the operating system, with settings of your own.
    /// Values out of range become the nearest valid ones.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] if the configuration of the system cannot be read.
    pub fn system_with_config(config: DnsConfig) -> Result<Self, Error> {
        let known = system::read().map_err(|error| {
            let failed = Error::not_sent(Kind::InvalidConfig);
            failed.message("the name servers of the system are not known").caused_by(error)
        })?;
        let read = || system::read().ok().filter(|(of, _)| !of.name_servers().is_empty());
        Ok(Self::with(Servers { known, read: Some(read) }, config))
    }

    fn with(servers: Servers, config: DnsConfig) -> Self {
        let config = config.clamped();
        let watches = Watches::new(config.watch.clone());
        Self { settings: Arc::new(Settings { servers, config }), watches }
    }

    /// Checks what [`service`](Self::service) would be asked for.
    #[cfg(feature = "config")]
    pub(crate) fn check_service(address: &str) -> Result<(), Error> {
        ServiceName::parse(address).map(drop)
    }

    /// Returns the watch of an address. All that ask for the same address share one.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for an address without a name, without a port where there is no SRV record, or
    /// with one where there is.
    pub fn service(&self, address: &str) -> Result<Watched<DnsService>, Error> {
        let name = ServiceName::parse(address)?;
        Ok(self.watches.watch(address, || DnsService::new(name, self.settings.clone())))
    }
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns")
            .field("config", &self.settings.config)
            .field("watches", &self.watches)
            .finish_non_exhaustive()
    }
}
