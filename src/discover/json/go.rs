//! An instance of a service as the Go library writes it.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::super::register::Instance;
use crate::endpoint::{Endpoint, Locality, Status};

/// What Go does not know is there only if it says something.
pub(in crate::discover) fn go_json(instance: &Instance) -> Vec<u8> {
    let endpoint = instance.endpoint();
    let (address, port, protocol) = parts(endpoint);
    let seconds = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut metadata = endpoint.metadata().clone();
    // They have keys of their own, and become metadata when they are read.
    let version = metadata.remove("version").unwrap_or_default();
    if metadata.get("name").is_some_and(|name| name == instance.service()) {
        metadata.remove("name");
    }
    let mut written = json!({
        "id": instance.id(),
        "name": instance.service(),
        "version": version,
        "address": address,
        "port": port,
        "tags": endpoint.tags(),
        "metadata": metadata,
        "status": status(endpoint.status()),
        "last_heartbeat": seconds(instance.updated_at()).as_secs(),
    });
    let Locality { region, zone, sub_zone } = endpoint.locality();
    let mut locality = json!({ "region": region, "zone": zone, "sub_zone": sub_zone });
    for (key, value, is_said) in [
        ("protocol", json!(protocol), protocol.is_some()),
        ("weight", json!(endpoint.weight()), endpoint.weight() != 1),
        ("priority", json!(endpoint.priority()), endpoint.priority() != 0),
        ("draining", json!(true), endpoint.is_draining()),
        ("locality", locality.take(), *endpoint.locality() != Locality::default()),
    ] {
        if is_said {
            written[key] = value;
        }
    }
    written.to_string().into_bytes()
}

/// Host, port and scheme; all as the address if it is no such.
fn parts(endpoint: &Endpoint) -> (&str, u16, Option<&str>) {
    let address = endpoint.address();
    let port = address.port().or(match address.scheme() {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    });
    match port {
        Some(port) if address.socket_path().is_none() && matches!(address.path(), "" | "/") => {
            (address.host(), port, address.scheme())
        }
        _ => (address.as_str(), 0, None),
    }
}

/// One that was not set passes: an instance is announced when it listens.
fn status(status: Status) -> Value {
    json!(match status {
        Status::Unknown | Status::Passing => "passing",
        Status::Warning => "warning",
        Status::Critical => "critical",
    })
}

#[cfg(test)]
mod tests {
    use super::{super::instance::instance as read, *};

    fn written(endpoint: Endpoint) -> (String, Endpoint) {
        let instance = Instance::new("tax", endpoint.with_key("tax-1")).unwrap();
        let json = String::from_utf8(go_json(&instance)).unwrap();
        let again = read(json.as_bytes(), "tax-1").unwrap();
        (json, again)
    }

    #[test]
    fn it_has_the_keys_of_go_and_no_others_unless_they_say_something() {
        let endpoint = Endpoint::new("10.0.0.1:8080").unwrap().with_tag("v2");
        let endpoint = endpoint.with_metadata("version", "2.3.0").with_metadata("zone", "a");
        let (json, _) = written(endpoint);
        let read: serde_json::Map<_, _> = serde_json::from_str(&json).unwrap();
        let keys: Vec<_> = read.keys().map(String::as_str).collect();
        let mut expected = vec![
            "id",
            "name",
            "version",
            "address",
            "port",
            "tags",
            "metadata",
            "status",
            "last_heartbeat",
        ];
        expected.sort_unstable();
        assert_eq!(keys, expected);
        let (mut of_go, heartbeat) = (Value::Object(read), "last_heartbeat");
        assert!(of_go[heartbeat].as_u64().unwrap() > 1_700_000_000);
        of_go[heartbeat] = json!(0);
        let expected = json!({
            "id": "tax-1", "name": "tax", "version": "2.3.0", "address": "10.0.0.1", "port": 8080,
            "tags": ["v2"], "metadata": {"zone": "a"}, "status": "passing", "last_heartbeat": 0,
        });
        assert_eq!(of_go, expected);
    }

    #[test]
    fn what_is_written_is_read() {
        let place = Locality { region: "eu".into(), zone: "a".into(), sub_zone: "r".into() };
        for address in [
            "10.0.0.1:80",
            "http://10.0.0.1:8080",
            "https://tax.test",
            "http://[::1]:8080",
            "http://tax.test:8080/v1",
            "unix:/run/tax.sock",
            "grpc://tax.test:1",
        ] {
            let endpoint = Endpoint::new(address).unwrap().with_status(Status::Warning);
            let endpoint = endpoint.with_metadata("version", "3").with_metadata("name", "tax");
            for endpoint in [
                endpoint.clone(),
                endpoint
                    .with_weight(3)
                    .with_priority(2)
                    .with_draining(true)
                    .with_tag("v2")
                    .with_locality(place.clone()),
            ] {
                let (json, again) = written(endpoint.clone());
                assert_eq!(again, endpoint.with_key("tax-1"), "{json}");
            }
        }
    }
}
