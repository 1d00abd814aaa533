//! The JSON Schema of the file.

use serde_json::{Map, Value, json};

use super::{
    ask::shape,
    demands::{of_auth, of_plugin},
    docs::OTHER_NAME,
    options::of_options,
    written::{Writer, defined},
};
use crate::{
    auth::AuthMethod,
    config::{
        model::{Config, PluginConfig, Sections, SecurityConfig, StrategyName},
        names::always,
        rules::TRANSPORTS,
        value::Path,
    },
    duration::MIN_NUMBER,
};

/// Returns the JSON Schema of a config file: an editor that has it completes the keys, shows what each is for
/// and its default, and marks unknown keys, and values of a wrong type or out of range.
///
/// It is made from the structs that read the file. Most rules between keys are not in it:
/// [`Config::from_file`] checks them.
///
/// ```
/// let schema = tower_upstream::config::schema();
/// assert_eq!(schema["properties"]["log_level"]["$ref"], "#/$defs/text");
/// assert_eq!(schema["$defs"]["retry"]["properties"]["attempts"]["maximum"], 64);
/// assert_eq!(schema["additionalProperties"], false);
/// ```
pub fn schema() -> Value {
    let sections = to_value(&Sections::default());
    let writer = Writer { sections: &sections };
    let names: Vec<&String> = sections.as_object().into_iter().flat_map(Map::keys).collect();

    let mut config = to_value(&Config::default());
    config["security"] = to_value(&SecurityConfig::default());
    let mut root = writer.write(&shape::<Config>(), &Path::Root, Some(&config));
    let mut all = writer.write(&shape::<Sections>(), &Path::Root, Some(&sections));
    let plugins = Path::Root.key("plugins");
    let mut plugin =
        writer.write(&shape::<PluginConfig>(), &plugins, Some(&to_value(&PluginConfig::default())));

    // Neither can be left out.
    root["type"] = json!("object");
    plugin["type"] = json!("object");

    let mut definitions = definitions();
    for name in names {
        let section = all["properties"][name].take();
        if section.get("$ref").is_some() {
            plugin["properties"][name] = section.clone();
            all["properties"][name] = section;
            continue;
        }
        let mut link = but_for_zeros(name);
        if let Some(of_go) = root["properties"].get_mut(format!("default_{name}")) {
            *of_go = link.clone();
            of_go["description"] = json!(format!("{OTHER_NAME}`defaults.{name}`."));
        }
        link["description"] = section["description"].clone();
        plugin["properties"][name] = link.clone();
        all["properties"][name] = link;
        definitions[name] = section;
    }
    // Read in a way of its own, since Go writes an empty one.
    let auth = Path::Root.key("auth");
    let mut method =
        writer.write(&shape::<AuthMethod>(), &auth.key("method"), Some(&json!("none")));
    if let Some(methods) = method["anyOf"][0]["enum"].as_array_mut() {
        methods.push(json!(""));
    }
    definitions["auth"]["properties"]["method"] = method;
    // Names that other factories, and other spellings, may add to.
    plugin["properties"]["transport"]["examples"] = json!(TRANSPORTS);
    let strategies: Vec<_> = StrategyName::ALL.iter().map(|name| name.as_str()).collect();
    definitions["balance"]["properties"]["strategy"]["examples"] = json!(strategies);

    of_plugin(&mut plugin);
    of_options(&mut plugin, &writer);
    definitions["plugin"] = plugin;
    of_auth(&mut root, &mut definitions);
    let said = |root: &Value, key: &str| root["properties"][key]["description"].clone();
    all["description"] = said(&root, "defaults");
    root["properties"]["defaults"] = all;
    root["properties"]["plugins"] = json!({
        "description": said(&root, "plugins"),
        "type": ["array", "object", "null"],
        "items": defined("listed"),
        "minItems": 1,
        "additionalProperties": defined("plugin"),
        "minProperties": 1,
    });
    definitions["listed"] = json!({ "allOf": [defined("plugin"), { "required": ["name"] }] });
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("Plugins of a program");
    root["description"] = json!("Config file of the crate `tower-upstream`.");
    root["$defs"] = definitions;
    root
}

/// A section, which Go may write with zeros for one that is not there.
fn but_for_zeros(name: &str) -> Value {
    let Some(members) = always(name) else { return defined(name) };
    let zero = |member: &&str| ((*member).to_owned(), json!({ "enum": [0, false, "", "0s"] }));
    let zeros: Map<_, _> = members.iter().map(zero).collect();
    json!({ "if": { "type": "object", "required": members, "properties": zeros }, "else": defined(name) })
}

fn to_value(of: &impl serde::Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
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
        "duration": {
            "description": "a duration such as `1m30s`, or whole nanoseconds",
            "anyOf": [
                {
                    "type": "string",
                    "pattern": "^\\+?(0|(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$|\\$\\{",
                },
                { "const": 0 },
                { "type": "integer", "minimum": MIN_NUMBER, "maximum": i64::MAX },
                { "type": "null" },
            ],
        },
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
