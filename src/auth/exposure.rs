//! Whether what is sent somewhere can be read on the way.

use std::net::IpAddr;

use crate::endpoint::Address;

/// Whether what is sent there cannot be read on the way: by TLS, or since it stays on this host. A
/// name other than `localhost` (RFC 6761 §6.3) may lead anywhere.
pub(super) fn is_private(scheme: &str, host: &str) -> bool {
    const PRIVATE: [&str; 6] = ["https", "grpc-tls", "grpcs", "unix", "http+unix", "grpc+unix"];
    PRIVATE.iter().any(|of| scheme.eq_ignore_ascii_case(of)) || is_this_host(host)
}

/// The same for an address, which is one of HTTP if it has no scheme.
pub(crate) fn leads_privately(address: &Address) -> bool {
    is_private(address.scheme().unwrap_or("http"), address.host())
}

fn is_this_host(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tls_and_this_host_are_private() {
        for (address, expected) in [
            ("https://a.test", true),
            ("HTTPS://10.0.0.1", true),
            ("unix:/run/a.sock", true),
            ("grpc+unix://%2Frun%2Fa", true),
            ("grpc-tls://a.test:1", true),
            ("grpc://a.test:1", false),
            ("http://127.0.0.9:80/x", true),
            ("http://[::1]:80", true),
            ("http://[::ffff:127.0.0.1]:80", true),
            ("http://LocalHost", true),
            ("http://a.localhost:8080", true),
            ("http://10.0.0.1", false),
            ("10.0.0.1:80", false),
            ("http://a.test", false),
            ("http://localhost.evil.test", false),
            ("http://127.0.0.1.evil.test", false),
            ("http://notlocalhost", false),
            ("tcp://10.0.0.1:80", false),
            ("http://0.0.0.0:80", false),
        ] {
            assert_eq!(leads_privately(&address.parse().unwrap()), expected, "{address}");
        }
    }
}
