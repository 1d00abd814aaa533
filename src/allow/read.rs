//! Reads a list of allowed plugins.

use std::{collections::BTreeMap, time::SystemTime};

use serde_json::value::RawValue;

use super::{
    digest::Sha256,
    plugins::{ALGORITHM, AllowedPlugin, AllowedPlugins, Constraints},
    policy::Policy,
};
use crate::{
    error::{Code, Error, Kind},
    plugin::wire::{Pairs, members, value},
    wire::{parse_rfc3339, system_time},
};

/// Most bytes of a list.
pub(super) const MAX_BYTES: usize = 4 << 20;
/// Most plugins in it.
const MAX_PLUGINS: usize = 10_000;
/// Most mistakes that an error names.
const MAX_MISTAKES: usize = 20;

impl AllowedPlugins {
    /// Reads a list.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig) with the code `SECURITY_1802`, which names
    /// up to 20 mistakes at once.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut mistakes = Mistakes::default();
        if text.len() > MAX_BYTES {
            mistakes.add("", format!("it has more than {MAX_BYTES} bytes"));
            return mistakes.or(Self::default());
        }
        let read = match members(
            text,
            [
                "version",
                "updated_at",
                "description",
                "default_policy",
                "hash_algorithm",
                "plugins",
                "global_constraints",
            ],
        ) {
            Ok(read) => read,
            Err(error) => {
                mistakes.add("", format!("it is no JSON object: {error}"));
                return mistakes.or(Self::default());
            }
        };
        let [version, updated_at, description, policy, algorithm, plugins, constraints] = read;
        let policy: i64 = mistakes.value("", "default_policy", policy);
        if !(0..=3).contains(&policy) {
            mistakes.add("", format!("`default_policy` is {policy}, but must be 0 to 3"));
        }
        if plugins.is_none_or(|plugins| plugins.get() == "null") {
            mistakes.add("", "`plugins` is missing");
        }
        mistakes.algorithm("", "hash_algorithm", algorithm);
        let plugins: BTreeMap<String, &RawValue> = mistakes.value("", "plugins", plugins);
        if plugins.len() > MAX_PLUGINS {
            mistakes.add("", format!("`plugins` has more than {MAX_PLUGINS}"));
            return mistakes.or(Self::default());
        }
        let list = Self {
            version: mistakes.value("", "version", version),
            updated_at: mistakes.time("", "updated_at", updated_at),
            description: mistakes.value("", "description", description),
            default_policy: Policy::of_number(policy),
            plugins: plugins
                .into_iter()
                .filter_map(|(name, text)| {
                    let plugin = plugin(&mut mistakes, &name, text)?;
                    Some((name, plugin))
                })
                .collect(),
            global_constraints: global(&mut mistakes, constraints),
        };
        mistakes.or(list)
    }
}

fn plugin(mistakes: &mut Mistakes, name: &str, text: &RawValue) -> Option<AllowedPlugin> {
    let names = [
        "name",
        "type",
        "version",
        "algorithm",
        "hash",
        "file_path",
        "description",
        "metadata",
        "allowed_endpoints",
        "max_file_size",
        "added_at",
        "updated_at",
    ];
    let at = name;
    let read =
        members(text.get(), names).map_err(|_| mistakes.add(at, "is no JSON object")).ok()?;
    let [
        name,
        r#type,
        version,
        algorithm,
        hash,
        path,
        description,
        metadata,
        endpoints,
        size,
        added,
        updated,
    ] = read;
    if mistakes.value::<String>(at, "name", name) != at {
        mistakes.add(at, "`name` must be the same");
    }
    mistakes.algorithm(at, "algorithm", algorithm);
    let hash = mistakes.value::<String>(at, "hash", hash).parse();
    // With a mistake, there is no list.
    let hash = hash.unwrap_or_else(|error: Error| {
        mistakes.add(at, format!("`hash`: {}", error.what()));
        Sha256::of("")
    });
    Some(AllowedPlugin {
        r#type: mistakes.value(at, "type", r#type),
        version: mistakes.value(at, "version", version),
        hash,
        file_path: mistakes.value(at, "file_path", path),
        description: mistakes.value(at, "description", description),
        metadata: mistakes.value::<Pairs>(at, "metadata", metadata).0,
        allowed_endpoints: mistakes.value(at, "allowed_endpoints", endpoints),
        max_file_size: mistakes.value(at, "max_file_size", size),
        added_at: mistakes.time(at, "added_at", added),
        updated_at: mistakes.time(at, "updated_at", updated),
    })
}

fn global(mistakes: &mut Mistakes, text: Option<&RawValue>) -> Constraints {
    const AT: &str = "global_constraints";
    let names = ["max_file_size", "allowed_types", "forbidden_paths"];
    let Ok([size, types, paths]) = members(text.map_or("null", RawValue::get), names) else {
        mistakes.add("", format!("`{AT}` is no JSON object"));
        return Constraints::default();
    };
    Constraints {
        max_file_size: mistakes.value(AT, "max_file_size", size),
        allowed_types: mistakes.value(AT, "allowed_types", types),
        forbidden_paths: mistakes.value(AT, "forbidden_paths", paths),
    }
}

/// What is wrong with a list.
#[derive(Default)]
struct Mistakes(Vec<String>, usize);

impl Mistakes {
    fn add(&mut self, at: &str, what: impl AsRef<str>) {
        let what = what.as_ref();
        self.1 += 1;
        if self.0.len() < MAX_MISTAKES {
            let at: String = at.chars().take(64).collect();
            let at = if at.is_empty() { at } else { format!("`{}`: ", at.escape_debug()) };
            self.0.push(format!("{at}{what}"));
        }
    }

    fn value<'a, T>(&mut self, at: &str, name: &str, raw: Option<&'a RawValue>) -> T
    where
        T: serde::Deserialize<'a> + Default,
    {
        value(raw).unwrap_or_else(|_| {
            self.add(at, format!("`{name}` has another type"));
            T::default()
        })
    }

    fn time(&mut self, at: &str, name: &str, raw: Option<&RawValue>) -> Option<SystemTime> {
        let text: Option<String> = self.value(at, name, raw);
        let time = parse_rfc3339(&text?);
        if time.is_none() {
            self.add(at, format!("`{name}` is no time of RFC 3339"));
        }
        time.and_then(system_time)
    }

    fn algorithm(&mut self, at: &str, name: &str, raw: Option<&RawValue>) {
        let algorithm: String = self.value(at, name, raw);
        if !algorithm.is_empty() && !algorithm.eq_ignore_ascii_case(ALGORITHM) {
            self.add(at, format!("`{name}` must be `{ALGORITHM}`"));
        }
    }

    fn or<T>(self, list: T) -> Result<T, Error> {
        let Self(mistakes, count) = self;
        if count == 0 {
            return Ok(list);
        }
        let more = count - mistakes.len();
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        Err(unusable(format!("{}{more}", mistakes.join("; "))))
    }
}

/// The list cannot be used.
pub(super) fn unusable(problem: impl AsRef<str>) -> Error {
    Error::not_sent(Kind::InvalidConfig)
        .coded(Some(Code::SECURITY_1802))
        .message(format!("the list of allowed plugins cannot be used: {}", problem.as_ref()))
}
