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
/// assert_eq!(schema["properties"]["log_level"]["anyOf"][0]["type"], "string");
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
    let root = shape::<Config>();
    let mut schema = written(&root, &Path::Root, Some(&defaults), Some(&plugin));
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Plugins of a program");
    schema["$defs"] = json!({
        "variable": { "type": "string", "pattern": "^\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}$" },
        "elsewhere": {
            "type": "object",
            "properties": { "env": { "type": "string" }, "file": { "type": "string" } },
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": false,
        },
    });
    schema
}

/// A shape as a schema; `default` is what holds where nothing is written.
fn written(
    shape: &Shape,
    path: &Path<'_>,
    default: Option<&Value>,
    plugin: Option<&Value>,
) -> Value {
    let scalar = |kind: Value| {
        let mut kinds = vec![kind, json!({ "$ref": "#/$defs/variable" })];
        if is_secret(path) {
            kinds.push(json!({ "$ref": "#/$defs/elsewhere" }));
        }
        json!({ "anyOf": kinds })
    };
    let mut schema = match shape {
        Shape::Bool => scalar(json!({ "type": "boolean" })),
        Shape::Integer { is_signed: true } => scalar(json!({ "type": "integer" })),
        Shape::Integer { is_signed: false } => scalar(json!({ "type": "integer", "minimum": 0 })),
        Shape::Fraction => scalar(json!({ "type": "number" })),
        Shape::Text => scalar(json!({ "type": "string" })),
        Shape::Choice(choices) => scalar(json!({ "enum": choices })),
        Shape::List(item) => {
            json!({ "type": "array", "items": written(item, path, plugin, None) })
        }
        Shape::Map(of) => {
            json!({ "type": "object", "additionalProperties": written(of, path, plugin, None) })
        }
        Shape::Struct { fields, is_open } => {
            let properties: Map<String, Value> = fields
                .iter()
                .map(|(name, shape)| {
                    let of = default.and_then(|of| of.get(name).or_else(|| of.get(ours(name))));
                    let path = path.key(name);
                    let schema = written(shape, &path, of, plugin.filter(|_| *name == "plugins"));
                    ((*name).to_owned(), schema)
                })
                .collect();
            json!({
                "type": "object",
                "properties": properties,
                "additionalProperties": is_open,
            })
        }
        Shape::One(shapes, said) => {
            let mut kinds: Vec<_> =
                shapes.iter().map(|shape| written(shape, path, default, plugin)).collect();
            kinds.push(json!({ "$ref": "#/$defs/variable" }));
            json!({ "description": said, "anyOf": kinds })
        }
        Shape::Anything => json!({}),
    };
    // In Go, null leaves a value as it is.
    if let Some(kinds) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        kinds.push(json!({ "type": "null" }));
    }
    match default {
        Some(value) if !value.is_object() && !value.is_null() && !is_secret(path) => {
            schema["default"] = value.clone();
        }
        _ => {}
    }
    schema
}
