use std::{io, sync::Arc};

use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{
    check::{Check, NO_ENDPOINT, Verdict},
    probe::limit,
};
use crate::{
    endpoint::{Address, Endpoint},
    time,
};

/// Check whether an endpoint accepts TCP connections. Sends nothing.
///
/// For protocols that no other check speaks. It detects a host or a process that is gone, but not one
/// that hangs; use a check with a request where there is one. Needs the feature `net` alone.
///
/// # Bounds
/// The addresses of a host are tried in order, and share [`HealthConfig::timeout`](super::HealthConfig).
///
/// # Example
/// ```
/// use tower_upstream::{HealthGateLayer, health::TcpCheck};
///
/// // Below a balancer: the address of each endpoint, or another port of its host.
/// let each = HealthGateLayer::new(TcpCheck::new());
/// let admin = HealthGateLayer::new(TcpCheck::new().port(9_901));
/// // Above it: one address for the whole upstream.
/// let whole = HealthGateLayer::new(TcpCheck::to("10.0.0.1:5432"));
/// # let _ = (each, admin, whole);
/// ```
#[derive(Debug, Clone, Default)]
pub struct TcpCheck {
    to: Option<Address>,
    port: Option<u16>,
    mistake: Option<String>,
}

impl TcpCheck {
    /// Creates a check that connects to the address of each endpoint. Default ports: 80 for `http`, 443
    /// for `https`.
    ///
    /// ```
    /// let check = tower_upstream::health::TcpCheck::new();
    /// # let _ = check;
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a check that connects to this `host:port`, whatever the endpoint.
    ///
    /// An address that cannot work is reported by every call through the gate, as
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig).
    ///
    /// ```
    /// let check = tower_upstream::health::TcpCheck::to("10.0.0.1:5432");
    /// # let _ = check;
    /// ```
    pub fn to(address: impl AsRef<str>) -> Self {
        match address.as_ref().parse() {
            Ok(address) => Self { to: Some(address), ..Self::default() },
            Err(error) => Self { mistake: Some(error.to_string()), ..Self::default() },
        }
    }

    /// Sets the port. Default: that of the address.
    ///
    /// ```
    /// let admin = tower_upstream::health::TcpCheck::new().port(9_901);
    /// # let _ = admin;
    /// ```
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Where to connect to.
    fn peer(&self, endpoint: Option<&Endpoint>) -> Result<(String, u16), String> {
        if let Some(mistake) = &self.mistake {
            return Err(mistake.clone());
        }
        let address = self.to.as_ref().or(endpoint.map(Endpoint::address));
        let address = address.ok_or(NO_ENDPOINT)?;
        if address.scheme() == Some("unix") {
            return Err(format!("`TcpCheck` cannot reach `{address}`"));
        }
        match self.port.or(address.port()).or(address.default_port()) {
            Some(port) => Ok((address.host().to_owned(), port)),
            None => Err(format!("`TcpCheck` needs a port, and `{address}` has none; give `port`")),
        }
    }
}

impl Check for TcpCheck {
    async fn check(&self, endpoint: Option<Arc<Endpoint>>) -> Verdict {
        match self.peer(endpoint.as_deref()) {
            Ok((host, port)) => match connect(&host, port).await {
                Ok(_) => Verdict::Healthy,
                Err(error) => Verdict::Unhealthy(format!("connection failed: {error}").into()),
            },
            Err(problem) => Verdict::Unhealthy(problem.into()),
        }
    }

    fn problem(&self, endpoint: Option<&Endpoint>) -> Option<String> {
        self.peer(endpoint).err()
    }
}

/// Tries the addresses of a host in their order. Each gets an equal share of the time that is left, so
/// that one that does not answer leaves time for the next.
async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let deadline = time::later(time::now(), limit());
    // In a URL, the `%` before the zone of an IPv6 address is written as RFC 6874 §2 asks.
    let host = host.replacen("%25", "%", 1);
    let addresses: Vec<_> = lookup_host((&*host, port)).await?.collect();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(time::now());
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(late) => failed = late.into(),
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_is_the_endpoint_s_or_as_given() {
        let peer = |check: &TcpCheck, endpoint: &str| {
            check
                .peer(Some(&endpoint.parse().unwrap()))
                .map(|(host, port)| format!("{host} {port}"))
        };
        let each = TcpCheck::new();
        assert_eq!(peer(&each, "http://[::1]:8080/x").unwrap(), "::1 8080");
        assert_eq!(peer(&each, "http://a").unwrap(), "a 80");
        assert_eq!(peer(&each, "https://a").unwrap(), "a 443");
        assert_eq!(peer(&each.clone().port(9), "a:1").unwrap(), "a 9");
        assert!(peer(&each, "grpc://a").unwrap_err().contains("has none"));
        assert!(peer(&each, "unix:/run/a").unwrap_err().contains("unix:/run/a"));
        assert_eq!(peer(&TcpCheck::to("b:2"), "a:1").unwrap(), "b 2");
        assert_eq!(each.problem(None).unwrap(), NO_ENDPOINT);
        assert_eq!(TcpCheck::to("b:2").problem(None), None);
        assert!(TcpCheck::to("b:").problem(None).is_some());
    }
}
