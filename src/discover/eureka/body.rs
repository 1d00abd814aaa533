//! What is written to announce an instance, as arithmetic.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{
    super::{
        host::authority,
        register::{Instance, port},
    },
    info::{PROTOCOL, REGION, SUB_ZONE, TAGS, WEIGHT, ZONE},
    status::EurekaStatus,
};
use crate::{
    endpoint::Endpoint,
    error::{Error, Kind, Quoted},
};

/// Bounds of our own: a server has none.
const MAX_PAIRS: usize = 128;
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 4_096;

/// How long a lease lasts, and how often it is renewed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    pub(super) renewal: Duration,
    pub(super) duration: Duration,
}

/// The body of a registration, without what says when and whether it drains.
pub(super) fn registration(instance: &Instance, lease: Lease) -> Result<Value, Error> {
    let endpoint = instance.endpoint();
    let address = endpoint.address();
    let port = port(address).map_err(refused)?;
    let scheme = address.scheme().unwrap_or("http");
    let is_secure = matches!(scheme, "https" | "grpcs" | "grpc-tls");
    let of_http = if is_secure { "https" } else { "http" };
    let url = format!("{of_http}://{}", authority(address.host(), port));
    let name = instance.service();
    let mut info = json!({
        "instanceId": instance.id(),
        "app": name.to_uppercase(),
        "hostName": address.host(),
        "ipAddr": address.host(),
        "vipAddress": name,
        "secureVipAddress": name,
        "status": EurekaStatus::announced(endpoint.status()).as_str(),
        "overriddenstatus": EurekaStatus::Unknown.as_str(),
        // The number of a port that is not enabled means nothing, but must be there.
        "port": {"$": port, "@enabled": (!is_secure).to_string()},
        "securePort": {"$": port, "@enabled": is_secure.to_string()},
        "countryId": 1,
        "dataCenterInfo": {
            "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
            "name": "MyOwn",
        },
        "leaseInfo": {
            "renewalIntervalInSecs": lease.renewal.as_secs(),
            "durationInSecs": lease.duration.as_secs(),
        },
        "metadata": meta(instance, scheme)?,
        "homePageUrl": format!("{url}/"),
        "isCoordinatingDiscoveryServer": "false",
    });
    if let (Some(check), Value::Object(info)) = (endpoint.check(), &mut info) {
        let key = if is_secure { "secureHealthCheckUrl" } else { "healthCheckUrl" };
        info.insert(key.to_owned(), format!("{url}{}", check.path()).into());
    }
    Ok(json!({ "instance": info }))
}

/// The same, at a time in milliseconds.
pub(super) fn at(mut body: Value, time: u64, is_draining: bool) -> Value {
    let info = &mut body["instance"];
    for key in ["lastUpdatedTimestamp", "lastDirtyTimestamp"] {
        info[key] = time.to_string().into();
    }
    if is_draining {
        // Otherwise a server keeps the status that it has.
        for key in ["status", "overriddenstatus"] {
            info[key] = EurekaStatus::OutOfService.as_str().into();
        }
    }
    body
}

fn refused(why: String) -> Error {
    Error::not_sent(Kind::InvalidConfig).message(format!("cannot be announced in Eureka: {why}"))
}

/// Metadata, with what Eureka has no other place for.
fn meta(instance: &Instance, scheme: &str) -> Result<BTreeMap<String, String>, Error> {
    let endpoint = instance.endpoint();
    let own = own(endpoint, scheme)?;
    let mut meta = BTreeMap::new();
    for (key, value) in endpoint.metadata() {
        // What reading adds by itself.
        if own.get(&**key) == Some(value) || key == "name" && value == instance.service() {
            continue;
        }
        // A server may write it as XML, in which it is the name of an element.
        let is_legal = |of: char| of.is_ascii_alphanumeric() || "._-".contains(of);
        let is_start = |of: char| of.is_ascii_alphabetic() || of == '_';
        if !key.starts_with(is_start) || key.len() > MAX_KEY || !key.chars().all(is_legal) {
            let shown = Quoted(key);
            return Err(refused(format!(
                "the metadata key `{shown}` must have 1 to {MAX_KEY} letters, digits, `-`, `_` and `.`, \
                 and begin with a letter or `_`"
            )));
        }
        if value.len() > MAX_VALUE {
            return Err(refused(format!("the metadata `{key}` is longer than {MAX_VALUE} bytes")));
        }
        if [WEIGHT, TAGS, PROTOCOL].contains(&&**key) {
            let why = "is said by the endpoint itself, and has another value there";
            return Err(refused(format!("the metadata `{key}` {why}")));
        }
        meta.insert(key.clone(), value.clone());
    }
    for (key, value) in own {
        // What is written as metadata stays.
        meta.entry(key.to_owned()).or_insert(value);
    }
    if meta.len() > MAX_PAIRS {
        return Err(refused(format!("there are more than {MAX_PAIRS} pairs of metadata")));
    }
    Ok(meta)
}

fn own(endpoint: &Endpoint, scheme: &str) -> Result<BTreeMap<&'static str, String>, Error> {
    if let Some(tag) = endpoint.tags().iter().find(|tag| tag.contains(',') || tag.trim() != **tag) {
        let shown = Quoted(tag);
        return Err(refused(format!(
            "the tag `{shown}` must have no comma and no white space around it"
        )));
    }
    let place = endpoint.locality();
    let weight = Some(endpoint.weight()).filter(|weight| *weight != 1);
    let protocol = if matches!(scheme, "http" | "https") { "" } else { scheme };
    let all = [
        (WEIGHT, weight.map(|weight| weight.to_string()).unwrap_or_default()),
        (TAGS, endpoint.tags().join(",")),
        (PROTOCOL, protocol.to_owned()),
        (REGION, place.region.clone()),
        (ZONE, place.zone.clone()),
        (SUB_ZONE, place.sub_zone.clone()),
    ];
    Ok(all.into_iter().filter(|(_, value)| !value.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Lease =
        Lease { renewal: Duration::from_secs(10), duration: Duration::from_secs(30) };

    fn body(endpoint: Endpoint) -> Result<Value, String> {
        let instance = Instance::new("tax", endpoint.with_key("10.0.0.1:tax:80")).unwrap();
        registration(&instance, LEASE).map_err(|error| error.to_string())
    }

    fn at_address(address: &str) -> Endpoint {
        Endpoint::new(address).unwrap()
    }

    #[test]
    fn a_registration_has_all_that_a_server_asks_for() {
        let body = body(at_address("http://10.0.0.1:8080").with_metadata("version", "2.3.0"));
        let at = at(body.unwrap(), 1_795_166_105_989, false);
        let info = &at["instance"];
        for (key, value) in [
            ("instanceId", json!("10.0.0.1:tax:80")),
            ("app", json!("TAX")),
            ("hostName", json!("10.0.0.1")),
            ("ipAddr", json!("10.0.0.1")),
            ("vipAddress", json!("tax")),
            ("status", json!("UP")),
            ("port", json!({"$": 8080, "@enabled": "true"})),
            ("securePort", json!({"$": 8080, "@enabled": "false"})),
            (
                "dataCenterInfo",
                json!({"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"}),
            ),
            ("leaseInfo", json!({"renewalIntervalInSecs": 10, "durationInSecs": 30})),
            ("metadata", json!({"version": "2.3.0"})),
            ("lastDirtyTimestamp", json!("1795166105989")),
        ] {
            assert_eq!(info[key], value, "{key}");
        }
    }

    #[test]
    fn a_secure_scheme_is_the_secure_port_and_any_other_is_metadata() {
        let secure = body(at_address("https://10.0.0.1")).unwrap();
        assert_eq!(secure["instance"]["securePort"], json!({"$": 443, "@enabled": "true"}));
        assert_eq!(secure["instance"]["port"]["@enabled"], "false");
        let grpc = body(at_address("grpc://10.0.0.1:50051")).unwrap();
        assert_eq!(grpc["instance"]["metadata"], json!({"protocol": "grpc"}));
    }

    #[test]
    fn draining_is_a_status_and_an_override() {
        let body = body(at_address("a:1").with_status(crate::endpoint::Status::Critical)).unwrap();
        assert_eq!(body["instance"]["status"], "DOWN");
        let at = at(body, 1, true);
        assert_eq!(at["instance"]["status"], "OUT_OF_SERVICE");
        assert_eq!(at["instance"]["overriddenstatus"], "OUT_OF_SERVICE");
    }

    #[test]
    fn what_cannot_be_kept_is_refused_with_the_reason() {
        let many = (0..200).fold(at_address("a:1"), |of, n| of.with_metadata(format!("k{n}"), ""));
        for (endpoint, why) in [
            (at_address("http+unix://%2Frun%2Fa"), "no host"),
            (at_address("http://a:1/path"), "a path"),
            (at_address("grpc://a"), "no port"),
            (at_address("a:1").with_tag("a,b"), "comma"),
            (at_address("a:1").with_metadata("a b", ""), "metadata key"),
            (at_address("a:1").with_metadata("1a", ""), "metadata key"),
            (at_address("a:1").with_metadata("a", "x".repeat(5_000)), "4096"),
            (at_address("a:1").with_metadata("weight", "9"), "by the endpoint itself"),
            (many, "128 pairs"),
        ] {
            let error = body(endpoint).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
