//! An instance as registries keep it in JSON, to be read by this crate and by programs in Go.

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use serde::Serialize;

use super::{
    super::register::Instance,
    check::Check,
    instance::{Health, Place, Written},
};
use crate::{
    endpoint::{Endpoint, Locality},
    error::{Error, Kind, Quoted},
};

#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    name: &'a str,
    version: &'a str,
    address: &'a str,
    port: u16,
    tags: &'a [String],
    metadata: BTreeMap<&'a str, &'a str>,
    status: Health,
    last_heartbeat: u64,
    // What Go does not know, if it is not the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locality: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    draining: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_check: Option<Check>,
}

/// Told in a field of its own.
const VERSION: &str = "version";

impl<'a> Shown<'a> {
    fn of(instance: &'a Instance) -> Self {
        let endpoint: &Endpoint = instance.endpoint();
        let address = endpoint.address();
        let (scheme, host) = (address.scheme(), address.host());
        let port = address.port().or_else(|| address.default_port());
        let port = port.filter(|_| !host.is_empty() && address.path().is_empty());
        // What has no port, or more than that, is told as a whole.
        let (address, port, protocol) = match port {
            Some(port) => (host, port, scheme),
            None => (address.as_str(), 0, None),
        };
        let metadata = endpoint.metadata();
        let version = metadata.get(VERSION).map_or("", |version| version);
        let others = metadata.iter().filter(|(key, _)| *key != VERSION);
        let updated_at = instance.updated_at().duration_since(UNIX_EPOCH);
        let locality = endpoint.locality();
        Self {
            id: instance.id(),
            name: instance.service(),
            version,
            address,
            port,
            tags: endpoint.tags(),
            metadata: others.map(|(key, value)| (&**key, &**value)).collect(),
            status: endpoint.status().into(),
            last_heartbeat: updated_at.map_or(0, |since| since.as_secs()),
            protocol,
            weight: Some(endpoint.weight()).filter(|weight| *weight != 1),
            priority: Some(endpoint.priority()).filter(|priority| *priority != 0),
            locality: (*locality != Locality::default()).then(|| Place::of(locality)),
            draining: endpoint.is_draining().then_some(true),
            health_check: endpoint.check().map(Check::of),
        }
    }
}

impl Instance {
    /// Writes the instance as JSON, as [`File`](super::super::File) describes it and Go's registries keep it.
    ///
    /// ```
    /// use tower_upstream::{Endpoint, discover::Instance};
    ///
    /// let endpoint = Endpoint::new("https://[::1]:8443")?.with_key("tax-1").with_tag("v2");
    /// let json = Instance::new("tax", endpoint)?.to_json();
    /// assert!(json.starts_with(r#"{"id":"tax-1","name":"tax","version":"","address":"::1","port":8443,"#));
    /// let read = Instance::from_json(json.as_bytes())?;
    /// assert_eq!((read.service(), read.endpoint().tags()), ("tax", &["v2".to_owned()][..]));
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn to_json(&self) -> String {
        // Cannot fail: texts and numbers.
        serde_json::to_string(&Shown::of(self)).unwrap_or_default()
    }

    /// Reads an instance of JSON that [`to_json`](Self::to_json) or a program in Go wrote.
    ///
    /// Keys that are not known are ignored, so that newer programs may write more.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for JSON that is none of an instance, without a name or an id, or with an
    /// address that cannot be used.
    ///
    /// # Bounds
    /// Objects may be nested 128 deep. Limit the length of the text yourself.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        Self::from_json_at(json, "", "")
    }

    /// The same, of a registry whose keys tell the name and the id too: those of the JSON go first.
    pub(in crate::discover) fn from_json_at(
        json: &[u8],
        name: &str,
        id: &str,
    ) -> Result<Self, Error> {
        let invalid = || Error::not_sent(Kind::InvalidConfig);
        let filled = |text: Option<String>, instead: &str| {
            text.filter(|text| !text.is_empty()).unwrap_or_else(|| instead.to_owned())
        };
        let mut written: Written = serde_json::from_slice(json)
            .map_err(|error| invalid().message("it is not an instance in JSON").caused_by(error))?;
        let name = filled(written.name.take(), name);
        let id = filled(written.id.take(), id);
        if id.is_empty() {
            let name = Quoted(&name);
            return Err(invalid().message(format!("the instance of `{name}` has no id")));
        }
        written.id = Some(id);
        let updated_at = written.last_heartbeat.and_then(|at| u64::try_from(at).ok());
        let updated_at = updated_at.filter(|at| *at > 0);
        let instance = Self::new(name, written.endpoint()?)?;
        let updated_at = updated_at.and_then(|at| UNIX_EPOCH.checked_add(Duration::from_secs(at)));
        Ok(updated_at.into_iter().fold(instance, Self::written_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{EndpointCheck, Status};

    fn instance(endpoint: Endpoint) -> Instance {
        Instance::new("tax", endpoint).unwrap()
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let of = |address: &str| Endpoint::new(address).unwrap().with_key("tax-1");
        let locality = Locality { region: "eu".into(), ..Locality::of_zone("a") };
        for endpoint in [
            of("10.0.0.1:8080"),
            of("https://tax.example"),
            of("http://[::1]:80/base/"),
            of("unix:/run/tax.sock"),
            of("grpc://tax:9000").with_weight(0).with_priority(3).with_draining(true),
            of("a:1").with_check(EndpointCheck::get("/x").unwrap().with_expected(200..=201)),
            of("a:1").with_tag("v2").with_tag("eu").with_locality(locality),
            of("a:1")
                .with_metadata("version", "2.3.0")
                .with_metadata("x", "\"")
                .with_status(Status::Warning),
        ] {
            let instance = instance(endpoint);
            let read = Instance::from_json(instance.to_json().as_bytes()).unwrap();
            let (was, is) = (instance.endpoint(), read.endpoint());
            assert_eq!((read.service(), is.address()), ("tax", was.address()));
            assert_eq!(**is, (**was).clone(), "{}", instance.to_json());
        }
    }

    #[test]
    fn what_go_writes_is_read_and_the_other_way_round() {
        let go = r#"{"id":"orders-7","name":"orders","version":"2.3.0","address":"10.1.4.9","port":8443,"tags":["v2"],"metadata":{"zone":"eu-1a"},"status":"passing","last_heartbeat":1700000000}"#;
        let read = Instance::from_json(go.as_bytes()).unwrap();
        assert_eq!(read.updated_at(), UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        assert_eq!(read.to_json(), go);
        // A newer program may say more.
        let more = go.replace("{\"id\"", "{\"new\":[{}],\"id\"");
        assert_eq!(Instance::from_json(more.as_bytes()).unwrap().to_json(), go);
        let more = go.replace(
            "{\"id\"",
            r#"{"locality":{"zone":"a","rack":"7"},"health_check":{"path":"/x","tls":{"sni":"y"}},"id""#,
        );
        let read = Instance::from_json(more.as_bytes()).unwrap();
        assert_eq!(read.endpoint().locality().zone, "a");
        assert_eq!(read.endpoint().check().map(EndpointCheck::path), Some("/x"));
        assert!(!read.to_json().contains("rack"), "{}", read.to_json());
    }

    #[test]
    fn what_is_no_instance_is_refused() {
        for (json, what) in [
            ("", "it is not an instance"),
            ("[]", "it is not an instance"),
            (r#"{"id":"1","name":"tax"}"#, "missing field `address`"),
            (r#"{"name":"tax","address":"a:1"}"#, "the instance of `tax` has no id"),
            (r#"{"id":"1","address":"a:1"}"#, "cannot be the name of a service"),
            (r#"{"id":"a/b","name":"tax","address":"a:1"}"#, "cannot be the id"),
            (r#"{"id":"1","name":"tax","address":"a b","port":1}"#, "cannot use the address"),
        ] {
            let error = Instance::from_json(json.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidConfig);
            assert!(error.to_string().contains(what), "{json}: {error}");
        }
    }
}
