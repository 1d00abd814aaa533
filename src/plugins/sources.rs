//! The backends that a `discover` section may name.

use std::collections::BTreeMap;

use serde_json::Value;

use super::endpoints::AnyDiscover;
use crate::{
    config::{
        DiscoverConfig,
        nearest::did_you_mean,
        rules::backends::{self, FileSettings, HttpSettings},
    },
    discover::{Farp, File, Filtered, Watched},
    error::{Code, Error, Kind},
};

/// One row: the key of a backend, and how it is opened, or the Cargo feature without which it is not there.
struct Backend {
    name: &'static str,
    open: Result<Open, &'static str>,
}

/// Makes the source for a service by the settings of a backend.
type Open = fn(&Asked<'_>) -> Result<AnyDiscover, Error>;

/// A row whose function is there with a feature. Without it, the error names the feature.
macro_rules! backend {
    ($name:literal, $feature:literal, $open:ident) => {
        Backend {
            name: $name,
            open: {
                #[cfg(feature = $feature)]
                {
                    Ok($open)
                }
                #[cfg(not(feature = $feature))]
                {
                    Err($feature)
                }
            },
        }
    };
}

/// A new backend is one row, and the function that opens it.
const BACKENDS: &[Backend] = &[
    Backend { name: "memory", open: Ok(memory) },
    Backend { name: "file", open: Ok(file) },
    Backend { name: "http", open: Ok(http) },
    backend!("dns", "dns", dns),
    backend!("consul", "consul", consul),
    backend!("etcd", "etcd", etcd),
    backend!("eureka", "eureka", eureka),
    backend!("kubernetes", "kubernetes", kubernetes),
    backend!("mdns", "mdns", mdns),
];

/// What a backend is asked for.
struct Asked<'a> {
    service: &'a str,
    settings: &'a Value,
    known: &'a BTreeMap<String, AnyDiscover>,
}

/// The source of a `discover` section. `known` are those that were registered in code.
pub(super) fn open(
    discover: &DiscoverConfig,
    plugin: &str,
    known: &BTreeMap<String, AnyDiscover>,
) -> Result<AnyDiscover, Error> {
    let (name, settings) = discover.backend()?;
    let Some(backend) = BACKENDS.iter().find(|backend| backend.name == name) else {
        return Err(backends::unknown_backend(name).into());
    };
    let service = if discover.service.is_empty() { plugin } else { &discover.service };
    match backend.open {
        Ok(open) => {
            open(&Asked { service, settings, known }).map(|found| found.tagged(&discover.tags))
        }
        Err(feature) => {
            Err(mistake(format!("the backend `{name}` takes the Cargo feature `{feature}`")))
        }
    }
}

#[cold]
fn mistake(text: String) -> Error {
    Error::not_sent(Kind::InvalidConfig)
        .coded(Some(Code::REGISTRY_1906))
        .message(format!("discover: {text}"))
}

/// Of this program: a source that it has registered under the name of the service.
fn memory(asked: &Asked<'_>) -> Result<AnyDiscover, Error> {
    asked.known.get(asked.service).map(AnyDiscover::for_another).ok_or_else(|| {
        let names: Vec<_> = asked.known.keys().map(String::as_str).collect();
        let hint = did_you_mean(asked.service, &names).map(|hint| format!("{hint} "));
        let hint = hint.unwrap_or_default();
        let there = match names.is_empty() {
            true => "there is none".to_owned(),
            false => format!("there are `{}`", names.join("`, `")),
        };
        let service = asked.service;
        mistake(format!(
            "no source `{service}` was registered with `register_source` before; {hint}{there}"
        ))
    })
}

/// A file, whose path may have the name of the service in it.
fn file(asked: &Asked<'_>) -> Result<AnyDiscover, Error> {
    let FileSettings { path, interval, watch } = backends::file(asked.settings)?;
    watch.validate()?;
    let file = File::new(path);
    let file = match interval {
        Some(interval) => file.with_interval(interval),
        None => file,
    };
    Ok(AnyDiscover::new(Watched::with_config(file, watch)))
}

/// Services that tell over HTTP what they are: those with the name.
fn http(asked: &Asked<'_>) -> Result<AnyDiscover, Error> {
    let HttpSettings { seeds, token, config } = backends::http(asked.settings)?;
    let watch = config.watch.clone();
    watch.validate()?;
    let mut farp = Farp::new(seeds)?.with_config(config);
    if !token.is_empty() {
        farp = farp.with_token(token.expose())?;
    }
    Ok(AnyDiscover::new(Filtered::service(Watched::with_config(farp, watch), asked.service)))
}

/// A name, with a port or the name of a service.
#[cfg(feature = "dns")]
fn dns(asked: &Asked<'_>) -> Result<AnyDiscover, Error> {
    let config = backends::dns(asked.settings)?;
    backends::dns_service(asked.service)?;
    let dns = crate::discover::Dns::system_with_config(config)?;
    Ok(AnyDiscover::new(dns.service(asked.service)?))
}

/// A service of Consul, by the name that it has there.
#[cfg(feature = "consul")]
fn consul(asked: &Asked<'_>) -> Result<AnyDiscover, Error> {
    let config = backends::consul(asked.settings)?;
    config.validate()?;
    Ok(AnyDiscover::new(crate::discover::Consul::new(config)?.service(asked.service)?))
}

/// A service of etcd, by the name that it has there.
#[cfg(feature = "etcd")]
fn etcd(asked: &Asked<'_>) -> Result<AnyDiscover, Error> {
    let config = backends::etcd(asked.settings)?;
    Ok(AnyDiscover::new(crate::discover::Etcd::new(config)?.service(asked.service)?))
}

/// An application of Eureka, by its name there, in any case.
#[cfg(feature = "eureka")]
fn eureka(asked: &Asked<'_>) -> Result<AnyDiscover, Error> {
    let config = backends::eureka(asked.settings)?;
    Ok(AnyDiscover::new(crate::discover::Eureka::new(config)?.service(asked.service)?))
}

/// A service in the local network, by its own type or by that which all share.
#[cfg(feature = "mdns")]
fn mdns(asked: &Asked<'_>) -> Result<AnyDiscover, Error> {
    let config = backends::mdns(asked.settings)?;
    let has_types = !config.service_types.is_empty();
    let mdns = crate::discover::Mdns::new(config)?;
    Ok(match has_types {
        true => AnyDiscover::new(Filtered::service(mdns.all_types()?, asked.service)),
        false => AnyDiscover::new(mdns.service(asked.service)?),
    })
}

/// A Service of Kubernetes, as `NAME` or `NAMESPACE/NAME`.
#[cfg(feature = "kubernetes")]
fn kubernetes(asked: &Asked<'_>) -> Result<AnyDiscover, Error> {
    let config = backends::kubernetes(asked.settings)?;
    Ok(AnyDiscover::new(crate::discover::Kubernetes::new(config)?.service(asked.service)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_checked_for_the_backends_that_there_are() {
        let names: Vec<_> = BACKENDS.iter().map(|backend| backend.name).collect();
        assert_eq!(names, backends::BACKENDS);
    }
}
