use std::{net::IpAddr, sync::Arc, time::SystemTime};

use crate::{
    endpoint::Endpoint,
    error::{Error, Kind, Quoted},
    sync::random,
};

/// Instance of a service, as a registry keeps it: an endpoint, the name of its service, and an id.
///
/// The id is the [key](Endpoint::key) of the endpoint. It stays while everything else may change.
///
/// # Example
/// ```
/// use tower_upstream::{Endpoint, discover::Instance};
///
/// let instance = Instance::new("tax", Endpoint::new("http://10.0.0.1:8080")?)?;
/// assert!(instance.id().starts_with("tax-"));
/// let named = Instance::new("tax", Endpoint::new("10.0.0.1:8080")?.with_key("tax-1"))?;
/// assert_eq!((named.service(), named.id()), ("tax", "tax-1"));
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    service: Arc<str>,
    endpoint: Arc<Endpoint>,
    created_at: SystemTime,
    updated_at: SystemTime,
}

/// Most bytes of a name or an id.
const MAX_NAME: usize = 255;

impl Instance {
    /// Creates an instance of `service` at `endpoint`.
    ///
    /// An endpoint without a key of its own gets the name of the service and a random number as its id,
    /// which is made here, once.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for a name or an id that is empty, is longer than 255 bytes, or contains a `/`,
    /// white space or control characters; and for an address that no other host can reach, such as
    /// `0.0.0.0:8080`.
    pub fn new(service: impl Into<Arc<str>>, endpoint: Endpoint) -> Result<Self, Error> {
        let service = service.into();
        let endpoint = if endpoint.has_own_key() {
            endpoint
        } else {
            endpoint.with_key(format!("{service}-{:016x}", random()))
        };
        for (what, name) in [("name of a service", &*service), ("id", endpoint.key())] {
            let is_strange = |of: char| of == '/' || of.is_whitespace() || of.is_control();
            let is_path = name.is_empty() || name == "." || name == "..";
            if is_path || name.len() > MAX_NAME || name.contains(is_strange) {
                let shown = Quoted(name);
                return Err(invalid(format!(
                    "`{shown}` cannot be the {what}: it must have 1 to 255 bytes, without `/`, white space \
                     and control characters"
                )));
            }
        }
        let host = endpoint.address().host();
        if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
            return Err(invalid(format!(
                "`{host}` cannot be announced: it is an address to listen at; announce the one at which \
                 this host is reached"
            )));
        }
        let now = SystemTime::now();
        Ok(Self { service, endpoint: Arc::new(endpoint), created_at: now, updated_at: now })
    }

    /// This instance with another endpoint under the same id.
    pub(super) fn with_endpoint(&self, endpoint: Endpoint) -> Result<Self, Error> {
        let endpoint = endpoint.with_key(self.endpoint.shared_key().clone());
        Ok(Self { created_at: self.created_at, ..Self::new(self.service.clone(), endpoint)? })
    }

    /// As it was written at `time`.
    #[cfg(feature = "json")]
    pub(in crate::discover) fn written_at(self, time: SystemTime) -> Self {
        Self { created_at: time, updated_at: time, ..self }
    }

    /// Returns the name of the service.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Returns the id.
    pub fn id(&self) -> &str {
        self.endpoint.key()
    }

    pub(super) fn shared_id(&self) -> &Arc<str> {
        self.endpoint.shared_key()
    }

    /// Returns the endpoint, whose key is the id.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Returns when it was created.
    pub fn created_at(&self) -> SystemTime {
        self.created_at
    }

    /// Returns when it was changed last.
    pub fn updated_at(&self) -> SystemTime {
        self.updated_at
    }
}

fn invalid(text: String) -> Error {
    Error::not_sent(Kind::InvalidConfig).message(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Endpoint {
        Endpoint::new(address).unwrap()
    }

    #[test]
    fn an_id_is_made_once_and_stays() {
        let one = Instance::new("tax", at("a:1")).unwrap();
        let other = Instance::new("tax", at("a:1")).unwrap();
        assert_ne!(one.id(), other.id());
        let moved = one.with_endpoint(at("b:1").with_key("another")).unwrap();
        assert_eq!((moved.id(), moved.created_at()), (one.id(), one.created_at()));
        assert_eq!(moved.endpoint().address().as_str(), "b:1");
    }

    #[test]
    fn names_that_a_registry_cannot_keep_are_refused() {
        let long = "x".repeat(256);
        for name in ["", ".", "..", "a/b", "a b", "a\n", &long] {
            assert!(Instance::new(name, at("a:1").with_key("1")).is_err(), "{name}");
            assert!(Instance::new("tax", at("a:1").with_key(name)).is_err(), "{name}");
        }
        for address in ["0.0.0.0:80", "http://[::]:80"] {
            let error = Instance::new("tax", at(address)).unwrap_err().to_string();
            assert!(error.contains("an address to listen at"), "{error}");
        }
    }
}
