use std::{fmt, sync::Arc};

use super::{
    super::watch::{Watched, Watches},
    client::Client,
    config::EtcdConfig,
    feed::Feed,
    keys::Keys,
    registrar::EtcdRegistrar,
    source::EtcdService,
};
use crate::error::Error;

/// A registry in etcd, version 3.4 or newer.
///
/// An instance is a key `PREFIX/SERVICE/ID`, such as `/services/tax/tax-1`, whose value is JSON, as the Go
/// library writes it:
/// ```json
/// { "id": "tax-1", "name": "tax", "version": "2.3.0", "address": "10.0.0.1", "port": 8080,
///   "tags": ["v2"], "metadata": { "zone": "eu-1a" }, "status": "passing", "last_heartbeat": 0 }
/// ```
/// It may have the other keys of a [`File`](super::super::File), such as `weight` and `protocol`; keys that are
/// not known are ignored. An instance without an `id` has that of its key. An address that is a program of this
/// host cannot be read, nor can a Unix socket without
/// [`allow_unix_sockets`](super::EtcdConfig::allow_unix_sockets).
///
/// # What is asked
/// A service is read once, in pages of one revision and of as many keys as fit in a message, and then watched from the revision after that. All
/// services of an `Etcd` and its clones share one connection and one watch stream.
///
/// | what happens | the endpoints |
/// |---|---|
/// | a key is deleted, or its lease ends | that endpoint leaves at once |
/// | a value cannot be read | the last that could stays in use; a warning tells why |
/// | the stream breaks, the member has no leader or does not answer | stay as they were; the watch goes on at another member where it stood |
/// | more than half have left while the stream was broken | stay for [`removal_grace`](super::super::WatchConfig::removal_grace): what broke it may have ended their leases too |
/// | the revision was compacted, or the data of the cluster was replaced | are read anew; if too many are missing, they stay for [`removal_grace`](super::super::WatchConfig::removal_grace) |
/// | the token is over | stay; a new one is asked for |
/// | access is denied | stay; asked again after 30 s |
///
/// # Bounds
/// A service has at most 100,000 instances of 256 MiB, a value 64 KiB, a message 4 MiB.
///
/// # Example
/// ```no_run
/// use tower_upstream::{
///     BalanceLayer, LeastRequest,
///     discover::{Etcd, EtcdConfig},
/// };
///
/// let config = EtcdConfig::default().with_endpoints(["10.0.0.1:2379", "10.0.0.2:2379"]);
/// let tax = Etcd::new(config)?.service("tax")?;
/// let layer = BalanceLayer::new(tax, LeastRequest::new());
/// # let _ = layer;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct Etcd {
    pub(super) client: Arc<Client>,
    feed: Arc<Feed>,
    pub(super) keys: Keys,
    watches: Watches<EtcdService>,
}

impl Etcd {
    /// Creates a registry. Nothing is connected before a service is watched.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig) that names every mistake of the config.
    pub fn new(config: EtcdConfig) -> Result<Self, Error> {
        let client = Arc::new(Client::new(config)?);
        let keys = Keys::new(&client.config.key_prefix);
        let watches = Watches::new(client.config.watch.clone());
        Ok(Self { feed: Feed::new(client.clone()), client, keys, watches })
    }

    /// Returns the watch of a service. All that ask for the same service share one.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig) for a name that is empty, `.` or `..`, or has
    /// a slash.
    pub fn service(&self, name: &str) -> Result<Watched<EtcdService>, Error> {
        let range = self.keys.of_service(name)?;
        let make = || EtcdService::new(name, range, self.client.clone(), self.feed.clone());
        Ok(self.watches.watch(name, make))
    }

    /// Returns what announces instances here, for a [`Registry`](super::super::Registry).
    ///
    /// ```
    /// use tower_upstream::discover::{Etcd, EtcdConfig, Registry};
    /// let registry = Registry::new(Etcd::new(EtcdConfig::default())?.registrar());
    /// # let _ = registry;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn registrar(&self) -> EtcdRegistrar {
        EtcdRegistrar::new(self.client.clone(), self.keys.clone())
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd")
            .field("config", &self.client.config)
            .field("feed", &self.feed)
            .field("watches", &self.watches)
            .finish()
    }
}
