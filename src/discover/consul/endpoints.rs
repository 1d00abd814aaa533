//! What entries mean, as arithmetic.

use std::collections::{BTreeMap, HashMap};

use super::{
    super::host::endpoint_at,
    entry::{Check, Entry, Place},
    query::ConsulQuery,
};
use crate::{
    endpoint::{Endpoint, Locality, Status},
    error::{Error, Kind, Quoted},
};

/// Reads the answer to a query.
///
/// An instance that cannot be reached by any address, such as one without a port, is left out.
pub(super) fn endpoints(json: &[u8], query: &ConsulQuery) -> Result<Vec<Endpoint>, Error> {
    let mut entries =
        serde_json::from_slice::<Option<Vec<Entry>>>(json).map_err(unreadable)?.unwrap_or_default();
    // Proxies and gateways stand for other services.
    entries.retain(|entry| entry.service.kind.as_deref().unwrap_or_default().is_empty());
    let mut count: HashMap<String, usize> = HashMap::new();
    for entry in &entries {
        *count.entry(entry.service.id.clone()).or_default() += 1;
    }
    let (mut found, mut failed) = (Vec::with_capacity(entries.len()), None);
    for entry in entries {
        let is_unique = count.get(&entry.service.id) == Some(&1);
        let (id, node) = (entry.service.id.clone(), entry.node.name.clone());
        match endpoint(entry, is_unique, query) {
            Ok(endpoint) => found.push(endpoint),
            Err(error) => {
                tracing::debug!(id, node, %error, "an instance cannot be used");
                failed.get_or_insert(error);
            }
        }
    }
    match failed {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

/// Reads the answer to `/v1/catalog/services`: names, and their tags.
pub(super) fn services(json: &[u8]) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let services: BTreeMap<String, Option<Vec<String>>> =
        serde_json::from_slice(json).map_err(unreadable)?;
    Ok(services.into_iter().map(|(name, tags)| (name, tags.unwrap_or_default())).collect())
}

/// Reads the answer to `/v1/agent/health/service/id/ID`: the name of the service, and the endpoint. `host` is
/// that of an instance without an address.
pub(super) fn instance(
    json: &[u8],
    host: &str,
    query: &ConsulQuery,
) -> Result<(String, Endpoint), Error> {
    let mut entry: Entry = serde_json::from_slice(json).map_err(unreadable)?;
    entry.node.address = host.to_owned();
    let (service, id) = (entry.service.name.clone(), entry.service.id.clone());
    Ok((service, endpoint(entry, true, query)?.with_key(id)))
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::failed(Kind::Transport).message("Consul's answer cannot be read").caused_by(error)
}

fn endpoint(entry: Entry, is_unique: bool, query: &ConsulQuery) -> Result<Endpoint, Error> {
    let Entry { node, service, checks, aggregated_status } = entry;
    let port = service.port();
    let checks = checks.unwrap_or_else(|| {
        // An agent says less of its own.
        let id = if aggregated_status == "maintenance" { "_node_maintenance" } else { "" };
        vec![Check { id: id.to_owned(), status: aggregated_status }]
    });
    let (status, in_maintenance) = judge(&checks);
    let weights = service.weights.unwrap_or_default();
    let weight = if status == Status::Warning { weights.warning } else { weights.passing };
    let meta = service.meta.unwrap_or_default();
    let tagged = query.tagged_address.as_ref().and_then(|tag| {
        service.tagged_addresses.as_ref()?.get(tag).filter(|of| !of.address.is_empty())
    });
    let (host, port) = match tagged {
        // Without a port of its own it has that of the service.
        Some(of) if of.port == 0 => (&*of.address, port),
        Some(of) => (&*of.address, of.port),
        None => match service.address.as_deref() {
            None | Some("") => (&*node.address, port),
            Some(address) => (address, port),
        },
    };
    let refused = |what: &str| {
        let (id, name) = (Quoted(&service.id), Quoted(&service.name));
        let text = format!("the instance `{id}` of `{name}` has {what}");
        Error::not_sent(Kind::InvalidConfig).message(text)
    };
    let port = u16::try_from(port).map_err(|_| refused("a port that is none"))?;
    if port == 0 {
        return Err(refused("no port"));
    }
    let protocol = meta.get("protocol").or(query.scheme.as_ref()).filter(|of| !of.is_empty());
    // Ids are unique on their node, and that of a service that was given none is its name.
    let key = match is_unique && service.id != service.name {
        true => service.id.clone(),
        false => format!("{}/{}", node.name, service.id),
    };
    let node_meta = node.meta.unwrap_or_default();
    let place = |of: fn(&Place) -> &String, key: &str| {
        let places = [&service.locality, &node.locality].into_iter().flatten().map(of);
        let all = places.chain([&meta, &node_meta].into_iter().filter_map(|meta| meta.get(key)));
        all.into_iter().find(|text| !text.is_empty()).cloned()
    };
    let region = place(|place| &place.region, "region").or(node.datacenter.clone());
    let zone = place(|place| &place.zone, "zone");
    let mut endpoint = endpoint_at(protocol.map(String::as_str), host, Some(port), "")?
        .with_key(key)
        .with_weight(weight)
        .with_status(status)
        .with_draining(in_maintenance)
        .with_locality(Locality {
            region: region.unwrap_or_default(),
            zone: zone.unwrap_or_default(),
            ..Locality::default()
        });
    for tag in service.tags.unwrap_or_default() {
        endpoint = endpoint.with_tag(tag);
    }
    for (key, value) in meta {
        // As it was before Consul made it be written otherwise.
        if let Some(farp) = key.strip_prefix("farp_") {
            let dotted = format!("farp.{}", farp.replace('_', "."));
            endpoint = endpoint.with_metadata(dotted, value.clone());
        }
        endpoint = endpoint.with_metadata(key, value);
    }
    // Last: an instance does not say of itself that it is another service.
    Ok(endpoint.with_metadata("name", service.name))
}

/// The worst of all checks, those of the node included, and whether the instance is under maintenance.
fn judge(checks: &[Check]) -> (Status, bool) {
    let (mut status, mut in_maintenance) = (Status::Passing, false);
    for check in checks {
        if check.id == "_node_maintenance" || check.id.starts_with("_service_maintenance:") {
            // It is critical by itself; how the instance is, the others tell.
            in_maintenance = true;
            continue;
        }
        status = match (&*check.status, status) {
            ("critical", _) | (_, Status::Critical) => Status::Critical,
            ("warning", _) => Status::Warning,
            _ => status,
        };
    }
    (status, in_maintenance)
}

#[cfg(test)]
#[path = "endpoints_tests.rs"]
mod tests;
