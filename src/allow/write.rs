//! Writes a list of allowed plugins.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::{
    plugins::{ALGORITHM, AllowedPlugin, AllowedPlugins, Constraints, is_zero},
    policy::Policy,
};
use crate::{plugin::wire::to_json, wire::rfc3339};

impl AllowedPlugins {
    /// Writes the list as Go does.
    pub fn to_json(&self) -> String {
        let told = ListTold {
            version: &self.version,
            updated_at: rfc3339(self.updated_at),
            description: &self.description,
            default_policy: Policy::number(self.default_policy),
            hash_algorithm: ALGORITHM,
            plugins: self
                .plugins
                .iter()
                .map(|(name, plugin)| (name.as_str(), EntryTold { name, plugin }))
                .collect(),
            global_constraints: &self.global_constraints,
        };
        // It is made of texts and numbers.
        String::from_utf8(to_json(&told).unwrap_or_default()).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct ListTold<'a> {
    version: &'a str,
    updated_at: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    default_policy: u8,
    hash_algorithm: &'a str,
    plugins: BTreeMap<&'a str, EntryTold<'a>>,
    global_constraints: &'a Constraints,
}

struct EntryTold<'a> {
    name: &'a str,
    plugin: &'a AllowedPlugin,
}

impl Serialize for EntryTold<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Told<'a> {
            name: &'a str,
            r#type: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            version: &'a str,
            algorithm: &'a str,
            hash: String,
            #[serde(skip_serializing_if = "str::is_empty")]
            file_path: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            description: &'a str,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            metadata: &'a BTreeMap<String, String>,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            allowed_endpoints: &'a [String],
            #[serde(skip_serializing_if = "is_zero")]
            max_file_size: u64,
            added_at: String,
            updated_at: String,
        }
        let Self { name, plugin } = *self;
        let told = Told {
            name,
            r#type: &plugin.r#type,
            version: &plugin.version,
            algorithm: ALGORITHM,
            hash: plugin.hash.to_string(),
            file_path: &plugin.file_path,
            description: &plugin.description,
            metadata: &plugin.metadata,
            allowed_endpoints: &plugin.allowed_endpoints,
            max_file_size: plugin.max_file_size,
            added_at: rfc3339(plugin.added_at),
            updated_at: rfc3339(plugin.updated_at),
        };
        told.serialize(serializer)
    }
}
