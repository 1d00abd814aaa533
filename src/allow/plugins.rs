use std::{collections::BTreeMap, time::SystemTime};

use serde::Serialize;

use super::{digest::Sha256, policy::Policy};

/// The algorithm of all hashes.
pub(super) const ALGORITHM: &str = "sha256";

/// The programs that may run as plugins: what the file of an [`AllowList`](super::AllowList) holds.
///
/// The file is JSON, byte for byte as the Go plugin manager writes it, and is read as leniently as there.
///
/// # Bounds
/// A file has at most 4 MiB and 10,000 plugins.
///
/// # Example
/// ```
/// use tower_upstream::allow::{AllowedPlugin, AllowedPlugins, Sha256};
///
/// let mut list = AllowedPlugins::default();
/// let tax = AllowedPlugin::new(Sha256::of("the bytes of the program"));
/// list.plugins.insert("tax".into(), tax);
/// assert_eq!(AllowedPlugins::parse(&list.to_json())?, list);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AllowedPlugins {
    /// Version of the list, which the log shows when it is read.
    pub version: String,
    /// When it was changed, which the log shows likewise.
    pub updated_at: Option<SystemTime>,
    /// Text for people.
    pub description: String,
    /// What is done where the settings do not say. Default: [`Policy::Strict`].
    pub default_policy: Option<Policy>,
    /// The plugins, by name.
    pub plugins: BTreeMap<String, AllowedPlugin>,
    /// What holds for all of them.
    pub global_constraints: Constraints,
}

/// What holds for all programs of [`AllowedPlugins`].
///
/// # Example
/// ```
/// use tower_upstream::allow::Constraints;
/// assert!(Constraints::default().forbidden_paths.is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Constraints {
    /// Most bytes of a program. Default: 0, which is what the settings say.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_file_size: u64,
    /// Types of plugins that may run. Default: none, which is all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_types: Vec<String>,
    /// Programs, and directories with all beneath them, that must not run. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forbidden_paths: Vec<String>,
}

/// A program that may run as a plugin.
///
/// # Example
/// ```
/// use tower_upstream::allow::{AllowedPlugin, Sha256};
///
/// let mut plugin = AllowedPlugin::new(Sha256::of("the bytes of the program"));
/// plugin.allowed_endpoints = vec!["/opt/plugins/tax".into()];
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AllowedPlugin {
    /// Type of the plugin: `exec`, `subprocess`, `process`, or the metadata `type` of its endpoint.
    /// Default: empty, which is any.
    pub r#type: String,
    /// Its version, if its endpoint has metadata `version`. Default: empty, which is any.
    pub version: String,
    /// Hash of the program.
    pub hash: Sha256,
    /// The one path at which it may be. Default: empty, which is any.
    pub file_path: String,
    /// Text for people.
    pub description: String,
    /// More of that.
    pub metadata: BTreeMap<String, String>,
    /// Endpoints at which it may be, as addresses or as paths. Default: none, which is any.
    pub allowed_endpoints: Vec<String>,
    /// Most bytes of the program. Default: 0, which is what holds for all.
    pub max_file_size: u64,
    /// When it was added.
    pub added_at: Option<SystemTime>,
    /// When it was changed.
    pub updated_at: Option<SystemTime>,
}

impl AllowedPlugin {
    /// Creates an entry that allows a program with this hash, wherever it is.
    pub fn new(hash: Sha256) -> Self {
        Self {
            r#type: String::new(),
            version: String::new(),
            hash,
            file_path: String::new(),
            description: String::new(),
            metadata: BTreeMap::new(),
            allowed_endpoints: Vec::new(),
            max_file_size: 0,
            added_at: None,
            updated_at: None,
        }
    }
}

pub(super) fn is_zero(number: &u64) -> bool {
    *number == 0
}
