//! The JSON Schema of the file.

use serde_json::{Map, Value, json};

use super::ask::{Shape, shape};
use crate::config::{
    error::is_secret,
    model::{Config, PluginConfig, Sections},
    names::ours,
    value::Path,
};

/// Returns the JSON Schema of a config file: an editor that has it completes the keys, and marks unknown
/// ones and values of a wrong type.
///
/// It is made from the structs that read the file. Ranges, and rules between keys, are not in it:
/// [`Config::from_file`] checks them.
///
/// ```
/// let schema = tower_upstream::config::schema();
/// assert_eq!(schema["properties"]["log_level"]["$ref"], "#/$defs/text");
/// assert_eq!(schema["additionalProperties"], false);
/// ```
pub fn schema() -> Value {
    let mut defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let sections = serde_json::to_value(Sections::default()).unwrap_or_default();
    let mut plugin = serde_json::to_value(PluginConfig::default()).unwrap_or_default();
    for (of, section) in sections.as_object().into_iter().flatten() {
        plugin[of] = section.clone();
        defaults[format!("default_{of}")] = section.clone();
    }
    let mut schema = written(&shape::<Config>(), &Path::Root, Some(&defaults));
    let one = written(&shape::<PluginConfig>(), &Path::Root.key("plugins"), Some(&plugin));
    let of_plugin = || json!({ "$ref": "#/$defs/plugin" });
    schema["properties"]["plugins"] = json!({
        "description": "a list of plugins, or an object of plugins by name",
        "anyOf": [
            { "type": "array", "items": of_plugin() },
            { "type": "object", "additionalProperties": of_plugin() },
        ],
    });
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Plugins of a program");
    schema["$defs"] = definitions();
    schema["$defs"]["plugin"] = one;
    schema
}

/// Values without parts. Each may be a variable, too, and null, which leaves a value as it is.
fn definitions() -> Value {
    let scalar =
        |of: Value| json!({ "anyOf": [of, { "$ref": "#/$defs/variable" }, { "type": "null" }] });
    json!({
        "bool": scalar(json!({ "type": "boolean" })),
        "integer": scalar(json!({ "type": "integer" })),
        "natural": scalar(json!({ "type": "integer", "minimum": 0 })),
        "number": scalar(json!({ "type": "number" })),
        "text": { "type": ["string", "null"] },
        "secret": {
            "description": "a text, or the environment variable or the file that has it",
            "anyOf": [
                { "type": ["string", "null"] },
                {
                    "type": "object",
                    "properties": { "env": { "type": "string" }, "file": { "type": "string" } },
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": false,
                },
            ],
        },
        "variable": {
            "description": "an environment variable, with or without a default",
            "type": "string",
            "pattern": "^\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}$",
        },
    })
}

/// A shape as a schema; `default` is what holds where nothing is written.
fn written(shape: &Shape, path: &Path<'_>, default: Option<&Value>) -> Value {
    let scalar = |name: &str| json!({ "$ref": format!("#/$defs/{name}") });
    let mut schema = match shape {
        Shape::Bool => scalar("bool"),
        Shape::Integer { is_signed: true } => scalar("integer"),
        Shape::Integer { is_signed: false } => scalar("natural"),
        Shape::Fraction => scalar("number"),
        Shape::Text if is_secret(path) => scalar("secret"),
        Shape::Text => scalar("text"),
        Shape::Choice(choices) => {
            json!({ "anyOf": [{ "enum": choices }, scalar("variable"), { "type": "null" }] })
        }
        Shape::List(item) => json!({ "type": "array", "items": written(item, path, None) }),
        Shape::Map(of) => {
            json!({ "type": "object", "additionalProperties": written(of, path, None) })
        }
        Shape::Struct { fields, is_open } => {
            let property = |(name, shape): &(&'static str, Shape)| {
                let of = default.and_then(|of| of.get(name).or_else(|| of.get(ours(name))));
                ((*name).to_owned(), written(shape, &path.key(name), of))
            };
            let properties: Map<String, Value> = fields.iter().map(property).collect();
            json!({
                "type": "object",
                "properties": properties,
                "additionalProperties": is_open,
            })
        }
        Shape::One(shapes, said) => {
            let kinds = shapes.iter().map(|shape| written(shape, path, None));
            json!({ "description": said, "anyOf": kinds.collect::<Vec<_>>() })
        }
        Shape::Anything => json!({}),
    };
    match default {
        Some(value) if !value.is_object() && !value.is_null() && !is_secret(path) => {
            schema["default"] = value.clone();
        }
        _ => {}
    }
    schema
}
