use serde::{Deserialize, Serialize};

use super::policy::Policy;
use crate::error::{Error, Kind};

/// Settings of an [`AllowList`](super::AllowList).
///
/// # Bounds
/// [`validate`](Self::validate) names every value that cannot be used.
///
/// # Example
/// ```
/// use tower_upstream::allow::{AllowConfig, Policy};
///
/// let config = AllowConfig::new("/etc/plugins/allowed.json").with_policy(Policy::Strict);
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AllowConfig {
    /// Path of the file that lists the plugins: see [`AllowedPlugins`](super::AllowedPlugins).
    #[serde(alias = "whitelist_file")]
    pub file: String,
    /// What is done about a program that is not allowed. Default: what the file says, otherwise
    /// [`Policy::Strict`].
    pub policy: Option<Policy>,
    /// Most bytes of a program, unless the file says how many. Default: 100 MiB.
    pub max_file_size: u64,
    /// Types of plugins that may run; those of the file must agree. Default: none, which is all.
    pub allowed_types: Vec<String>,
    /// Programs, and directories with all beneath them, that must not run, beside those of the file.
    /// Default: none.
    pub forbidden_paths: Vec<String>,
    /// Whether the file is read again when it has changed, which is looked at before each start of a
    /// program, and each second while one is refused. Default: true.
    #[serde(alias = "watch_config")]
    pub watch: bool,
    /// What is written about decisions, and where.
    pub audit: AuditConfig,
}

/// What an [`AllowList`](super::AllowList) writes about its decisions, and where.
///
/// # Example
/// ```
/// use tower_upstream::allow::AuditConfig;
/// assert!(AuditConfig::default().log_unauthorized);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AuditConfig {
    /// Path of a file to which a line of JSON is added for each decision. Default: empty, which is none.
    #[serde(alias = "audit_file")]
    pub file: String,
    /// Whether programs that are not allowed are written. Default: true.
    pub log_unauthorized: bool,
    /// Whether programs that are allowed are written. Default: false.
    pub log_authorized: bool,
    /// Whether changes of the list and of the settings are written. Default: true.
    pub log_config_changes: bool,
    /// Whether the address, the path, the hash and what was wrong are written too. Default: false.
    pub include_metadata: bool,
    /// Most bytes of the file. Then it is renamed to end in `.1`, in place of the one before, and a new one
    /// is begun. Default: 64 MiB.
    pub max_bytes: u64,
}

impl Default for AllowConfig {
    fn default() -> Self {
        Self {
            file: String::new(),
            policy: None,
            max_file_size: 100 << 20,
            allowed_types: Vec::new(),
            forbidden_paths: Vec::new(),
            watch: true,
            audit: AuditConfig::default(),
        }
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            file: String::new(),
            log_unauthorized: true,
            log_authorized: false,
            log_config_changes: true,
            include_metadata: false,
            max_bytes: 64 << 20,
        }
    }
}

impl AuditConfig {
    /// Creates settings that write to a file.
    ///
    /// ```
    /// use tower_upstream::allow::AuditConfig;
    /// assert_eq!(AuditConfig::new("/var/log/plugins.jsonl").file, "/var/log/plugins.jsonl");
    /// ```
    pub fn new(file: impl Into<String>) -> Self {
        Self { file: file.into(), ..Self::default() }
    }

    setters! {
        with_log_unauthorized: log_unauthorized = bool;
        with_log_authorized: log_authorized = bool;
        with_log_config_changes: log_config_changes = bool;
        with_include_metadata: include_metadata = bool;
        with_max_bytes: max_bytes = u64;
    }
}

impl AllowConfig {
    /// Creates settings for a file.
    pub fn new(file: impl Into<String>) -> Self {
        Self { file: file.into(), ..Self::default() }
    }

    /// Sets [`policy`](Self::policy).
    #[must_use]
    pub const fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Sets [`max_file_size`](Self::max_file_size).
    #[must_use]
    pub const fn with_max_file_size(mut self, most: u64) -> Self {
        self.max_file_size = most;
        self
    }

    /// Sets [`allowed_types`](Self::allowed_types).
    #[must_use]
    pub fn with_allowed_types(
        mut self,
        types: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.allowed_types = types.into_iter().map(Into::into).collect();
        self
    }

    /// Sets [`forbidden_paths`](Self::forbidden_paths).
    #[must_use]
    pub fn with_forbidden_paths(
        mut self,
        paths: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.forbidden_paths = paths.into_iter().map(Into::into).collect();
        self
    }

    /// Sets [`watch`](Self::watch).
    #[must_use]
    pub const fn with_watch(mut self, watch: bool) -> Self {
        self.watch = watch;
        self
    }

    /// Sets [`audit`](Self::audit).
    #[must_use]
    pub fn with_audit(mut self, audit: AuditConfig) -> Self {
        self.audit = audit;
        self
    }

    /// Checks every value. The files are not looked at.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), which names all mistakes at once.
    pub fn validate(&self) -> Result<(), Error> {
        let mistakes: Vec<_> = [
            (self.max_file_size == 0, "`max_file_size` is zero, but must be more"),
            (self.file.contains('\0'), "`file` holds a NUL"),
            (self.audit.file.contains('\0'), "`audit.file` holds a NUL"),
            (self.audit.max_bytes == 0, "`audit.max_bytes` is zero, but must be more"),
            (
                self.forbidden_paths.iter().any(|path| !path.starts_with('/')),
                "`forbidden_paths` has one that does not begin with `/`",
            ),
        ]
        .into_iter()
        .filter_map(|(is_wrong, text)| is_wrong.then_some(text))
        .collect();
        if mistakes.is_empty() {
            return Ok(());
        }
        let message = format!("security: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(message))
    }
}
