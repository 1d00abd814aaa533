//! What is written to announce an instance, as arithmetic.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    super::{
        host::authority,
        register::{Instance, port},
    },
    check::{ConsulCheck, ConsulCheckKind},
    query::Scope,
};
use crate::{
    duration::go_duration,
    endpoint::{Address, Status},
    error::{Error, Kind, Quoted},
};

/// Consul's own limits.
const MAX_PAIRS: usize = 64;
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 512;
const MAX_WEIGHT: u32 = 65_535;

/// The body of a registration, without its status.
pub(super) fn registration(
    instance: &Instance,
    check: &ConsulCheck,
    scope: &Scope,
) -> Result<Value, Error> {
    let endpoint = instance.endpoint();
    let address = endpoint.address();
    let port = port(address).map_err(refused)?;
    let weight = endpoint.weight();
    if !(1..=MAX_WEIGHT).contains(&weight) {
        return Err(refused(format!("the weight is {weight}, but must be from 1 to {MAX_WEIGHT}")));
    }
    let mut body = json!({
        "ID": instance.id(),
        "Name": instance.service(),
        "Address": address.host(),
        "Port": port,
        "Tags": endpoint.tags(),
        "Meta": meta(instance)?,
        "Weights": {"Passing": weight, "Warning": weight},
        "Check": checked(address, port, check),
    });
    if let Value::Object(body) = &mut body {
        insert(body, "Namespace", scope.namespace.clone());
        insert(body, "Partition", scope.partition.clone());
    }
    Ok(body)
}

/// What a check says of an endpoint. One that does not know how it is is announced since it serves.
pub(super) fn status(status: Status) -> &'static str {
    match status {
        Status::Warning => "warning",
        Status::Critical => "critical",
        _ => "passing",
    }
}

fn refused(why: String) -> Error {
    Error::not_sent(Kind::InvalidConfig).message(format!("cannot be announced in Consul: {why}"))
}

/// Metadata, under keys that Consul takes: it refuses dots.
fn meta(instance: &Instance) -> Result<BTreeMap<String, String>, Error> {
    let endpoint = instance.endpoint();
    let place = endpoint.locality();
    let own = [
        ("protocol", endpoint.address().scheme().unwrap_or_default()),
        ("region", &place.region),
        ("zone", &place.zone),
    ];
    let own = own.into_iter().filter(|(_, value)| !value.is_empty());
    let own: BTreeMap<&str, &str> = own.collect();
    let mut meta = BTreeMap::new();
    for (key, value) in endpoint.metadata() {
        // What reading adds by itself.
        if own.get(&**key) == Some(&&**value) || key == "name" && value == instance.service() {
            continue;
        }
        let legal = key.replace('.', "_");
        let is_legal = |of: char| of.is_ascii_alphanumeric() || of == '_' || of == '-';
        if legal.is_empty() || legal.len() > MAX_KEY || !legal.chars().all(is_legal) {
            let shown = Quoted(key);
            return Err(refused(format!(
                "the metadata key `{shown}` must have 1 to {MAX_KEY} letters, digits, `-`, `_` and `.`"
            )));
        }
        if legal.starts_with("consul-") {
            return Err(refused(format!("the metadata key `{key}` begins with `consul-`")));
        }
        if value.len() > MAX_VALUE {
            return Err(refused(format!("the metadata `{key}` is longer than {MAX_VALUE} bytes")));
        }
        if let Some(other) = meta.insert(legal.clone(), value.clone()) {
            // Both spellings of one value are one pair, as they are read.
            if other != *value {
                return Err(refused(format!("two metadata keys are written `{legal}`")));
            }
        }
    }
    for (key, value) in own {
        // What is written as metadata stays.
        meta.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
    if meta.len() > MAX_PAIRS {
        return Err(refused(format!("there are more than {MAX_PAIRS} pairs of metadata")));
    }
    Ok(meta)
}

fn checked(address: &Address, port: u16, check: &ConsulCheck) -> Option<Value> {
    let host = authority(address.host(), port);
    let is_secure =
        matches!(address.scheme(), Some("https" | "grpcs")) || check.tls_server_name.is_some();
    let mut body = Map::new();
    match check.kind {
        ConsulCheckKind::None => return None,
        ConsulCheckKind::Ttl => insert(&mut body, "TTL", Some(go_duration(check.ttl))),
        ConsulCheckKind::Http => {
            let scheme = if is_secure { "https" } else { "http" };
            let slash = if check.path.starts_with('/') { "" } else { "/" };
            insert(&mut body, "HTTP", Some(format!("{scheme}://{host}{slash}{}", check.path)));
            insert(&mut body, "Method", Some(check.method.clone()));
            let headers = Some(&check.headers).filter(|headers| !headers.is_empty());
            insert(&mut body, "Header", headers.map(|headers| json!(headers)));
            insert(&mut body, "Body", check.body.clone());
        }
        ConsulCheckKind::Tcp => insert(&mut body, "TCP", Some(host)),
        ConsulCheckKind::Grpc => {
            let service = check.grpc_service.as_ref().map(|of| format!("/{of}"));
            insert(&mut body, "GRPC", Some(host + &service.unwrap_or_default()));
            insert(&mut body, "GRPCUseTLS", Some(is_secure));
        }
        ConsulCheckKind::H2ping => {
            insert(&mut body, "H2PING", Some(host));
            insert(&mut body, "H2PingUseTLS", Some(is_secure));
        }
    }
    if check.kind != ConsulCheckKind::Ttl {
        insert(&mut body, "Interval", Some(go_duration(check.interval)));
        insert(&mut body, "Timeout", Some(go_duration(check.timeout)));
        let beyond = |of: u32| Some(of).filter(|of| *of > 0);
        insert(&mut body, "SuccessBeforePassing", beyond(check.success_before_passing));
        insert(&mut body, "FailuresBeforeCritical", beyond(check.failures_before_critical));
        insert(&mut body, "TLSSkipVerify", Some(true).filter(|_| check.tls_skip_verify));
        insert(&mut body, "TLSServerName", check.tls_server_name.clone());
    }
    let after = check.deregister_after.map(go_duration);
    insert(&mut body, "DeregisterCriticalServiceAfter", after);
    // Otherwise it is critical until the first check.
    insert(&mut body, "Status", Some("passing"));
    Some(Value::Object(body))
}

fn insert(body: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body.insert(key.to_owned(), value.into());
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
