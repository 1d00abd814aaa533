//! The backends that a `discover` section may name.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::endpoints::AnyDiscover;
use crate::{
    config::{DiscoverConfig, nearest::did_you_mean},
    discover::{File, WatchConfig, Watched},
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
    // Not there yet.
    Backend { name: "kubernetes", open: Err("kubernetes") },
    Backend { name: "mdns", open: Err("mdns") },
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
    let names: Vec<_> = BACKENDS.iter().map(|backend| backend.name).collect();
    let Some(backend) = BACKENDS.iter().find(|backend| backend.name == name) else {
        let hint = did_you_mean(name, &names).unwrap_or_default();
        return Err(mistake(format!(
            "there is no backend `{name}`; {hint} there are `{}`",
            names.join("`, `")
        )));
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

fn settings<T: DeserializeOwned + Default>(asked: &Asked<'_>, name: &str) -> Result<T, Error> {
    match asked.settings {
        Value::Null => Ok(T::default()),
        settings => T::deserialize(settings).map_err(|error| mistake(format!("`{name}`: {error}"))),
    }
}

/// Of this program: a source that it has registered under the name of the service.
fn memory(asked: &Asked<'_>) -> Result<AnyDiscover, Error> {
    asked.known.get(asked.service).cloned().ok_or_else(|| {
        let names: Vec<_> = asked.known.keys().map(String::as_str).collect();
        let hint = did_you_mean(asked.service, &names).unwrap_or_default();
        mistake(format!(
            "no source `{}` was registered with `register_source`; {hint} there are `{}`",
            asked.service,
            names.join("`, `")
        ))
    })
}

/// A file, whose path may have the name of the service in it.
fn file(asked: &Asked<'_>) -> Result<AnyDiscover, Error> {
    #[derive(Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        path: String,
        #[serde(with = "crate::duration::option")]
        interval: Option<Duration>,
        watch: WatchConfig,
    }
    let Settings { path, interval, watch } = settings(asked, "file")?;
    if path.is_empty() {
        return Err(mistake("`file` needs a `path`".to_owned()));
    }
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
    use crate::{
        auth::Secret,
        discover::{Farp, FarpConfig, Filtered},
    };

    let read = |error: serde_json::Error| mistake(format!("`http`: {error}"));
    // The seeds, and beside them the settings of how they are polled.
    let mut settings = asked.settings.clone();
    let mut own = |key: &str| settings.as_object_mut().and_then(|all| all.remove(key));
    let (seeds, token) = (own("seeds"), own("token"));
    let seeds = seeds.unwrap_or_else(|| Value::Array(Vec::new()));
    let seeds: Vec<String> = serde_json::from_value(seeds).map_err(read)?;
    if seeds.is_empty() {
        return Err(mistake("`http` needs `seeds`, such as `http://10.0.0.1:8080`".to_owned()));
    }
    let config: FarpConfig = match settings {
        Value::Null => FarpConfig::default(),
        settings => serde_json::from_value(settings).map_err(read)?,
    };
    let watch = config.watch.clone();
    watch.validate()?;
    let mut farp = Farp::new(seeds)?.with_config(config);
    if let Some(token) = token {
        farp = farp.with_token(serde_json::from_value::<Secret>(token).map_err(read)?.expose())?;
    }
    Ok(AnyDiscover::new(Filtered::service(Watched::with_config(farp, watch), asked.service)))
}

/// A name, with a port or the name of a service.
#[cfg(feature = "dns")]
fn dns(asked: &Asked<'_>) -> Result<AnyDiscover, Error> {
    use crate::discover::{Dns, DnsConfig};

    let config: DnsConfig = settings(asked, "dns")?;
    Ok(AnyDiscover::new(Dns::system_with_config(config)?.service(asked.service)?))
}

/// A service of Consul, by the name that it has there.
#[cfg(feature = "consul")]
fn consul(asked: &Asked<'_>) -> Result<AnyDiscover, Error> {
    use crate::discover::{Consul, ConsulConfig};

    let config: ConsulConfig = settings(asked, "consul")?;
    config.validate()?;
    Ok(AnyDiscover::new(Consul::new(config)?.service(asked.service)?))
}

/// A service of etcd, by the name that it has there.
#[cfg(feature = "etcd")]
fn etcd(asked: &Asked<'_>) -> Result<AnyDiscover, Error> {
    use crate::discover::{Etcd, EtcdConfig};

    let config: EtcdConfig = settings(asked, "etcd")?;
    Ok(AnyDiscover::new(Etcd::new(config)?.service(asked.service)?))
}

/// An application of Eureka, by its name there, in any case.
#[cfg(feature = "eureka")]
fn eureka(asked: &Asked<'_>) -> Result<AnyDiscover, Error> {
    use crate::discover::{Eureka, EurekaConfig};

    let config: EurekaConfig = settings(asked, "eureka")?;
    Ok(AnyDiscover::new(Eureka::new(config)?.service(asked.service)?))
}
