//! A shape as a schema.

use serde_json::{Map, Value, json};

use super::{
    ask::Shape,
    docs::doc,
    durations,
    range::{Range, fractions, naturals},
};
use crate::config::{error::is_secret, names::ours, value::Path};

/// What a duration calls itself.
const DURATION: &str = "a duration";

/// Writes shapes, with what holds where nothing is written.
pub(super) struct Writer<'s> {
    /// The sections with their defaults.
    pub(super) sections: &'s Value,
}

impl Writer<'_> {
    /// A shape as a schema; `default` is what holds where nothing is written.
    pub(super) fn write(&self, shape: &Shape, path: &Path<'_>, default: Option<&Value>) -> Value {
        let at = path.to_string();
        let mut schema = match shape {
            Shape::Bool => defined("bool"),
            Shape::Integer { is_signed: true } => defined("integer"),
            Shape::Integer { is_signed: false } => {
                limited(defined("natural"), naturals(&at, self.sections))
            }
            Shape::Fraction => limited(defined("number"), fractions(&at, self.sections)),
            Shape::Text if is_secret(path) => defined("secret"),
            Shape::Text => defined("text"),
            Shape::Choice(choices) => one_of(choices),
            Shape::List(item) => {
                json!({ "type": ["array", "null"], "items": self.write(item, path, None) })
            }
            Shape::Map(of) => {
                let each = self.write(of, path, None);
                json!({ "type": ["object", "null"], "additionalProperties": each })
            }
            Shape::Struct { fields, is_open } => self.fields(fields, *is_open, path, default),
            Shape::One(_, said) if said.starts_with(DURATION) => {
                durations::limited(defined("duration"), durations::durations(&at, self.sections))
            }
            Shape::One(shapes, _) => self.one(shapes, path),
            Shape::Anything => json!({}),
        };
        let what = match shape {
            Shape::One(_, said) if !said.starts_with(DURATION) => Some(format!("Write {said}.")),
            _ => None,
        };
        let said: Vec<_> = doc(&at).into_iter().chain(what).collect();
        if !said.is_empty() {
            schema["description"] = json!(said.join(" "));
        }
        let is_whole = !matches!(shape, Shape::Struct { .. } | Shape::Map(_));
        if let Some(value) = default.filter(|value| is_whole && !value.is_null()) {
            if !is_secret(path) {
                schema["default"] = value.clone();
            }
        }
        schema
    }

    /// One of several types: what is said of a list or a map holds of those alone.
    fn one(&self, shapes: &[Shape], path: &Path<'_>) -> Value {
        let (mut types, mut schema) = (vec!["null"], json!({}));
        for shape in shapes {
            types.push(match shape {
                Shape::Text => "string",
                Shape::Integer { .. } => "integer",
                Shape::List(_) => "array",
                _ => "object",
            });
            let Value::Object(said) = self.write(shape, path, None) else { continue };
            for key in ["items", "properties", "additionalProperties"] {
                if let Some(value) = said.get(key) {
                    schema[key] = value.clone();
                }
            }
        }
        schema["type"] = json!(types);
        schema
    }

    fn fields(
        &self,
        fields: &[(&'static str, Shape)],
        is_open: bool,
        path: &Path<'_>,
        default: Option<&Value>,
    ) -> Value {
        let mut properties = Map::new();
        for (name, shape) in fields {
            let of = default.and_then(|of| default_of(name, of));
            properties.insert((*name).to_owned(), self.write(shape, &path.key(name), of.as_ref()));
        }
        json!({
            // As Go writes what is not there.
            "type": ["object", "null"],
            "properties": properties,
            "additionalProperties": is_open,
        })
    }
}

/// The default of a key that may have two names. Two of Go's say it in another way.
fn default_of(name: &str, section: &Value) -> Option<Value> {
    let own = section.get(name).or_else(|| section.get(ours(name)))?;
    Some(match name {
        "max_retries" => json!(own.as_u64()?.saturating_sub(1)),
        "random_jitter" => json!(own != "none"),
        _ => own.clone(),
    })
}

/// A schema of the definitions.
pub(super) fn defined(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// One of some names, alone or with its settings, or a variable.
fn one_of(choices: &[&str]) -> Value {
    json!({ "anyOf": [
        { "enum": choices },
        defined("variable"),
        { "type": "null" },
        {
            "type": "object",
            "propertyNames": { "enum": choices },
            "minProperties": 1,
            "maxProperties": 1,
        },
    ]})
}

fn limited<T: Into<Value>>(mut schema: Value, range: Range<T>) -> Value {
    let [least, most] = [
        if range.is_above_min { "exclusiveMinimum" } else { "minimum" },
        if range.is_below_max { "exclusiveMaximum" } else { "maximum" },
    ];
    for (name, end) in [(least, range.min), (most, range.max)] {
        if let Some(end) = end {
            schema[name] = end.into();
        }
    }
    schema
}
