//! The answers of a server, as they are written.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;

use super::{
    info::Info,
    lenient::{Text, many},
};

/// The answer to `/apps`, `/apps/delta` and `/vips/VIP`.
#[derive(Debug, Deserialize)]
struct All {
    applications: Applications,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Applications {
    #[serde(rename = "apps__hashcode")]
    hash: Text,
    #[serde(deserialize_with = "many")]
    application: Vec<Application>,
}

/// The answer to `/apps/APP`.
#[derive(Debug, Deserialize)]
struct One {
    application: Application,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Application {
    name: Text,
    #[serde(deserialize_with = "many")]
    instance: Vec<Info>,
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
        let All { applications } = serde_json::from_slice(json)?;
        let instances = applications.application.into_iter().flat_map(Application::instances);
        Ok(Self { instances: instances.collect(), hash: applications.hash.0 })
    }

    /// Reads one application.
    pub(super) fn application(json: &[u8]) -> Result<Self, serde_json::Error> {
        let One { application } = serde_json::from_slice(json)?;
        Ok(Self { instances: application.instances().collect(), hash: None })
    }
}

impl Application {
    fn instances(self) -> impl Iterator<Item = Arc<Info>> {
        let app = self.name.0.unwrap_or_default();
        self.instance.into_iter().map(move |instance| Arc::new(instance.of_app(&app)))
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
