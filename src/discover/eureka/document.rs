//! The answers of a server, as they are written.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, de::DeserializeOwned};

use super::{
    info::{Info, Unread},
    lenient::{Text, many},
};

/// The answer to `/apps`, `/apps/delta` and `/vips/VIP`.
#[derive(Debug, Deserialize)]
#[serde(bound = "I: Deserialize<'de>")]
struct All<I> {
    applications: Applications<I>,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "I: Deserialize<'de>")]
struct Applications<I> {
    #[serde(rename = "apps__hashcode", default)]
    hash: Text,
    #[serde(deserialize_with = "many", default = "Vec::new")]
    application: Vec<Application<I>>,
}

/// The answer to `/apps/APP`.
#[derive(Debug, Deserialize)]
#[serde(bound = "I: Deserialize<'de>")]
struct One<I> {
    application: Application<I>,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "I: Deserialize<'de>")]
struct Application<I> {
    #[serde(default)]
    name: Text,
    #[serde(deserialize_with = "many", default = "Vec::new")]
    instance: Vec<I>,
}

/// The answer to `/instances/ID` and `/apps/APP/ID`.
#[derive(Debug, Deserialize)]
struct Single {
    instance: Info,
}

/// Instances in the order in which the server tells of them, each of which knows its application.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) instances: Vec<Arc<Info>>,
    /// How many have which status at the server, in all applications.
    pub(super) hash: Option<String>,
}

impl Told {
    /// Reads all applications, or changes of them.
    pub(super) fn applications(json: &[u8]) -> Result<Self, serde_json::Error> {
        all::<Info>(json).or_else(|_| all::<Unread>(json))
    }

    /// Reads one application.
    pub(super) fn application(json: &[u8]) -> Result<Self, serde_json::Error> {
        one::<Info>(json).or_else(|_| one::<Unread>(json))
    }
}

// One instance that cannot be read costs no other. That is looked for only if there is one, since it takes longer.

fn all<I: DeserializeOwned + Into<Info>>(json: &[u8]) -> Result<Told, serde_json::Error> {
    let All::<I> { applications } = serde_json::from_slice(json)?;
    let instances = applications.application.into_iter().flat_map(Application::instances);
    Ok(Told { instances: instances.collect(), hash: applications.hash.0 })
}

fn one<I: DeserializeOwned + Into<Info>>(json: &[u8]) -> Result<Told, serde_json::Error> {
    let One::<I> { application } = serde_json::from_slice(json)?;
    Ok(Told { instances: application.instances().collect(), hash: None })
}

impl<I: Into<Info>> Application<I> {
    fn instances(self) -> impl Iterator<Item = Arc<Info>> {
        let app = self.name.0.unwrap_or_default();
        self.instance.into_iter().map(move |instance| Arc::new(instance.into().of_app(&app)))
    }
}

/// Reads an instance.
pub(super) fn instance(json: &[u8]) -> Result<Info, serde_json::Error> {
    let Single { instance } = serde_json::from_slice(json)?;
    Ok(instance.of_app(""))
}

/// `UP_3_DOWN_1_`, but sorted: how many instances have which status.
pub(super) fn hash<'a>(statuses: impl Iterator<Item = &'a str>) -> String {
    let mut counts = BTreeMap::<&str, u64>::new();
    for status in statuses {
        *counts.entry(status).or_default() += 1;
    }
    counts.iter().map(|(status, count)| format!("{status}_{count}_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_counts_each_status_in_the_order_of_their_names() {
        assert_eq!(hash(["UP", "DOWN", "UP", "UP", "UP"].into_iter()), "DOWN_1_UP_4_");
        assert_eq!(hash([].into_iter()), "");
    }

    #[test]
    fn an_instance_that_cannot_be_read_counts_and_costs_no_other() {
        let good = r#"{"instanceId":"1","status":"UP","ipAddr":"10.0.0.1","port":80}"#;
        for bad in [
            r#"{"instanceId":"2","status":"DOWN","hostName":"a","port":true}"#,
            r#"{"port":[80],"status":"DOWN","instanceId":"2"}"#,
            r#"{"instanceId":"2","status":"DOWN","metadata":["x"]}"#,
        ] {
            let application = format!(r#"{{"name":"TAX","instance":[{bad},{good},7]}}"#);
            let all = format!(r#"{{"applications":{{"application":{application}}}}}"#);
            let one = format!(r#"{{"application":{application}}}"#);
            let told = Told::applications(all.as_bytes()).unwrap().instances;
            assert_eq!(told, Told::application(one.as_bytes()).unwrap().instances);
            let ids: Vec<_> = told.iter().map(|info| info.id()).collect();
            assert_eq!(ids, ["2", "1", ""], "{bad}");
            assert_eq!(hash(told[..2].iter().map(|of| of.counted())), "DOWN_1_UP_1_");
            let endpoint = |of: &Info| of.endpoint(Default::default());
            assert!(endpoint(&told[1]).is_ok() && endpoint(&told[2]).is_err());
            let error = endpoint(&told[0]).unwrap_err().to_string();
            assert!(error.contains("`2` of `TAX` cannot be read"), "{error}");
        }
    }

    #[test]
    fn one_application_with_one_instance_is_read_as_lists_are() {
        for json in [
            r#"{"applications":{"versions__delta":3,"apps__hashcode":"UP_1_","application":{"name":"TAX","instance":{"instanceId":"1"}}}}"#,
            r#"{"applications":{"apps__hashcode":"UP_1_","application":[{"name":"tax","instance":[{"instanceId":"1","app":"TAX"}]}]}}"#,
        ] {
            let told = Told::applications(json.as_bytes()).unwrap();
            assert_eq!((told.instances.len(), told.hash.as_deref()), (1, Some("UP_1_")));
            assert_eq!((&*told.instances[0].app, told.instances[0].id()), ("TAX", "1"));
        }
        let one =
            br#"{"application":{"name":"TAX","instance":[{"hostName":"a"},{"hostName":"b"}]}}"#;
        assert_eq!(Told::application(one).unwrap().instances.len(), 2);
        for empty in ["{}", "[]", "", "7", r#"{"applications":7}"#] {
            assert!(Told::applications(empty.as_bytes()).is_err(), "{empty}");
        }
        let none = br#"{"applications":{"versions__delta":"1","apps__hashcode":""}}"#;
        assert!(Told::applications(none).unwrap().instances.is_empty());
    }
}
