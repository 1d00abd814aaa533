//! Where an instance is reached, for registries that keep a host and a port.

use crate::endpoint::Address;

/// The port of an address that is a host and a port, and nothing else. `Err`: why it is not.
pub(in crate::discover) fn port(address: &Address) -> Result<u16, String> {
    if address.host().is_empty() || address.socket_path().is_some() {
        return Err(format!("`{address}` has no host"));
    }
    if !matches!(address.path(), "" | "/") {
        return Err(format!("`{address}` has a path, for which there is no place"));
    }
    let port = address.port().or_else(|| address.default_port());
    port.ok_or_else(|| format!("`{address}` has no port"))
}
