//! What a service says of itself in its manifest, as far as a balancer needs it.

use serde::Deserialize;

use crate::{
    endpoint::{Endpoint, EndpointCheck, Locality, Status},
    error::{Error, Kind, Quoted},
};

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Manifest {
    version: String,
    instance_id: Option<String>,
    instance: Option<Instance>,
    endpoints: Option<Endpoints>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Instance {
    region: Option<String>,
    zone: Option<String>,
    weight: Option<u32>,
    status: Option<String>,
    role: Option<String>,
    deployment: Option<Deployment>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Deployment {
    traffic_percent: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Endpoints {
    health: Option<String>,
}

/// Of an instance that says nothing else, and the most.
pub(super) const WEIGHT: u32 = 100;

/// The newest version that is known.
const VERSION: (u32, u32) = (1, 1);

fn refused(what: impl Into<Box<str>>) -> Error {
    Error::failed(Kind::Transport).message(what)
}

fn is_known(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    let (major, minor) = VERSION;
    parts.next() == Some(Some(major)) && matches!(parts.next(), Some(Some(of)) if of <= minor)
}

impl Manifest {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, Error> {
        let manifest: Self = serde_json::from_slice(json)
            .map_err(|error| refused("its manifest cannot be read").caused_by(error))?;
        if !is_known(&manifest.version) {
            let shown = Quoted(&manifest.version);
            return Err(refused(format!(
                "its manifest has the version `{shown}`, not one of 1.0 and 1.1"
            )));
        }
        Ok(manifest)
    }

    /// Whether it is that of the instance `id`.
    pub(super) fn is_of(&self, id: Option<&str>) -> bool {
        let own = self.instance_id.as_deref().filter(|own| !own.is_empty());
        own.zip(id).is_none_or(|(own, id)| own == id)
    }

    /// What it says about `endpoint`. `None`: that it gets no traffic at all.
    pub(crate) fn apply(&self, endpoint: Endpoint) -> Option<Endpoint> {
        let health = self.endpoints.as_ref().and_then(|of| of.health.as_deref());
        let check = health.and_then(|path| EndpointCheck::get(path).ok());
        let endpoint = check.into_iter().fold(endpoint, Endpoint::with_check);
        let Some(instance) = &self.instance else { return Some(endpoint.with_weight(WEIGHT)) };
        let weight = instance.weight.unwrap_or(WEIGHT).min(WEIGHT);
        let percent = instance.deployment.as_ref().and_then(|of| of.traffic_percent);
        let weight = match (instance.role.as_deref(), percent) {
            (Some("shadow"), _) => return None,
            // A cast of a float saturates.
            (Some("canary"), Some(percent)) => {
                (f64::from(weight) * percent.clamp(0.0, 100.0) / 100.0).round() as u32
            }
            _ => weight,
        };
        let (status, is_draining) = match instance.status.as_deref() {
            Some("stopping") => return None,
            Some("draining") => (endpoint.status(), true),
            Some("healthy") => (Status::Passing, false),
            Some("degraded") => (Status::Warning, false),
            Some("starting" | "unhealthy") => (Status::Critical, false),
            _ => (endpoint.status(), endpoint.is_draining()),
        };
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let locality =
            Locality { region: part(&instance.region), ..Locality::of_zone(part(&instance.zone)) };
        let endpoint = endpoint.with_weight(weight).with_status(status).with_locality(locality);
        Some(endpoint.with_draining(is_draining))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(json: &str) -> Option<Endpoint> {
        let manifest = Manifest::parse(json.as_bytes()).unwrap();
        manifest.apply(Endpoint::new("a:1").unwrap().with_status(Status::Passing))
    }

    fn instance(json: &str) -> Option<Endpoint> {
        applied(&format!(r#"{{"version":"1.1.0","instance":{json}}}"#))
    }

    #[test]
    fn a_manifest_tells_weight_place_status_and_health() {
        let orders = applied(
            r#"{"version":"1.1.0","service_name":"orders","instance_id":"orders-7",
            "instance":{"address":"10.1.4.9:8080","region":"eu","zone":"eu-1a","weight":40,"status":"degraded",
                "role":"primary","deployment":{"strategy":"canary","traffic_percent":10}},
            "schemas":[],"endpoints":{"health":"/up"}}"#,
        )
        .unwrap();
        assert_eq!((orders.weight(), orders.status()), (40, Status::Warning));
        assert_eq!((&*orders.locality().region, &*orders.locality().zone), ("eu", "eu-1a"));
        assert_eq!(orders.check().map(EndpointCheck::path), Some("/up"));
        assert_eq!(applied(r#"{"version":"1.0.0"}"#).unwrap().weight(), WEIGHT);
    }

    #[test]
    fn roles_and_states_decide_what_gets_traffic() {
        assert_eq!(instance(r#"{"role":"shadow"}"#), None);
        assert_eq!(instance(r#"{"status":"stopping"}"#), None);
        let canary = r#"{"role":"canary","weight":50,"deployment":{"traffic_percent":10}}"#;
        assert_eq!(instance(canary).unwrap().weight(), 5);
        assert!(instance(r#"{"status":"draining"}"#).unwrap().is_draining());
        for status in ["starting", "unhealthy"] {
            let of = instance(&format!(r#"{{"status":"{status}"}}"#)).unwrap();
            assert_eq!(of.status(), Status::Critical);
        }
        assert_eq!(instance(r#"{"weight":0}"#).unwrap().weight(), 0);
        assert_eq!(instance(r#"{"weight":1000}"#).unwrap().weight(), WEIGHT);
    }

    #[test]
    fn versions_that_are_not_known_are_refused() {
        for version in ["1.2.0", "2.0.0", "0.9.0", "1", "", "x.y"] {
            let json = format!(r#"{{"version":"{version}"}}"#);
            let error = Manifest::parse(json.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("1.0 and 1.1"), "{version}");
        }
        assert!(Manifest::parse(b"{}").is_err());
    }
}
