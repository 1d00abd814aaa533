//! Settings of the Go failover manager, by names that are written in several ways.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::section::Time;
use crate::{
    config::{nearest::did_you_mean, read::read_alone},
    error::{Code, Error, Kind},
};

/// One member of a section.
pub(super) struct Setting<'v> {
    /// Without case and `_`, as both the code and the documentation mean it.
    pub(super) name: String,
    /// Where it is, as it is written.
    pub(super) path: String,
    pub(super) value: &'v Value,
}

/// What is wrong with a config.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<String>);

pub(super) type Read<T> = Result<T, Mistakes>;

/// Reads all members of a section, whatever is wrong with one of them. In Go, null leaves a setting as it is.
pub(super) fn each<'v>(
    path: &str,
    value: &'v Value,
    mut read: impl FnMut(&Setting<'v>) -> Read<()>,
) -> Read<()> {
    let Some(members) = value.as_object() else {
        let subject = if path.is_empty() { "it".to_owned() } else { format!("`{path}`") };
        return Err(mistake(format!("{subject} must be an object")));
    };
    let given = members.iter().filter(|(_, value)| !value.is_null());
    all(given.map(|(key, value)| {
        let name = key.replace(['_', '-'], "").to_lowercase();
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        read(&Setting { name, path, value })
    }))
}

/// All that is wrong with any of them.
pub(super) fn all(read: impl IntoIterator<Item = Read<()>>) -> Read<()> {
    let wrong: Vec<_> = read.into_iter().filter_map(Read::err).flat_map(|of| of.0).collect();
    if wrong.is_empty() { Ok(()) } else { Err(Mistakes(wrong)) }
}

impl Setting<'_> {
    pub(super) fn read<T: DeserializeOwned>(&self) -> Read<T> {
        read_alone(self.value.clone(), &self.path).map_err(Mistakes)
    }

    pub(super) fn time(&self) -> Read<Duration> {
        self.read::<Time>().map(|Time(time)| time)
    }

    #[cold]
    pub(super) fn unknown(&self, known: &[&str]) -> Mistakes {
        let key = self.path.rsplit('.').next().unwrap_or_default();
        let hint = did_you_mean(key, known).map(|hint| format!("{hint} ")).unwrap_or_default();
        mistake(format!("unknown key `{}`; {hint}there are `{}`", self.path, known.join("`, `")))
    }
}

#[cold]
pub(super) fn mistake(text: String) -> Mistakes {
    Mistakes(vec![text])
}

impl From<Mistakes> for Error {
    #[cold]
    fn from(Mistakes(mistakes): Mistakes) -> Self {
        Self::not_sent(Kind::InvalidConfig)
            .coded(Some(Code::CONFIG_1703))
            .message(format!("failover config: {}", mistakes.join("; ")))
    }
}
