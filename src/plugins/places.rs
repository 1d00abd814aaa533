//! Where a plugin is: its endpoints, whichever of the three ways its config names them in.

use std::{collections::BTreeMap, sync::Arc};

use super::{built_in, endpoints::AnyDiscover, sources};
use crate::{
    config::{EndpointConfig, PluginConfig},
    discover,
    endpoint::Endpoint,
    error::{Code, Error, Kind},
};

/// Address of what has none, such as a service of this process.
pub(super) const NOWHERE: &str = "in-process:1";

/// The endpoints of `plugin`. A transport of this crate adds its scheme to addresses without one.
pub(super) fn of(
    plugin: &PluginConfig,
    is_built_in: bool,
    known: &BTreeMap<String, AnyDiscover>,
) -> Result<AnyDiscover, Error> {
    if let Some(discover) = &plugin.discover {
        let transport = plugin.transport.clone();
        let found = sources::open(discover, &plugin.name, known)?;
        if !is_built_in {
            return Ok(found);
        }
        return Ok(found.map(move |endpoint| Some(reached_by(&transport, endpoint))));
    }
    let alone = [EndpointConfig::new(address(plugin))];
    let places = if plugin.endpoints.is_empty() { &alone[..] } else { &plugin.endpoints[..] };
    if places.iter().any(|place| place.address.is_empty()) {
        return Err(nowhere(plugin));
    }
    let endpoints = places.iter().map(|place| {
        let mut place = place.clone();
        if is_built_in {
            place.address = built_in::address(&plugin.transport, &place.address);
            return place.endpoint();
        }
        // The text is for the factory, and need not be an address.
        place.endpoint().or_else(|_| {
            let text = std::mem::replace(&mut place.address, NOWHERE.to_owned());
            if place.id.is_empty() {
                place.id = text;
            }
            place.endpoint()
        })
    });
    let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
    Ok(AnyDiscover::new(discover::fixed(endpoints)?))
}

/// A program may be named by its own key.
fn address(plugin: &PluginConfig) -> &str {
    match &*plugin.transport {
        "exec" if !plugin.executable.is_empty() => &plugin.executable,
        _ => &plugin.endpoint,
    }
}

fn reached_by(transport: &str, endpoint: &Arc<Endpoint>) -> Arc<Endpoint> {
    let text = endpoint.address().as_str();
    let address = built_in::address(transport, text);
    if address == text {
        return endpoint.clone();
    }
    let Ok(mut other) = Endpoint::new(&address) else { return endpoint.clone() };
    other = other
        .with_key(endpoint.key())
        .with_weight(endpoint.weight())
        .with_priority(endpoint.priority())
        .with_locality(endpoint.locality().clone())
        .with_zone_hints(endpoint.zone_hints().iter().map(String::as_str))
        .with_status(endpoint.status())
        .with_draining(endpoint.is_draining());
    other = endpoint.check().cloned().into_iter().fold(other, Endpoint::with_check);
    other = endpoint.tags().iter().fold(other, Endpoint::with_tag);
    let metadata = endpoint.metadata().iter();
    Arc::new(metadata.fold(other, |other, (key, value)| other.with_metadata(key, value)))
}

#[cold]
fn nowhere(plugin: &PluginConfig) -> Error {
    let (code, text) = match &*plugin.transport {
        "unix" => (Code::PLUGIN_1006, "transport `unix` needs an `endpoint`, the path of a socket"),
        "exec" => (Code::PLUGIN_1007, "transport `exec` needs an `executable`"),
        _ => (Code::PLUGIN_1003, "it needs an `endpoint`, `endpoints`, or `discover`"),
    };
    Error::not_sent(Kind::InvalidConfig)
        .coded(Some(code))
        .message(format!("plugin `{}`: {text}", plugin.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{EndpointCheck, Locality, Status};

    #[test]
    fn an_endpoint_that_was_found_is_reached_over_the_transport_and_stays_as_it_is() {
        let at = |address: &str| {
            let locality = Locality { region: "eu".into(), ..Locality::of_zone("a") };
            Arc::new(
                Endpoint::new(address)
                    .unwrap()
                    .with_key("tax-1")
                    .with_weight(3)
                    .with_priority(2)
                    .with_locality(locality)
                    .with_zone_hints(["a"])
                    .with_status(Status::Warning)
                    .with_draining(true)
                    .with_check(EndpointCheck::get("/up").unwrap())
                    .with_tag("blue")
                    .with_metadata("k", "v"),
            )
        };
        assert_eq!(*reached_by("https", &at("tax:1")), *at("https://tax:1"));
        let same = at("http://tax:1");
        assert!(Arc::ptr_eq(&reached_by("https", &same), &same), "what says its scheme has it");
    }
}
