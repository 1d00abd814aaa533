use std::{collections::BTreeMap, str::FromStr, sync::Arc};

use super::{address::Address, check::EndpointCheck, locality::Locality, status::Status};
use crate::error::Error;

/// One instance of an upstream, as discovery reports it.
///
/// Its identity is its [`key`](Self::key): its address, unless you give it another with
/// [`with_key`](Self::with_key). Addresses that are [equal](Address) are one endpoint, however they are
/// written. An address that cannot be used is refused when the endpoint is made.
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
    zone_hints: Vec<String>,
    tags: Vec<String>,
    metadata: BTreeMap<String, String>,
    status: Status,
    draining: bool,
    check: Option<Arc<EndpointCheck>>,
}

const MAX_HINTS: usize = 8;

impl Endpoint {
    /// Makes an endpoint at `address`, whose key is the address.
    ///
    /// # Errors
    /// `InvalidConfig` that tells what is wrong, if the address cannot be used. See [`Address`].
    pub fn new(address: impl AsRef<str>) -> Result<Self, Error> {
        let address: Address = address.as_ref().parse()?;
        Ok(Self {
            key: address.shared().clone(),
            identity: address.canonical().clone(),
            address,
            weight: 1,
            priority: 0,
            locality: Locality::default(),
            zone_hints: Vec::new(),
            tags: Vec::new(),
            metadata: BTreeMap::new(),
            status: Status::default(),
            draining: false,
            check: None,
        })
    }

    /// Sets the key: the identity that stays while everything else may change. Default: the address.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = key.into();
        self.identity = identity_of_key(&self.key);
        self
    }

    /// Sets the share of the load, relative to the other endpoints.
    ///
    /// An endpoint of weight 0 gets no calls, unless all have weight 0. Default: 1.
    #[must_use]
    pub fn with_weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Sets the priority: the lowest number comes first.
    ///
    /// Endpoints with a higher number get the part of the load that healthy endpoints with lower numbers
    /// [cannot carry](crate::balance#which-endpoints-may-be-chosen). Default: 0.
    #[must_use]
    pub fn with_priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the place of the endpoint. Default: unknown.
    #[must_use]
    pub fn with_locality(mut self, locality: Locality) -> Self {
        self.locality = locality;
        self
    }

    /// Sets the zones of the callers that the endpoint is meant for, as its source hints, such as
    /// `hints.forZones` in Kubernetes. Default: none.
    ///
    /// Takes effect with [`ZoneAware`](crate::balance::ZoneAware), which knows the zone of the caller, if the
    /// hints of all endpoints are complete.
    ///
    /// # Bounds
    /// The first 8 zones are kept, which is as many as Kubernetes allows.
    ///
    /// ```
    /// use tower_upstream::Endpoint;
    /// let endpoint = Endpoint::new("10.0.0.1:8080")?.with_zone_hints(["eu-west-1a"]);
    /// assert_eq!(endpoint.zone_hints(), ["eu-west-1a"]);
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn with_zone_hints<Z: Into<String>>(mut self, zones: impl IntoIterator<Item = Z>) -> Self {
        self.zone_hints = zones.into_iter().take(MAX_HINTS).map(Into::into).collect();
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

    /// Sets the health that the source reports. Default: [`Status::Unknown`].
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// Sets whether the endpoint is draining: it finishes the calls it has and gets no new ones.
    /// Default: `false`.
    #[must_use]
    pub fn with_draining(mut self, draining: bool) -> Self {
        self.draining = draining;
        self
    }

    /// Sets how its health is checked, if it is checked over HTTP. Default: as the check says.
    #[must_use]
    pub fn with_check(mut self, check: EndpointCheck) -> Self {
        self.check = Some(Arc::new(check));
        self
    }

    /// Returns its key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether the key is one that it was given.
    pub(crate) fn has_own_key(&self) -> bool {
        self.identity.starts_with(OF_KEY)
    }

    pub(crate) fn shared_key(&self) -> &Arc<str> {
        &self.key
    }

    pub(crate) fn identity(&self) -> &Arc<str> {
        &self.identity
    }

    /// Returns its address.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns its address as a URL, with `scheme` if the address has none.
    ///
    /// ```
    /// let endpoint: tower_upstream::Endpoint = "[::1]:8080".parse()?;
    /// assert_eq!(endpoint.url("http"), "http://[::1]:8080");
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn url(&self, scheme: &str) -> String {
        match self.address.scheme() {
            Some(_) => self.address.as_str().to_owned(),
            None => format!("{scheme}://{}", self.address.as_str()),
        }
    }

    /// Returns its share of the load, relative to the other endpoints.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Returns its priority. The lowest is used first.
    pub fn priority(&self) -> u32 {
        self.priority
    }

    /// Returns its place.
    pub fn locality(&self) -> &Locality {
        &self.locality
    }

    /// Returns the zones of the callers that it is meant for, as its source hints.
    pub fn zone_hints(&self) -> &[String] {
        &self.zone_hints
    }

    /// Returns its tags, in the order in which they were added.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Returns whether it has all `tags`, which are compared exactly. Without tags it has.
    ///
    /// ```
    /// let endpoint = tower_upstream::Endpoint::new("a:1")?.with_tag("v2").with_tag("eu");
    /// assert!(endpoint.has_all_tags(["eu"]) && !endpoint.has_all_tags(["eu", "V2"]));
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn has_all_tags<T: AsRef<str>>(&self, tags: impl IntoIterator<Item = T>) -> bool {
        tags.into_iter().all(|tag| self.tags.iter().any(|of| of == tag.as_ref()))
    }

    /// Returns its metadata, sorted by key.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Returns the health that the source reports.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Returns how its health is checked, if its source says that.
    pub fn check(&self) -> Option<&EndpointCheck> {
        self.check.as_deref()
    }

    /// Returns whether the source reports it as [`Passing`](Status::Passing).
    pub fn is_passing(&self) -> bool {
        self.status == Status::Passing
    }

    /// Returns whether it is draining, and so gets no new calls.
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
    format!("{OF_KEY}{key}").into()
}

const OF_KEY: char = '=';

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
