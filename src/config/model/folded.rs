//! Settings of the Go failover manager, by names that are written in several ways.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use super::section::Time;
use crate::{
    config::nearest::did_you_mean,
    error::{Code, Error, Kind},
};

/// The members of a section, by their names without case and `_`: those of the code and of the documentation.
pub(super) fn members<'v>(
    section: &str,
    value: &'v Value,
) -> Result<BTreeMap<String, &'v Value>, Error> {
    let Some(members) = value.as_object() else {
        return Err(mistake(format!("`{section}` must be an object")));
    };
    let folded = |key: &str| key.replace(['_', '-'], "").to_lowercase();
    Ok(members.iter().map(|(key, value)| (folded(key), value)).collect())
}

pub(super) fn read<'v, T: Deserialize<'v>>(key: &str, value: &'v Value) -> Result<T, Error> {
    T::deserialize(value).map_err(|error| mistake(format!("`{key}`: {error}")))
}

pub(super) fn time(key: &str, value: &Value) -> Result<Duration, Error> {
    read::<Time>(key, value).map(|Time(time)| time)
}

#[cold]
pub(super) fn unknown(key: &str, known: &[&str]) -> Error {
    let hint = did_you_mean(key, known).unwrap_or_default();
    mistake(format!("unknown key `{key}`; {hint} there are `{}`", known.join("`, `")))
}

#[cold]
pub(super) fn mistake(text: String) -> Error {
    Error::not_sent(Kind::InvalidConfig)
        .coded(Some(Code::CONFIG_1703))
        .message(format!("failover config: {text}"))
}
