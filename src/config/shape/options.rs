//! The options of a plugin, by its transport.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{ask::shape, demands::over, written::Writer};
#[cfg(feature = "grpc")]
use crate::transport::GrpcConfig;
#[cfg(all(feature = "process", unix))]
use crate::transport::ProcessConfig;
use crate::{
    config::{rules::known_options, value::Path},
    transport::SocketConfig,
};

/// Options of Go, which have another form than the settings of that name.
const OF_GO: [&str; 1] = ["handshake_config"];

/// Adds what each transport of this crate knows. Others are notes, and so they are not marked.
pub(super) fn of_options(plugin: &mut Value, writer: &Writer<'_>) {
    let mut rules = vec![rule::<SocketConfig>(&["unix"], writer)];
    #[cfg(feature = "grpc")]
    rules.push(rule::<GrpcConfig>(&["grpc", "grpc-tls"], writer));
    #[cfg(all(feature = "process", unix))]
    rules.push(rule::<ProcessConfig>(&["exec"], writer));
    if let Some(all) = plugin["allOf"].as_array_mut() {
        all.append(&mut rules);
    }
}

fn rule<T: Default + Serialize + DeserializeOwned>(
    transports: &[&str],
    writer: &Writer<'_>,
) -> Value {
    let default = serde_json::to_value(T::default()).unwrap_or_default();
    let options = Path::Root.key("options");
    let path = options.key(transports.first().copied().unwrap_or_default());
    let written = writer.write(&shape::<T>(), &path, Some(&default));
    let known: Vec<_> = transports.iter().filter_map(|of| known_options(of)).flatten().collect();
    let mut properties = written["properties"].as_object().cloned().unwrap_or_default();
    // `args` of a program is what it is elsewhere; its variables have two forms.
    let is_known = |key: &String| known.contains(key) && key != "env" && !OF_GO.contains(&&**key);
    properties.retain(|key, _| is_known(key));
    json!({ "if": over(transports), "then": { "properties": { "options": of(properties) } } })
}

fn of(properties: Map<String, Value>) -> Value {
    json!({ "type": ["object", "null"], "properties": properties })
}
