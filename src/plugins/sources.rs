//! The backends that a `discover` section may name.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::endpoints::AnyDiscover;
use crate::{
    config::{DiscoverConfig, nearest::did_you_mean, read::read_alone},
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
    let names: Vec<_> = BACKENDS.iter().map(|backend| backend.name).collect();
    let Some(backend) = BACKENDS.iter().find(|backend| backend.name == name) else {
        let hint = did_you_mean(name, &names).map(|hint| format!("{hint} ")).unwrap_or_default();
        return Err(mistake(format!(
            "there is no backend `{name}`; {hint}there are `{}`",
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
    value(asked.settings.clone(), name)
}

/// The value of a key that the config of a backend does not have, and its settings without that.
fn without(asked: &Asked<'_>, key: &str) -> (Value, Value) {
    let mut settings = asked.settings.clone();
    let value = settings.as_object_mut().and_then(|settings| settings.remove(key));
    (value.unwrap_or_default(), settings)
}

/// The settings as the Go library writes them: with texts that are empty where nothing was set, and with keys that
/// it forgets, of which a note of the config tells.
#[cfg(any(feature = "kubernetes", feature = "mdns"))]
fn of_go(asked: &Asked<'_>, forgotten: &[&str]) -> Value {
    let mut settings = asked.settings.clone();
    if let Some(all) = settings.as_object_mut() {
        all.retain(|key, value| !forgotten.contains(&&**key) && value.as_str() != Some(""));
    }
    settings
}

/// The same as a value of its type.
fn value<T: DeserializeOwned + Default>(value: Value, name: &str) -> Result<T, Error> {
    let read = read_alone::<Option<T>>(value, name);
    Ok(read.map_err(|wrong| mistake(wrong.join("; ")))?.unwrap_or_default())
}

/// Of this program: a source that it has registered under the name of the service.
fn memory(asked: &Asked<'_>) -> Result<AnyDiscover, Error> {
    asked.known.get(asked.service).cloned().ok_or_else(|| {
        let names: Vec<_> = asked.known.keys().map(String::as_str).collect();
        let hint = did_you_mean(asked.service, &names).map(|hint| format!("{hint} "));
        let hint = hint.unwrap_or_default();
        mistake(format!(
            "no source `{}` was registered with `register_source`; {hint}there are `{}`",
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

    // The seeds, and beside them the settings of how they are polled.
    let (seeds, rest) = without(asked, "seeds");
    let (token, rest) = without(&Asked { settings: &rest, ..*asked }, "token");
    let asked = &Asked { settings: &rest, ..*asked };
    let seeds: Vec<String> = value(seeds, "http.seeds")?;
    if seeds.is_empty() {
        return Err(mistake("`http` needs `seeds`, such as `http://10.0.0.1:8080`".to_owned()));
    }
    let config: FarpConfig = settings(asked, "http")?;
    let watch = config.watch.clone();
    watch.validate()?;
    let mut farp = Farp::new(seeds)?.with_config(config);
    let token: Secret = value(token, "http.token")?;
    if !token.is_empty() {
        farp = farp.with_token(token.expose())?;
    }
    Ok(AnyDiscover::new(Filtered::service(Watched::with_config(farp, watch), asked.service)))
}

/// A name, with a port or the name of a service.
#[cfg(feature = "dns")]
fn dns(asked: &Asked<'_>) -> Result<AnyDiscover, Error> {
    use crate::discover::{Dns, DnsConfig};

    let config: DnsConfig = settings(asked, "dns")?;
    let found = Dns::system_with_config(config)?.service(asked.service).map_err(|error| {
        let example = "write what to resolve as `service`, such as `http://tax.internal:8080`";
        mistake(format!("`dns`: {}; {example}", error.what()))
    })?;
    Ok(AnyDiscover::new(found))
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

/// A service in the local network, by its own type or by that which all share.
#[cfg(feature = "mdns")]
fn mdns(asked: &Asked<'_>) -> Result<AnyDiscover, Error> {
    use crate::discover::{Filtered, Mdns, MdnsConfig};

    let rest = of_go(asked, &["watch_interval", "ttl"]);
    let (domain, rest) = without(&Asked { settings: &rest, ..*asked }, "domain");
    let (interface, rest) = without(&Asked { settings: &rest, ..*asked }, "interface");
    let domain: String = value(domain, "mdns.domain")?;
    if !matches!(domain.trim_end_matches('.'), "" | "local") {
        return Err(mistake("`mdns`: `domain` is `local.`: multicast DNS has no other".to_owned()));
    }
    let mut config: MdnsConfig = settings(&Asked { settings: &rest, ..*asked }, "mdns")?;
    let interface: String = value(interface, "mdns.interface")?;
    config.interfaces.extend(Some(interface).filter(|name| !name.is_empty()));
    let has_types = !config.service_types.is_empty();
    let mdns = Mdns::new(config)?;
    Ok(match has_types {
        true => AnyDiscover::new(Filtered::service(mdns.all_types()?, asked.service)),
        false => AnyDiscover::new(mdns.service(asked.service)?),
    })
}

/// A Service of Kubernetes, as `NAME` or `NAMESPACE/NAME`.
#[cfg(feature = "kubernetes")]
fn kubernetes(asked: &Asked<'_>) -> Result<AnyDiscover, Error> {
    use crate::discover::{Kubernetes, KubernetesConfig};

    let own = of_go(asked, &["service_type"]);
    let config: KubernetesConfig = settings(&Asked { settings: &own, ..*asked }, "kubernetes")?;
    Ok(AnyDiscover::new(Kubernetes::new(config)?.service(asked.service)?))
}
