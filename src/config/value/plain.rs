//! Values that stand in no file.

use serde_json::Value as Json;

use super::tree::{Member, Node, Place, Value};

impl From<Json> for Node {
    fn from(json: Json) -> Self {
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(value),
            Json::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => Value::Unsigned(value),
                (_, Some(value)) => Value::Signed(value),
                _ => Value::Float(number.as_f64().unwrap_or_default()),
            },
            Json::String(text) => Value::text(text),
            Json::Array(list) => Value::List(list.into_iter().map(Self::from).collect()),
            Json::Object(map) => Value::Map(map.into_iter().map(Member::from).collect()),
        };
        Self { place: Place::Nowhere, value }
    }
}

impl From<(String, Json)> for Member {
    fn from((key, json): (String, Json)) -> Self {
        Self { key, key_place: Place::Nowhere, node: json.into() }
    }
}
