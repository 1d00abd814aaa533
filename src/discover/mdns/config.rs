use std::{net::IpAddr, time::Duration};

use super::{super::watch::WatchConfig, kind::ServiceType};
use crate::error::{Error, Kind};

/// Settings of an [`Mdns`](super::Mdns).
///
/// # Example
/// ```
/// use tower_upstream::discover::MdnsConfig;
///
/// let config = MdnsConfig::default()
///     .with_service_type("_farp._tcp")
///     .with_interface("eth0");
/// assert!(config.validate().is_ok());
/// assert!(config.require_health_before_use);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct MdnsConfig {
    /// Service type that all services share, such as `_farp._tcp`. An instance belongs to the service whose
    /// name it gives as `name`, without regard to case. It is announced as it is written, and searched for in lower
    /// case, too. Default: `None`, which gives each service a type of its own: `_NAME._tcp`.
    pub service_type: Option<String>,
    /// Service types of [`Mdns::all_types`](super::Mdns::all_types), in the order in which they count: of
    /// instances with the same id, the one of the first type is used. Each is searched for in lower case, and as it
    /// is written. At most 64. Default: none.
    pub service_types: Vec<String>,
    /// Interfaces to use, each by its name or by one of its addresses. One that is not there is used once it
    /// is. Default: all.
    pub interfaces: Vec<String>,
    /// Whether to use IPv6 beside IPv4: to ask, to announce, and for the addresses of endpoints. Default:
    /// `false`.
    pub ipv6: bool,
    /// Port of multicast DNS, for a network of tests: all other programs use 5353. Default: 5353.
    pub port: u16,
    /// Time for which to look for instances before a network without any counts as an answer, from 100 ms to
    /// a minute. Also the time after which a set is complete that is gathered anew, after a failure.
    /// Default: 5 s.
    #[cfg_attr(feature = "serde", serde(with = "crate::duration::serde"))]
    pub browse_timeout: Duration,
    /// Most instances of a service, from 1. Further ones are ignored until there is room. Default: 1,024.
    pub max_instances: usize,
    /// Whether an instance is used only after a check of it has passed, since any host in the network can
    /// announce anything. See [`Mdns::with_check`](super::Mdns::with_check). Default: `true`.
    pub require_health_before_use: bool,
    /// Which answers to doubt.
    pub watch: WatchConfig,
}

/// Port of multicast DNS (RFC 6762 §3).
const PORT: u16 = 5353;
const TIMEOUT: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(60)];
const MAX_TYPES: usize = 64;

impl Default for MdnsConfig {
    fn default() -> Self {
        Self {
            service_type: None,
            service_types: Vec::new(),
            interfaces: Vec::new(),
            ipv6: false,
            port: PORT,
            browse_timeout: Duration::from_secs(5),
            max_instances: 1_024,
            require_health_before_use: true,
            watch: WatchConfig::default(),
        }
    }
}

impl MdnsConfig {
    /// Sets [`service_type`](Self::service_type).
    #[must_use]
    pub fn with_service_type(mut self, service_type: impl Into<String>) -> Self {
        self.service_type = Some(service_type.into());
        self
    }

    /// Sets [`service_types`](Self::service_types).
    #[must_use]
    pub fn with_service_types<T: Into<String>>(
        mut self,
        types: impl IntoIterator<Item = T>,
    ) -> Self {
        self.service_types = types.into_iter().map(Into::into).collect();
        self
    }

    /// Adds one to [`interfaces`](Self::interfaces).
    #[must_use]
    pub fn with_interface(mut self, interface: impl Into<String>) -> Self {
        self.interfaces.push(interface.into());
        self
    }

    /// Sets [`ipv6`](Self::ipv6).
    #[must_use]
    pub fn with_ipv6(mut self, ipv6: bool) -> Self {
        self.ipv6 = ipv6;
        self
    }

    /// Sets [`port`](Self::port).
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Sets [`browse_timeout`](Self::browse_timeout).
    #[must_use]
    pub fn with_browse_timeout(mut self, timeout: Duration) -> Self {
        self.browse_timeout = timeout;
        self
    }

    /// Sets [`max_instances`](Self::max_instances).
    #[must_use]
    pub fn with_max_instances(mut self, max: usize) -> Self {
        self.max_instances = max;
        self
    }

    /// Sets [`require_health_before_use`](Self::require_health_before_use).
    #[must_use]
    pub fn with_require_health_before_use(mut self, required: bool) -> Self {
        self.require_health_before_use = required;
        self
    }

    /// Sets [`watch`](Self::watch).
    #[must_use]
    pub fn with_watch(mut self, watch: WatchConfig) -> Self {
        self.watch = watch;
        self
    }

    /// Checks what [`Mdns::service`](super::Mdns::service) would be asked for.
    #[cfg(feature = "config")]
    pub(crate) fn check_service(&self, name: &str) -> Result<(), Error> {
        let has_type = self.service_type.is_some() || !self.service_types.is_empty();
        if has_type { Ok(()) } else { ServiceType::of_service(name).map(drop) }
    }

    /// Returns an error if it cannot be used.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] that names all mistakes at once.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        let of_services = self.service_type.iter().map(|text| ("service_type", text));
        let types = self.service_types.iter().map(|text| ("service_types", text));
        for (key, text) in of_services.chain(types) {
            if let Err(error) = ServiceType::parse(text) {
                mistakes.push(format!("`{key}`: {}", error.what()));
            }
        }
        if self.service_types.len() > MAX_TYPES {
            mistakes.push(format!("`service_types` has more than {MAX_TYPES}"));
        }
        for interface in &self.interfaces {
            match interface.parse::<IpAddr>() {
                Ok(address) if address.is_ipv6() && !self.ipv6 => {
                    mistakes.push(format!("`interfaces` has `{interface}`, but `ipv6` is false"));
                }
                Err(_) if interface.trim().is_empty() => {
                    mistakes.push("`interfaces` has an empty name".to_owned());
                }
                _ => {}
            }
        }
        if self.port == 0 {
            mistakes.push("`port` must not be 0".to_owned());
        }
        let [least, most] = TIMEOUT;
        if !(least..=most).contains(&self.browse_timeout) {
            let value = self.browse_timeout;
            mistakes.push(format!(
                "`browse_timeout` is {value:?}, but must be from 100 ms to a minute"
            ));
        }
        if self.max_instances == 0 {
            mistakes.push("`max_instances` is 0, but must be at least 1".to_owned());
        }
        mistakes.extend(self.watch.validate().err().map(|error| error.what().to_owned()));
        if mistakes.is_empty() {
            return Ok(());
        }
        let text = format!("mDNS: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(text))
    }

    /// Whether an interface with this name and address is to be used.
    pub(super) fn uses(&self, name: &str, address: IpAddr) -> bool {
        let is_named =
            |of: &String| of == name || of.parse::<IpAddr>().is_ok_and(|of| of == address);
        (self.ipv6 || address.is_ipv4())
            && (self.interfaces.is_empty() || self.interfaces.iter().any(is_named))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_named_at_once() {
        assert!(MdnsConfig::default().validate().is_ok());
        let wrong = MdnsConfig::default()
            .with_service_type("tax")
            .with_service_types(["_tax._udp"])
            .with_interface("::1")
            .with_interface(" ")
            .with_port(0)
            .with_browse_timeout(Duration::ZERO)
            .with_max_instances(0)
            .with_watch(WatchConfig::default().with_max_removed(2.0));
        let text = wrong.validate().unwrap_err().to_string();
        for name in [
            "`service_type`",
            "`service_types`",
            "`ipv6`",
            "empty name",
            "`port`",
            "`browse_timeout`",
            "`max_instances`",
            "`max_removed`",
        ] {
            assert!(text.contains(name), "{text}");
        }
    }

    #[test]
    fn an_interface_is_chosen_by_its_name_or_its_address() {
        let lo = "127.0.0.1".parse().unwrap();
        let config = MdnsConfig::default();
        assert!(config.uses("lo", lo) && !config.uses("lo", "::1".parse().unwrap()));
        let by_address = config.clone().with_interface("127.0.0.1").with_ipv6(true);
        assert!(by_address.uses("lo", lo) && !by_address.uses("lo", "::1".parse().unwrap()));
        let by_name = config.with_interface("eth0").with_ipv6(true);
        assert!(by_name.uses("eth0", "fe80::1".parse().unwrap()) && !by_name.uses("lo", lo));
    }
}
