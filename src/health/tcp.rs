use std::sync::Arc;

use super::{
    check::{Check, NO_ENDPOINT, Verdict},
    probe::limit,
};
use crate::{
    dial::TcpConnector,
    endpoint::{Address, Endpoint},
    error::root,
};

/// Checks whether an endpoint takes TCP connections. Nothing is sent.
///
/// For a protocol that no other check speaks. It finds a host or a process that is gone, not one
/// that hangs: where there is something to ask, ask.
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
    /// Connects to the address of each endpoint. The ports of `http` and `https` need not be
    /// written.
    pub fn new() -> Self {
        Self::default()
    }

    /// Connects to this `host:port`, whatever the endpoint.
    ///
    /// One that cannot work is reported by every call through the gate, as
    /// [`Kind::InvalidConfig`](crate::error::Kind).
    pub fn to(address: impl AsRef<str>) -> Self {
        match address.as_ref().parse() {
            Ok(address) => Self { to: Some(address), ..Self::default() },
            Err(error) => Self { mistake: Some(error.to_string()), ..Self::default() },
        }
    }

    /// Connects to this port instead of the address's own.
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
        let known = match address.scheme() {
            Some("http") => Some(80),
            Some("https") => Some(443),
            Some("unix") => return Err(format!("`TcpCheck` cannot reach `{address}`")),
            _ => None,
        };
        match self.port.or(address.port()).or(known) {
            Some(port) => Ok((address.host().to_owned(), port)),
            None => Err(format!("`TcpCheck` needs a port, and `{address}` has none; give `port`")),
        }
    }
}

impl Check for TcpCheck {
    async fn check(&self, endpoint: Option<Arc<Endpoint>>) -> Verdict {
        match self.peer(endpoint.as_deref()) {
            // The time of the check bounds it.
            Ok((host, port)) => {
                let connect = TcpConnector::without_timeout(limit());
                match connect.connect(&host, port).await {
                    Ok(_) => Verdict::Healthy,
                    Err(error) => {
                        Verdict::Unhealthy(format!("connection failed: {}", root(&error)).into())
                    }
                }
            }
            Err(problem) => Verdict::Unhealthy(problem.into()),
        }
    }

    fn problem(&self, endpoint: Option<&Endpoint>) -> Option<String> {
        self.peer(endpoint).err()
    }
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
