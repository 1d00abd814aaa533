//! What to resolve, and what to make of it.

use std::net::IpAddr;

use crate::{
    endpoint::{Address, Endpoint},
    error::{Error, Kind},
};

/// A name, and what stands around it in an address.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ServiceName {
    pub(super) host: String,
    /// `None`: SRV records tell it.
    pub(super) port: Option<u16>,
    scheme: Option<String>,
    path: String,
}

impl ServiceName {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let mistake = |what: String| Error::not_sent(Kind::InvalidConfig).message(what);
        // SRV records have a port, so an address with them needs neither that nor a scheme.
        let is_bare_srv = text.starts_with('_') && !text.contains("://");
        let address: Address = match is_bare_srv {
            true => format!("srv://{text}").parse()?,
            false => text.parse()?,
        };
        let host = address.host().to_owned();
        if host.is_empty() || host.parse::<IpAddr>().is_ok() || address.socket_path().is_some() {
            return Err(mistake(format!(
                "`{}` has no name that DNS could resolve; use `discover::fixed` for an address",
                address.as_str()
            )));
        }
        let scheme = address.scheme().filter(|_| !is_bare_srv).map(str::to_owned);
        let of_scheme = address.default_port();
        let port = match (host.starts_with('_'), address.port()) {
            (true, None) => None,
            (true, Some(_)) => {
                let host = &host;
                return Err(mistake(format!(
                    "`{host}`: the SRV records tell the port; write none"
                )));
            }
            (false, port) => Some(
                port.or(of_scheme)
                    .ok_or_else(|| mistake(format!("`{}` needs a port", address.as_str())))?,
            ),
        };
        Ok(Self { host, port, scheme, path: address.path().to_owned() })
    }

    /// The endpoint at an address that was found.
    pub(super) fn endpoint(&self, ip: IpAddr, port: u16) -> Result<Endpoint, Error> {
        let authority = std::net::SocketAddr::new(ip, port);
        Endpoint::new(match &self.scheme {
            Some(scheme) => format!("{scheme}://{authority}{}", self.path),
            None => format!("{authority}{}", self.path),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_what_stands_around_it() {
        for (text, host, port, endpoint) in [
            ("http://tax.internal:8080/v1", "tax.internal", Some(8080), "http://10.0.0.1:9/v1"),
            ("https://tax.internal", "tax.internal", Some(443), "https://10.0.0.1:9"),
            ("tax.internal.:8080", "tax.internal.", Some(8080), "10.0.0.1:9"),
            ("_http._tcp.tax.internal", "_http._tcp.tax.internal", None, "10.0.0.1:9"),
            ("http://_http._tcp.tax/v1", "_http._tcp.tax", None, "http://10.0.0.1:9/v1"),
        ] {
            let name = ServiceName::parse(text).unwrap();
            assert_eq!((&*name.host, name.port), (host, port));
            let made = name.endpoint([10, 0, 0, 1].into(), 9).unwrap();
            assert_eq!(made.key(), endpoint);
        }
        let name = ServiceName::parse("tax.internal:1").unwrap();
        assert_eq!(name.endpoint("fd00::1".parse().unwrap(), 9).unwrap().key(), "[fd00::1]:9");
    }

    #[test]
    fn what_cannot_be_resolved_is_refused() {
        for (text, told) in [
            ("10.0.0.1:80", "discover::fixed"),
            ("http://[::1]:80", "discover::fixed"),
            ("unix:/run/tax.sock", "discover::fixed"),
            ("http://_http._tcp.tax:80", "write none"),
            ("grpc://tax", "needs a port"),
            ("tax", "neither a scheme nor a port"),
        ] {
            let error = ServiceName::parse(text).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
