//! What discovery says of one instance of an upstream.

mod address;

use std::{collections::BTreeMap, str::FromStr, sync::Arc};

pub use self::address::Address;

#[cfg(feature = "http")]
pub(crate) use self::address::without_user;

use crate::error::Error;

/// One instance of an upstream, as discovery reports it.
///
/// Identified by its [`key`](Self::key), which is its address unless
/// [`with_key`](Self::with_key) says otherwise. Addresses that are [equal](Address) are one endpoint,
/// however they are written. What may be wrong with an address is refused when
/// the endpoint is made; nothing that uses one has to check again.
///
/// # Example
/// ```
/// use tower_upstream::Endpoint;
///
/// let endpoint: Endpoint = "http://10.0.0.1:8080/plugins".parse()?;
/// let endpoint = endpoint.with_key("tax-1").with_weight(3).with_tag("blue");
/// assert_eq!(endpoint.address().host(), "10.0.0.1");
/// assert_eq!(endpoint.key(), "tax-1");
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    key: Arc<str>,
    /// What makes two endpoints the same: the key that was given, or the canonical address.
    identity: Arc<str>,
    address: Address,
    weight: u32,
    priority: u32,
    locality: Locality,
    tags: Vec<String>,
    metadata: BTreeMap<String, String>,
    status: Status,
    draining: bool,
}

/// Where an endpoint is. Empty parts are unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Locality {
    /// Such as `eu-west-1`.
    pub region: String,
    /// Such as `eu-west-1a`.
    pub zone: String,
    /// A part of a zone, such as a rack.
    pub sub_zone: String,
}

/// What the source of an endpoint thinks of its health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// The source does not say. Used like `Passing`.
    #[default]
    Unknown,
    /// All well.
    Passing,
    /// Usable, but only where no endpoint of the same priority is better.
    ///
    /// Those of a priority that warn are a tier of their own behind those that do not, with a panic
    /// threshold of its own: one endpoint that passes and 99 that warn put all calls on the one.
    Warning,
    /// Not to be used, except in a panic.
    Critical,
}

impl Endpoint {
    /// An endpoint at `address`, whose key is the address.
    ///
    /// # Errors
    /// `InvalidConfig`, with what is wrong, if the address cannot be used. See [`Address`].
    pub fn new(address: impl AsRef<str>) -> Result<Self, Error> {
        let address: Address = address.as_ref().parse()?;
        Ok(Self {
            key: address.shared().clone(),
            identity: address.canonical().clone(),
            address,
            weight: 1,
            priority: 0,
            locality: Locality::default(),
            tags: Vec::new(),
            metadata: BTreeMap::new(),
            status: Status::default(),
            draining: false,
        })
    }

    /// Sets the identity: what stays the same while everything else may change.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = key.into();
        self.identity = identity_of_key(&self.key);
        self
    }

    /// Sets the share of the load, relative to the others. Default 1. An endpoint of weight 0 gets
    /// none, unless all have weight 0.
    #[must_use]
    pub fn with_weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Sets the priority. Default 0. A lower one is used first; a higher one only while no lower
    /// one can be.
    #[must_use]
    pub fn with_priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// Says where the endpoint is.
    #[must_use]
    pub fn with_locality(mut self, locality: Locality) -> Self {
        self.locality = locality;
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn with_tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Adds a pair of metadata, or replaces the value.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Sets what the source thinks of its health.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// A draining endpoint finishes the calls it has and gets no new ones.
    #[must_use]
    pub fn with_draining(mut self, draining: bool) -> Self {
        self.draining = draining;
        self
    }

    /// The identity.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn shared_key(&self) -> &Arc<str> {
        &self.key
    }

    pub(crate) fn identity(&self) -> &Arc<str> {
        &self.identity
    }

    /// Where to reach it.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its share of the load, relative to the others.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Lower is used first.
    pub fn priority(&self) -> u32 {
        self.priority
    }

    /// Where it is.
    pub fn locality(&self) -> &Locality {
        &self.locality
    }

    /// Its tags, in the order in which they were given.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Its metadata, sorted by key.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// What the source thinks of its health.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Whether it should get no new calls.
    pub fn is_draining(&self) -> bool {
        self.draining
    }
}

/// The identities that the endpoint may have that is asked for by `key`: a key that it was given, or its
/// address.
pub(crate) fn identities_of(key: &str) -> impl Iterator<Item = Arc<str>> + use<> {
    let address = key.parse::<Address>().ok().map(|address| address.canonical().clone());
    [identity_of_key(key)].into_iter().chain(address)
}

/// Told apart from all addresses, which never begin so.
fn identity_of_key(key: &str) -> Arc<str> {
    format!("={key}").into()
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(address: &str) -> Result<Self, Error> {
        Self::new(address)
    }
}

impl TryFrom<&str> for Endpoint {
    type Error = Error;

    fn try_from(address: &str) -> Result<Self, Error> {
        Self::new(address)
    }
}

impl TryFrom<String> for Endpoint {
    type Error = Error;

    fn try_from(address: String) -> Result<Self, Error> {
        Self::new(address)
    }
}

impl TryFrom<&String> for Endpoint {
    type Error = Error;

    fn try_from(address: &String) -> Result<Self, Error> {
        Self::new(address)
    }
}

impl TryFrom<std::net::SocketAddr> for Endpoint {
    type Error = Error;

    fn try_from(address: std::net::SocketAddr) -> Result<Self, Error> {
        Self::new(address.to_string())
    }
}
