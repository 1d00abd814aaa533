//! What addresses begin with, by the transport of this crate that reaches them.

use crate::config::model::PluginConfig;

pub(crate) const HTTP: [&str; 3] = ["http", "https", "http+unix"];
pub(crate) const SOCKETS: [&str; 2] = ["unix", "tcp"];
pub(crate) const GRPC: [&str; 4] = ["grpc", "grpc-tls", "grpcs", "grpc+unix"];
pub(crate) const PROGRAMS: [&str; 1] = ["exec"];

/// Whether calls of a plugin may lead to a program: discovery may find anything.
pub(crate) fn may_lead_to_programs(plugin: &PluginConfig) -> bool {
    let is_program = |address: &str| {
        let scheme = address.split_once(':').map(|(scheme, _)| scheme);
        scheme.is_some_and(|scheme| PROGRAMS[0].eq_ignore_ascii_case(scheme))
    };
    plugin.transport == "exec"
        || plugin.discover.is_some()
        || is_program(&plugin.endpoint)
        || plugin.endpoints.iter().any(|endpoint| is_program(&endpoint.address))
}

/// The scheme of an address, if it has one: a host with a port has none.
pub(super) fn scheme(address: &str) -> Option<&str> {
    let (scheme, rest) = address.split_once(':')?;
    let is_path = ["unix", "exec"].contains(&scheme);
    (is_path || rest.starts_with("//")).then_some(scheme)
}

/// Whether an address leads over another transport than HTTP. Among `endpoints` it is reached by that.
pub(super) fn leads_elsewhere(address: &str) -> bool {
    let others = [&SOCKETS[..], &GRPC, &PROGRAMS].concat();
    scheme(address).is_some_and(|scheme| others.contains(&scheme))
}

/// The scheme of an address that no transport reaches.
pub(super) fn unknown_scheme(address: &str) -> Option<&str> {
    let all = [&HTTP[..], &SOCKETS, &GRPC, &PROGRAMS].concat();
    let is_known = |scheme: &str| all.iter().any(|known| known.eq_ignore_ascii_case(scheme));
    scheme(address).filter(|scheme| !scheme.is_empty() && !is_known(scheme))
}
