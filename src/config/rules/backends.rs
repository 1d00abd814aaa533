//! Settings of the backends that a `discover` section may name, by the key of each.

use std::time::Duration;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value as Json;

use super::{
    checked::Checked,
    settings::{Wrong, read, tell},
};
#[cfg(feature = "consul")]
use crate::discover::ConsulConfig;
#[cfg(feature = "etcd")]
use crate::discover::EtcdConfig;
#[cfg(feature = "eureka")]
use crate::discover::EurekaConfig;
#[cfg(feature = "kubernetes")]
use crate::discover::KubernetesConfig;
#[cfg(feature = "mdns")]
use crate::discover::MdnsConfig;
#[cfg(feature = "dns")]
use crate::discover::{Dns, DnsConfig};
#[cfg(any(feature = "dns", feature = "kubernetes", feature = "mdns"))]
use crate::error::Error;
use crate::{
    auth::Secret,
    config::{
        model::DiscoverConfig,
        nearest::did_you_mean,
        value::{Node, Path},
    },
    discover::{FarpConfig, WatchConfig},
    error::{Code, Quoted},
};

/// The backends, by name.
pub(crate) const BACKENDS: [&str; 9] =
    ["memory", "file", "http", "dns", "consul", "etcd", "eureka", "kubernetes", "mdns"];

/// What is said of a name that no backend has.
pub(crate) fn unknown_backend(name: &str) -> Wrong {
    let message =
        format!("there is no backend `{}`; there are `{}`", Quoted(name), BACKENDS.join("`, `"));
    // With a dot it would be two keys.
    let is_key = !name.contains(['.', '[']);
    let path = if is_key { format!("discover.{name}") } else { "discover".to_owned() };
    Wrong::one(CODE, &path, message).helped(did_you_mean(name, &BACKENDS))
}

const CODE: Code = Code::REGISTRY_1906;

/// Checks the settings of a backend, and what it is asked for, as far as this build knows it.
pub(super) fn check_discover(plugin: &str, discover: &DiscoverConfig, checked: &mut Checked<'_>) {
    let service = if discover.service.is_empty() { plugin } else { &discover.service };
    // Most backends take any name.
    let _ = service;
    let (name, settings) = match discover.backend() {
        Ok(backend) => backend,
        Err(error) => {
            let what = error.what();
            let message = what.strip_prefix("discover: ").unwrap_or(what).to_owned();
            return checked.wrong("discover", error.code(), message);
        }
    };
    let found = match name {
        "memory" => Ok(()),
        "file" => file(settings).map(|of| {
            checked.section("discover.file.watch", of.watch.validate());
        }),
        "http" => http(settings).map(|of| {
            checked.section("discover.http.watch", of.config.watch.validate());
        }),
        #[cfg(feature = "dns")]
        "dns" => dns(settings).and_then(|_| dns_service(service)),
        #[cfg(feature = "consul")]
        "consul" => consul(settings).map(|of| {
            checked.section("discover.consul", of.validate());
        }),
        #[cfg(feature = "etcd")]
        "etcd" => etcd(settings).map(|of| {
            checked.section("discover.etcd", of.validate());
        }),
        #[cfg(feature = "eureka")]
        "eureka" => eureka(settings).map(|of| {
            checked.section("discover.eureka", of.validate());
        }),
        #[cfg(feature = "kubernetes")]
        "kubernetes" => kubernetes(settings).and_then(|of| {
            checked.section("discover.kubernetes", of.validate());
            asked(crate::discover::Kubernetes::check_service(service))
        }),
        #[cfg(feature = "mdns")]
        "mdns" => mdns(settings).and_then(|of| {
            checked.section("discover.mdns", of.validate());
            asked(of.check_service(service))
        }),
        // Of a feature that the program may have.
        name if BACKENDS.contains(&name) => Ok(()),
        name => Err(unknown_backend(name)),
    };
    tell(found.err(), checked);
}

/// What is wrong with the name that a backend is asked for.
#[cfg(any(feature = "dns", feature = "kubernetes", feature = "mdns"))]
fn asked(checked: Result<(), Error>) -> Result<(), Wrong> {
    checked.map_err(|error| Wrong::one(CODE, "discover.service", error.what()))
}

/// Checks what DNS is asked for, which the name of a plugin is not.
#[cfg(feature = "dns")]
pub(crate) fn dns_service(service: &str) -> Result<(), Wrong> {
    let example = "write what to resolve as `service`, such as `http://tax.internal:8080`";
    asked(Dns::check_service(service)).map_err(|wrong| wrong.helped(Some(example.to_owned())))
}

fn settings<T: DeserializeOwned + Default>(name: &str, settings: &Json) -> Result<T, Wrong> {
    if settings.is_null() {
        return Ok(T::default());
    }
    let path = Path::Root.key("discover");
    read(&Node::from(settings.clone()), &path.key(name)).map_err(|wrong| wrong.coded(CODE))
}

/// The value of a key that the config of a backend does not have, and its settings without that.
fn without<T: DeserializeOwned + Default>(
    name: &str,
    key: &str,
    mut settings: Json,
) -> Result<(T, Json), Wrong> {
    let value = settings.as_object_mut().and_then(|settings| settings.remove(key));
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok((T::default(), settings));
    };
    let path = Path::Root.key("discover");
    let read = read(&Node::from(value), &path.key(name).key(key));
    read.map(|value| (value, settings)).map_err(|wrong| wrong.coded(CODE))
}

/// The settings as the Go library writes them: with texts that are empty where nothing was set, and with keys that
/// it forgets, of which a note of the config tells.
#[cfg(any(feature = "kubernetes", feature = "mdns"))]
fn of_go(settings: &Json, forgotten: &[&str]) -> Json {
    let mut settings = settings.clone();
    if let Some(all) = settings.as_object_mut() {
        all.retain(|key, value| !forgotten.contains(&&**key) && value.as_str() != Some(""));
    }
    settings
}

/// A file, whose path may have the name of the service in it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FileSettings {
    pub(crate) path: String,
    #[serde(with = "crate::duration::option")]
    pub(crate) interval: Option<Duration>,
    pub(crate) watch: WatchConfig,
}

pub(crate) fn file(given: &Json) -> Result<FileSettings, Wrong> {
    let file: FileSettings = settings("file", given)?;
    match file.path.is_empty() {
        true => Err(Wrong::one(CODE, "discover.file", "`file` needs a `path`")),
        false => Ok(file),
    }
}

/// The seeds, and beside them the settings of how they are polled.
pub(crate) struct HttpSettings {
    pub(crate) seeds: Vec<String>,
    pub(crate) token: Secret,
    pub(crate) config: FarpConfig,
}

pub(crate) fn http(given: &Json) -> Result<HttpSettings, Wrong> {
    let (seeds, rest) = without::<Vec<String>>("http", "seeds", given.clone())?;
    let (token, rest) = without("http", "token", rest)?;
    let config = settings("http", &rest)?;
    if seeds.is_empty() {
        let message = "`http` needs `seeds`, such as `http://10.0.0.1:8080`";
        return Err(Wrong::one(CODE, "discover.http", message));
    }
    Ok(HttpSettings { seeds, token, config })
}

#[cfg(feature = "dns")]
pub(crate) fn dns(given: &Json) -> Result<DnsConfig, Wrong> {
    settings("dns", given)
}

#[cfg(feature = "consul")]
pub(crate) fn consul(given: &Json) -> Result<ConsulConfig, Wrong> {
    settings("consul", given)
}

#[cfg(feature = "etcd")]
pub(crate) fn etcd(given: &Json) -> Result<EtcdConfig, Wrong> {
    settings("etcd", given)
}

#[cfg(feature = "eureka")]
pub(crate) fn eureka(given: &Json) -> Result<EurekaConfig, Wrong> {
    settings("eureka", given)
}

#[cfg(feature = "kubernetes")]
pub(crate) fn kubernetes(given: &Json) -> Result<KubernetesConfig, Wrong> {
    settings("kubernetes", &of_go(given, &["service_type"]))
}

#[cfg(feature = "mdns")]
pub(crate) fn mdns(given: &Json) -> Result<MdnsConfig, Wrong> {
    let rest = of_go(given, &["watch_interval", "ttl"]);
    let (domain, rest) = without::<String>("mdns", "domain", rest)?;
    let (interface, rest) = without::<String>("mdns", "interface", rest)?;
    if !matches!(domain.trim_end_matches('.'), "" | "local") {
        let message = "`domain` is `local.`: multicast DNS has no other";
        return Err(Wrong::one(CODE, "discover.mdns.domain", message));
    }
    let mut config: MdnsConfig = settings("mdns", &rest)?;
    config.interfaces.extend(Some(interface).filter(|name| !name.is_empty()));
    Ok(config)
}
