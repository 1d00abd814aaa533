//! What a slice says of its endpoints, as arithmetic.

use std::{collections::HashSet, sync::Arc};

use super::{
    super::host::{authority, endpoint_at},
    object::{self, Conditions, EndpointSlice, Port, TargetRef},
    query::{KubernetesFamily, KubernetesQuery, SERVICE},
};
use crate::{
    endpoint::{Endpoint, Locality, Status},
    error::{Error, Kind},
};

/// Whether an endpoint may be called, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Availability {
    Ready,
    /// It ends, and still serves.
    Terminating,
    NotReady,
}

/// An endpoint of a slice, of which another slice may have a better one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) availability: Availability,
    /// How much its address is wanted, the least first.
    pub(super) rank: u8,
}

/// What a slice has.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Candidates {
    pub(super) all: Vec<Candidate>,
    /// Why an endpoint that was there cannot be used.
    pub(super) problem: Option<String>,
    /// Whether its port is not there, so that these are those of before that are still in it.
    pub(super) is_without_port: bool,
    /// Whether it has a port with a number.
    pub(super) tells_port: bool,
    /// Whether it has none, so that these have the one that is wanted.
    pub(super) is_of_any_port: bool,
}

/// The endpoints of a slice that can be used, as `query` says; `before` is what it had.
pub(super) fn candidates(
    slice: EndpointSlice,
    query: &KubernetesQuery,
    before: Option<&Candidates>,
) -> Candidates {
    if slice.problem.is_some() {
        let before = before.cloned().unwrap_or_default();
        return Candidates { problem: slice.problem, ..before };
    }
    let mut found = Candidates::default();
    let ports = slice.ports.unwrap_or_default();
    found.tells_port = ports.iter().any(|port| number(port).is_some());
    let endpoints = slice.endpoints.unwrap_or_default();
    let kind = slice.address_type.as_deref().unwrap_or("IPv4");
    let Some(rank) = rank(kind, query.family) else { return found };
    if endpoints.is_empty() {
        return found;
    }
    let (port, number) = match choose(&ports, query.port.as_deref()) {
        Ok(chosen) => chosen,
        Err(problem) => {
            let wanted = endpoints.iter().filter(|of| is_wanted(of.availability(), query));
            let there: HashSet<&str> = wanted.map(|of| of.uid().unwrap_or(of.host())).collect();
            let is_there = |of: &&Candidate| {
                let of = &of.endpoint;
                there.contains(of.key()) || there.contains(of.address().host())
            };
            let known = before.into_iter().flat_map(|before| &before.all);
            let all: Vec<_> = known.filter(is_there).cloned().collect();
            // What was known of the ports holds for those that stay.
            if let Some(before) = before.filter(|_| !all.is_empty()) {
                found.tells_port = before.tells_port;
                found.is_of_any_port = before.is_of_any_port;
            }
            return Candidates { all, problem: Some(problem), is_without_port: true, ..found };
        }
    };
    found.is_of_any_port = !found.tells_port;
    let of_slice = OfSlice {
        service: slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE)),
        namespace: slice.metadata.namespace.as_deref(),
        labels: match query.label_prefix.as_deref() {
            None => Vec::new(),
            Some(prefix) => {
                let labels = slice.metadata.labels.iter().flatten();
                labels.filter(|(key, _)| key.starts_with(prefix)).collect()
            }
        },
        scheme: scheme(port.app_protocol.as_deref()).or(query.scheme.as_deref()),
        port,
        number,
    };
    for endpoint in endpoints {
        let availability = endpoint.availability();
        if !is_wanted(availability, query) {
            continue;
        }
        match of_slice.endpoint(endpoint, availability) {
            Ok(endpoint) => {
                let endpoint = Arc::new(endpoint);
                found.all.push(Candidate { endpoint, availability, rank });
            }
            Err(error) => {
                tracing::debug!(slice = slice.metadata.name, %error, "an endpoint cannot be used");
                found.problem.get_or_insert_with(|| error.to_string());
            }
        }
    }
    found
}

/// What the conditions mean. `null` of `ready` is true, of `serving` the same as `ready`.
pub(super) fn availability(conditions: Conditions) -> Availability {
    let ready = conditions.ready.unwrap_or(true);
    let serving = conditions.serving.unwrap_or(ready);
    match (ready, serving, conditions.terminating.unwrap_or(false)) {
        (true, _, _) => Availability::Ready,
        (false, true, true) => Availability::Terminating,
        (false, _, _) => Availability::NotReady,
    }
}

fn is_wanted(availability: Availability, query: &KubernetesQuery) -> bool {
    availability != Availability::NotReady || !query.only_passing
}

/// `None`: such addresses are not wanted.
fn rank(kind: &str, family: KubernetesFamily) -> Option<u8> {
    use KubernetesFamily::{OnlyIpv4, OnlyIpv6, PreferIpv4, PreferIpv6};
    match (kind, family) {
        ("IPv4", PreferIpv4 | OnlyIpv4) | ("IPv6", PreferIpv6 | OnlyIpv6) => Some(0),
        ("IPv4", PreferIpv6) | ("IPv6", PreferIpv4) => Some(1),
        ("FQDN", _) => Some(2),
        _ => None,
    }
}

/// That of a slice of which no port is told.
static ANY: Port = Port { name: None, port: None, protocol: None, app_protocol: None };

// Without a number it is all ports, and without a protocol TCP.
fn is_tcp(port: &Port) -> bool {
    matches!(port.protocol.as_deref(), None | Some("TCP" | ""))
}

/// That of a port of TCP.
fn number(port: &Port) -> Option<u16> {
    u16::try_from(port.port?).ok().filter(|of| *of > 0 && is_tcp(port))
}

/// The port to call: the one that is wanted, else the only one, else `http`, else the first. Where none is told, as of a
/// headless Service, or all are, which is one without a number, any number will do.
pub(super) fn choose<'a>(
    ports: &'a [Port],
    wanted: Option<&str>,
) -> Result<(&'a Port, u16), String> {
    let usable: Vec<_> = ports.iter().filter_map(|port| Some((port, number(port)?))).collect();
    let named = |name: &str| {
        usable.iter().find(|(port, _)| port.name.as_deref().unwrap_or_default() == name)
    };
    let is_any = |port: &&Port| is_tcp(port) && port.port.is_none();
    let any = || if ports.is_empty() { Some(&ANY) } else { ports.iter().find(is_any) };
    let chosen = match wanted {
        None => named("http").or(usable.first()).copied(),
        Some(wanted) => match wanted.parse::<u16>() {
            Ok(wanted) => usable
                .iter()
                .copied()
                .find(|(_, number)| *number == wanted)
                .or_else(|| Some((any()?, wanted)).filter(|_| wanted > 0)),
            Err(_) => named(wanted).copied(),
        },
    };
    chosen.ok_or_else(|| {
        let known = usable.iter().take(8).map(|(port, number)| match port.name.as_deref() {
            None | Some("") => format!("{number}"),
            Some(name) => format!("`{}` ({number})", crate::wire::start(name, 64).escape_debug()),
        });
        let known: Vec<_> = known.collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        match wanted {
            Some(wanted) => format!("there is no port `{wanted}` of TCP; there are: {known}"),
            None => "there is no port of TCP".to_owned(),
        }
    })
}

/// The scheme that an `appProtocol` means, if it means one.
pub(super) fn scheme(app_protocol: Option<&str>) -> Option<&'static str> {
    match app_protocol?.to_ascii_lowercase().as_str() {
        "http" | "kubernetes.io/ws" => Some("http"),
        "https" | "kubernetes.io/wss" => Some("https"),
        "grpc" => Some("grpc"),
        _ => None,
    }
}

/// What all endpoints of a slice have in common.
struct OfSlice<'a> {
    service: Option<&'a String>,
    namespace: Option<&'a str>,
    labels: Vec<(&'a String, &'a String)>,
    scheme: Option<&'a str>,
    port: &'a Port,
    number: u16,
}

impl object::Endpoint {
    /// All addresses lead to the same place.
    fn host(&self) -> &str {
        self.addresses.as_ref().and_then(|of| of.first()).map_or("", String::as_str)
    }

    /// That of its pod.
    fn uid(&self) -> Option<&str> {
        let pod = self.target_ref.as_ref().filter(|of| of.is_pod())?;
        pod.uid.as_deref().filter(|uid| !uid.is_empty())
    }

    fn availability(&self) -> Availability {
        availability(self.conditions.unwrap_or_default())
    }
}

impl TargetRef {
    fn is_pod(&self) -> bool {
        self.kind.as_deref() == Some("Pod")
    }
}

impl OfSlice<'_> {
    fn endpoint(
        &self,
        of: object::Endpoint,
        availability: Availability,
    ) -> Result<Endpoint, Error> {
        let host = of.host();
        if host.is_empty() {
            return Err(Error::not_sent(Kind::InvalidConfig).message("it has no address"));
        }
        let mut endpoint = endpoint_at(self.scheme, host, Some(self.number), "")?;
        endpoint = match of.uid() {
            Some(uid) => endpoint.with_key(uid),
            None => {
                // Without the scheme, which is no part of what it is.
                endpoint.with_key(authority(host, self.number))
            }
        };
        let pairs = [
            ("name", self.service.cloned()),
            ("namespace", self.namespace.map(str::to_owned)),
            ("pod", of.target_ref.filter(TargetRef::is_pod).and_then(|pod| pod.name)),
            ("node", of.node_name),
            ("port", self.port.name.clone()),
            ("protocol", self.port.app_protocol.clone()),
        ];
        let labels = self.labels.iter();
        let labels = labels.map(|(key, value)| (key.as_str(), Some((*value).clone())));
        // Labels first: none of them says that it is another Service.
        for (key, value) in labels.chain(pairs) {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                endpoint = endpoint.with_metadata(key, value);
            }
        }
        if let Some(zone) = of.zone.filter(|zone| !zone.is_empty()) {
            endpoint = endpoint.with_locality(Locality::of_zone(zone));
        }
        let hints = of.hints.and_then(|hints| hints.for_zones).unwrap_or_default();
        let endpoint = endpoint.with_zone_hints(hints.into_iter().map(|zone| zone.name));
        Ok(match availability {
            Availability::Ready => endpoint.with_status(Status::Passing),
            Availability::Terminating => endpoint.with_status(Status::Passing).with_draining(true),
            Availability::NotReady => endpoint.with_status(Status::Critical),
        })
    }
}

#[cfg(test)]
#[path = "slice_tests.rs"]
mod tests;
