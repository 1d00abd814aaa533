//! The endpoint at a host and a port that a registry tells of, in words that anything may have written there.

use super::ip::is_of_a_host;
use crate::{
    endpoint::Endpoint,
    error::{Error, Kind, Quoted},
};

/// A host and a port, as they stand in a URL.
pub(super) fn authority(host: &str, port: u16) -> String {
    format!("{}:{port}", bracketed(host))
}

fn bracketed(host: &str) -> String {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}

/// The endpoint at a host and a port, or at that of the scheme, which is HTTP if none is told.
///
/// # Errors
/// It would be another one: a socket, a program or any address of this host, another port, or another path.
pub(super) fn endpoint_at(
    scheme: Option<&str>,
    host: &str,
    port: Option<u16>,
    path: &str,
) -> Result<Endpoint, Error> {
    let authority = port.map_or_else(|| bracketed(host), |port| authority(host, port));
    let text = match scheme {
        Some(scheme) => format!("{scheme}://{authority}{path}"),
        None => format!("{authority}{path}"),
    };
    let leads_away = || {
        let shown = Quoted(&text);
        let what = format!("`{shown}` does not lead to the host and the port that it has");
        Error::not_sent(Kind::InvalidConfig).message(what)
    };
    if scheme.is_some_and(|scheme| !is_of_network(scheme)) {
        return Err(leads_away());
    }
    let endpoint = Endpoint::new(&*text)?;
    let address = endpoint.address();
    let is_of_none = address.host().parse().is_ok_and(|ip| !is_of_a_host(ip));
    if is_of_none || address.authority() != authority || address.path() != path {
        return Err(leads_away());
    }
    Ok(endpoint)
}

/// Whether a scheme is one by which a host and a port are reached.
fn is_of_network(scheme: &str) -> bool {
    let is_scheme =
        scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme
        && !scheme.to_ascii_lowercase().ends_with("unix")
        && !scheme.eq_ignore_ascii_case("exec")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port_are_an_endpoint_by_any_scheme_of_the_network() {
        for (scheme, host, port, path, expected) in [
            (None, "10.0.0.1", Some(80), "", "10.0.0.1:80"),
            (None, "::1", Some(80), "", "[::1]:80"),
            (None, "[fe80::1%25eth0]", Some(80), "/v1", "[fe80::1%25eth0]:80/v1"),
            (Some("https"), "a.example", None, "", "https://a.example"),
            (Some("grpc"), "::1", None, "", "grpc://[::1]"),
            (Some("GRPC-TLS"), "A.example", Some(1), "/", "GRPC-TLS://A.example:1/"),
        ] {
            let endpoint = endpoint_at(scheme, host, port, path).unwrap();
            assert_eq!(endpoint.address().as_str(), expected);
        }
    }

    #[test]
    fn what_would_lead_elsewhere_is_refused() {
        for (scheme, host) in [
            // To a socket or a program of this host.
            (Some("unix"), "10.0.0.1"),
            (Some("exec:/bin/sh"), "10.0.0.1"),
            (Some("unix:/run/a.sock"), "10.0.0.1"),
            (Some("EXEC"), "10.0.0.1"),
            (Some("http+unix"), "%2Frun%2Fa.sock/"),
            (Some("http+unix"), "%2Frun%2Fa.sock"),
            // To another port, or below a path.
            (Some("http"), "10.0.0.1/admin"),
            (Some("http"), "10.0.0.1:22/"),
            (Some("http://10.0.0.9:80/x"), "10.0.0.1"),
            (None, "10.0.0.1:22/x"),
            (None, "10.0.0.1/x"),
            (None, "unix:/run/a.sock"),
            (None, "user@10.0.0.1"),
            // To whatever listens at this host.
            (None, "0.0.0.0"),
            (Some("http"), "::"),
            (Some("http"), "[::ffff:0.0.0.0]"),
            (None, "224.0.0.1"),
            (None, "255.255.255.255"),
            (None, ""),
            (None, "a b"),
        ] {
            assert!(endpoint_at(scheme, host, Some(80), "").is_err(), "{scheme:?} {host}");
        }
        assert!(endpoint_at(Some("http"), "a/b", None, "").is_err());
        assert!(endpoint_at(Some("http"), "a", Some(0), "").is_err());
    }
}
