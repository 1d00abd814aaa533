//! Settings of the Go failover manager, by names that are written in several ways.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::section::Time;
use crate::{
    config::{
        nearest::did_you_mean,
        read::read_alone,
        value::{Flaw, Node, Path},
    },
    error::{Code, Error, Kind},
};

/// One member of a section.
pub(super) struct Setting<'v> {
    /// Without case and `_`, as both the code and the documentation mean it.
    pub(super) name: String,
    /// Where it is, as it is written.
    pub(super) path: Path<'v>,
    key: &'v str,
    pub(super) value: &'v Value,
}

/// What is wrong with a config.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<String>);

pub(super) type Read<T> = Result<T, Mistakes>;

/// Reads all members of a section, whatever is wrong with one of them. In Go, null leaves a setting as it is.
pub(super) fn each(
    path: &Path<'_>,
    value: &Value,
    mut read: impl FnMut(&Setting<'_>) -> Read<()>,
) -> Read<()> {
    let Some(members) = value.as_object() else {
        return Err(match path {
            Path::Root => mistake("it must be an object".to_owned()),
            path => mistake(format!("`{path}` must be an object")),
        });
    };
    let given = members.iter().filter(|(_, value)| !value.is_null());
    all(given.map(|(key, value)| {
        let name = key.replace(['_', '-'], "").to_lowercase();
        read(&Setting { name, path: path.key(key), key, value })
    }))
}

/// All that is wrong with any of them.
pub(super) fn all(read: impl IntoIterator<Item = Read<()>>) -> Read<()> {
    let wrong: Vec<_> = read.into_iter().filter_map(Read::err).flat_map(|of| of.0).collect();
    if wrong.is_empty() { Ok(()) } else { Err(Mistakes(wrong)) }
}

impl Setting<'_> {
    pub(super) fn read<T: DeserializeOwned>(&self) -> Read<T> {
        let read = read_alone(&Node::from(self.value.clone()), &self.path);
        read.map_err(|flaws| Mistakes(flaws.iter().map(Flaw::told).collect()))
    }

    pub(super) fn time(&self) -> Read<Duration> {
        self.read::<Time>().map(|Time(time)| time)
    }

    #[cold]
    pub(super) fn unknown(&self, known: &[&str]) -> Mistakes {
        let hint = did_you_mean(self.key, known).map(|hint| format!("{hint} ")).unwrap_or_default();
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
