//! How values that are no [`Secret`](crate::auth::Secret), and may hold some, are written: as secrets are.

use std::collections::BTreeMap;

use serde::Serializer;
use serde_json::Value;

use crate::{
    auth::shown::{Shown, shown},
    config::{error::is_secret, value::Path},
    endpoint::without_user,
};

/// Values of any shape. Secrets are known by the names of their keys.
pub(super) fn values<S: Serializer>(
    values: &BTreeMap<String, Value>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(all(values))
}

/// The values as they are written now.
pub(crate) fn all(values: &BTreeMap<String, Value>) -> BTreeMap<&str, Value> {
    let all = values.iter();
    all.filter_map(|(key, value)| Some((&**key, masked(value, &Path::Root.key(key))?))).collect()
}

/// `None`: it is left out.
fn masked(value: &Value, path: &Path<'_>) -> Option<Value> {
    let is_plain = || shown() == Shown::All || !is_secret(path);
    Some(match value {
        Value::Object(members) => {
            let of = |(key, value): (&String, &Value)| {
                Some((key.clone(), masked(value, &path.key(key))?))
            };
            Value::Object(members.iter().filter_map(of).collect())
        }
        Value::Array(items) => {
            Value::Array(items.iter().filter_map(|item| masked(item, path)).collect())
        }
        Value::Null | Value::Bool(_) => value.clone(),
        Value::String(text) if text.is_empty() => value.clone(),
        value if is_plain() => value.clone(),
        _ if shown() == Shown::Stars => "***".into(),
        _ => return None,
    })
}

/// An address, which may hold a user and a password.
#[allow(clippy::ptr_arg, reason = "serde asks so")]
pub(super) fn address<S: Serializer>(address: &String, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&shown_address(address))
}

pub(crate) fn shown_address(address: &str) -> std::borrow::Cow<'_, str> {
    // Elsewhere, an `@` is part of a path.
    match shown() == Shown::All || !address.contains("://") {
        true => address.into(),
        false => without_user(address),
    }
}
