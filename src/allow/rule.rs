//! Whether a program may run: what is known of it in, what is wrong with it out.

use std::path::Path;

use super::{
    config::AllowConfig,
    mismatch::HashMismatch,
    plugins::{AllowedPlugin, AllowedPlugins},
};

/// A program that is about to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) plugin: &'a str,
    /// What it is for, if that is known, beside [`TYPES`].
    pub(crate) purpose: Option<&'a str>,
    pub(crate) version: Option<&'a str>,
    pub(crate) address: &'a str,
    pub(crate) path: &'a str,
    /// Where it is, after all links.
    pub(crate) real_path: Option<&'a Path>,
    pub(crate) size: u64,
}

/// Names for the type of all programs that run as plugins.
const TYPES: [&str; 3] = ["exec", "subprocess", "process"];

/// What is wrong with a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    /// As Go calls it.
    pub(super) kind: &'static str,
    pub(super) expected: String,
    pub(super) actual: String,
}

impl Violation {
    pub(super) fn new(
        kind: &'static str,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> Self {
        Self { kind, expected: expected.into(), actual: actual.into() }
    }
}

pub(super) const TOO_LARGE: &str = "file_size_exceeded";

/// All that can be told without reading it. `Err` if it is not on the list, so that there is no more to
/// be told.
pub(super) fn look<'a>(
    list: &'a AllowedPlugins,
    config: &AllowConfig,
    program: &Candidate<'_>,
) -> Result<(&'a AllowedPlugin, Vec<Violation>), Violation> {
    let Some(entry) = list.plugins.get(program.plugin) else {
        return Err(Violation::new("plugin_not_whitelisted", "", program.plugin));
    };
    let is_type = |of: &str| TYPES.contains(&of) || program.purpose == Some(of);
    let types = || program.purpose.unwrap_or(TYPES[0]);
    let mut found = Vec::new();
    if !entry.r#type.is_empty() && !is_type(&entry.r#type) {
        found.push(Violation::new("type_mismatch", &entry.r#type, types()));
    }
    for allowed in [&list.global_constraints.allowed_types, &config.allowed_types] {
        if !allowed.is_empty() && !allowed.iter().any(|of| is_type(of)) {
            found.push(Violation::new("type_not_allowed", allowed.join(", "), types()));
        }
    }
    if let Some(version) = program.version {
        if !entry.version.is_empty() && entry.version != version {
            found.push(Violation::new("version_mismatch", &entry.version, version));
        }
    }
    if !entry.file_path.is_empty() && entry.file_path != program.path {
        found.push(Violation::new("path_mismatch", &entry.file_path, program.path));
    }
    let endpoints = &entry.allowed_endpoints;
    let is_endpoint = |of: &String| of == program.path || of == program.address;
    if !endpoints.is_empty() && !endpoints.iter().any(is_endpoint) {
        found.push(Violation::new("endpoint_not_allowed", endpoints.join(", "), program.path));
    }
    let forbidden = list.global_constraints.forbidden_paths.iter().chain(&config.forbidden_paths);
    for forbidden in forbidden {
        let is_in = |path: &Path| path.starts_with(forbidden);
        if is_in(Path::new(program.path)) || program.real_path.is_some_and(is_in) {
            found.push(Violation::new("path_forbidden", "", forbidden));
        }
    }
    let most = max_size(entry, list, config);
    if program.size > most {
        found.push(Violation::new(TOO_LARGE, most.to_string(), program.size.to_string()));
    }
    Ok((entry, found))
}

/// How many bytes a program may have: what is said of it, of all, or by the settings.
pub(super) fn max_size(entry: &AllowedPlugin, list: &AllowedPlugins, config: &AllowConfig) -> u64 {
    let said = [entry.max_file_size, list.global_constraints.max_file_size];
    said.into_iter().find(|size| *size > 0).unwrap_or(config.max_file_size)
}

impl From<HashMismatch> for Violation {
    fn from(HashMismatch { expected, actual }: HashMismatch) -> Self {
        Self::new("hash_mismatch", expected.to_string(), actual.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allow::Sha256;

    /// What is wrong with a program in `/opt/tax` once `change` was done.
    fn kinds(change: impl FnOnce(&mut AllowedPlugins, &mut AllowConfig)) -> Vec<&'static str> {
        let mut list = AllowedPlugins::default();
        list.plugins.insert("tax".to_owned(), AllowedPlugin::new(Sha256::of("a")));
        let mut config = AllowConfig::default();
        change(&mut list, &mut config);
        let program = Candidate {
            plugin: "tax",
            purpose: Some("payment"),
            version: Some("2.0.0"),
            address: "exec:/opt/tax/bin",
            path: "/opt/tax/bin",
            real_path: Some(Path::new("/mnt/tax/bin")),
            size: 100,
        };
        match look(&list, &config, &program) {
            Ok((_, found)) => found.iter().map(|of| of.kind).collect(),
            Err(violation) => vec![violation.kind],
        }
    }

    fn entry(change: impl FnOnce(&mut AllowedPlugin)) -> Vec<&'static str> {
        kinds(|list, _| change(list.plugins.get_mut("tax").unwrap()))
    }

    #[test]
    fn each_key_of_a_plugin_has_an_effect() {
        assert_eq!(kinds(|list, _| list.plugins.clear()), ["plugin_not_whitelisted"]);
        for of in ["", "exec", "subprocess", "process", "payment"] {
            assert!(entry(|entry| entry.r#type = of.to_owned()).is_empty(), "{of}");
        }
        assert_eq!(entry(|entry| entry.r#type = "http".to_owned()), ["type_mismatch"]);
        assert_eq!(entry(|entry| entry.version = "1.0.0".to_owned()), ["version_mismatch"]);
        assert!(entry(|entry| entry.version = "2.0.0".to_owned()).is_empty());
        assert_eq!(entry(|entry| entry.file_path = "/opt/tax".to_owned()), ["path_mismatch"]);
        assert!(entry(|entry| entry.file_path = "/opt/tax/bin".to_owned()).is_empty());
        for at in ["/opt/tax/bin", "exec:/opt/tax/bin"] {
            assert!(entry(|entry| entry.allowed_endpoints = vec![at.to_owned()]).is_empty());
        }
        let elsewhere = vec!["/opt/tax".to_owned()];
        assert_eq!(entry(|entry| entry.allowed_endpoints = elsewhere), ["endpoint_not_allowed"]);
        assert_eq!(entry(|entry| entry.max_file_size = 99), [TOO_LARGE]);
        assert!(entry(|entry| entry.max_file_size = 100).is_empty());
    }

    #[test]
    fn each_key_for_all_plugins_has_an_effect() {
        for path in ["/opt", "/opt/tax/bin", "/mnt/tax"] {
            let forbidden = vec![path.to_owned()];
            let of_file = |list: &mut AllowedPlugins, _: &mut AllowConfig| {
                list.global_constraints.forbidden_paths.clone_from(&forbidden);
            };
            assert_eq!(kinds(of_file), ["path_forbidden"]);
            let of_config = |_: &mut AllowedPlugins, config: &mut AllowConfig| {
                config.forbidden_paths.clone_from(&forbidden);
            };
            assert_eq!(kinds(of_config), ["path_forbidden"]);
        }
        assert!(kinds(|_, config| config.forbidden_paths = vec!["/opt/ta".to_owned()]).is_empty());
        let types = |name: &str| vec!["http".to_owned(), name.to_owned()];
        assert_eq!(kinds(|_, config| config.allowed_types = types("grpc")), ["type_not_allowed"]);
        assert!(kinds(|_, config| config.allowed_types = types("exec")).is_empty());
        let of_file =
            |list: &mut AllowedPlugins| list.global_constraints.allowed_types = types("grpc");
        assert_eq!(kinds(|list, _| of_file(list)), ["type_not_allowed"]);
        assert_eq!(kinds(|_, config| config.max_file_size = 99), [TOO_LARGE]);
        // Who is closer to it says.
        let sizes = |list: &mut AllowedPlugins, config: &mut AllowConfig| {
            list.global_constraints.max_file_size = 100;
            config.max_file_size = 99;
        };
        assert!(kinds(sizes).is_empty());
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let found = entry(|entry| {
            entry.r#type = "http".to_owned();
            entry.max_file_size = 1;
        });
        assert_eq!(found, ["type_mismatch", TOO_LARGE]);
    }
}
