//! Rules between keys that a schema can say.

use serde_json::{Value, json};

/// Whether a plugin is over one of some transports. A factory of the program's own may need nothing of the kind.
pub(super) fn over(transports: &[&str]) -> Value {
    json!({
        "properties": { "transport": { "enum": transports } },
        "required": ["transport"],
        "not": { "required": ["type"] },
    })
}

/// What a plugin needs, by its transport.
pub(super) fn of_plugin(plugin: &mut Value) {
    let needs = |keys: &[&str]| {
        let keys: Vec<_> = keys.iter().map(|key| json!({ "required": [key] })).collect();
        json!({ "anyOf": keys })
    };
    let in_text = |pattern: &str| json!({ "properties": { "endpoint": { "pattern": pattern } } });
    // A variable may be anything.
    let url = in_text("^[A-Za-z][A-Za-z0-9+.-]*://[^/?#:]|\\$\\{");
    // Not every validator knows a pattern for what does not follow.
    let plain = json!({ "type": "string", "pattern": "^[hH][tT][tT][pP]://" });
    let secure = json!({ "properties": { "endpoint": { "not": plain } } });
    let places = ["endpoint", "endpoints", "discover"];
    let places_and_program = ["executable", "endpoint", "endpoints", "discover"];
    plugin["allOf"] = json!([
        needs(&["transport", "type"]),
        { "if": over(&["http", "https", "grpc", "grpc-tls", "unix"]), "then": needs(&places) },
        { "if": over(&["exec"]), "then": needs(&places_and_program) },
        { "if": over(&["http", "https"]), "then": url },
        { "if": over(&["https"]), "then": secure },
    ]);
    plugin["properties"]["name"]["minLength"] = json!(1);
    plugin["properties"]["transport"]["minLength"] = json!(1);
}

/// What each method of `auth` needs, unless defaults may have it.
pub(super) fn of_auth(root: &mut Value, definitions: &mut Value) {
    let needs = |method: &str, keys: &[&str]| {
        json!({
            "if": { "properties": { "method": { "const": method } }, "required": ["method"] },
            "then": {
                "required": keys,
                "properties": keys
                    .iter()
                    .map(|key| ((*key).to_owned(), json!({ "not": { "enum": ["", null] } })))
                    .collect::<serde_json::Map<_, _>>(),
            },
        })
    };
    definitions["whole_auth"] = json!({
        "properties": { "auth": { "allOf": [
            needs("api-key", &["api_key"]),
            needs("bearer", &["token"]),
            needs("basic", &["username", "password"]),
            needs("mtls", &["cert_file", "key_file"]),
        ] } },
    });
    let whole = json!({ "$ref": "#/$defs/whole_auth" });
    root["if"] = json!({ "not": { "anyOf": [
        { "required": ["default_auth"] },
        { "properties": { "defaults": { "required": ["auth"] } }, "required": ["defaults"] },
    ] } });
    root["then"] = json!({ "properties": { "plugins": {
        "if": { "type": "array" },
        "then": { "items": whole },
        "else": { "additionalProperties": whole },
    } } });
}
