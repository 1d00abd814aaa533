//! A value that stands in no file, or whose section another part of the crate knows.

use serde::de::DeserializeOwned;

use super::section::Reading;
use crate::config::value::{Format, Node, Path};

/// Reads a value, or lists everything that is wrong with it by `path` and the keys below that.
pub(crate) fn read_alone<T: DeserializeOwned>(
    value: serde_json::Value,
    path: &str,
) -> Result<T, Vec<String>> {
    let mut reading = Reading::new(Format::Json, "");
    let value = reading.read::<T>(&Node::from(value), &Path::Root);
    let flaws = [reading.found.flaws, reading.found.unknown].map(|found| found.sorted());
    let wrong: Vec<_> = flaws.into_iter().flatten().collect();
    match value {
        Some(value) if wrong.is_empty() => Ok(value),
        _ => Err(wrong
            .into_iter()
            .map(|flaw| {
                let at = match &*flaw.path {
                    "" => path.to_owned(),
                    index if index.starts_with('[') => format!("{path}{index}"),
                    key => format!("{path}.{key}"),
                };
                let help = flaw.help.map(|help| format!("; {help}")).unwrap_or_default();
                format!("`{at}`: {}{help}", flaw.message)
            })
            .collect()),
    }
}
