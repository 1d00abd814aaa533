//! Which IP addresses a backend may tell of.

use std::net::IpAddr;

/// Whether an address is that of one host. One to listen at leads to this host, whatever has written it.
pub(super) fn is_of_a_host(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    }
}
