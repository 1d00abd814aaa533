//! A list of the programs that may run as plugins.
//!
//! # When to use
//! Where a program starts others as plugins, and what is on the disk, or what discovery reports, may be changed
//! by others. An [`AllowList`] names the plugins that may run, and the SHA-256 of each. It is checked on
//! the very file that is executed, before it starts. The file of the list, and the lines of the audit file, are
//! those of the Go plugin manager.
//!
//! | | |
//! |---|---|
//! | [`AllowList`] | the list, checked by a [`ProcessTransport`](crate::transport::ProcessTransport) |
//! | [`AllowConfig`], [`AuditConfig`] | its settings |
//! | [`AllowedPlugins`] | what its file holds |
//! | [`Policy`] | what is done about a program that is not allowed |
//!
//! # Example
//! ```no_run
//! use tower_upstream::{
//!     allow::{AllowConfig, AllowList},
//!     transport::ProcessTransport,
//! };
//!
//! let allowed = AllowList::from_file(AllowConfig::new("/etc/plugins/allowed.json"))?;
//! let transport = ProcessTransport::<u64, u64>::new().with_allow_list(allowed.clone());
//! // The file is read again when it changes. Settings change by the list itself:
//! allowed.update(allowed.config().with_max_file_size(10 << 20))?;
//! # let _ = transport;
//! # Ok::<(), tower_upstream::Error>(())
//! ```
//!
//! ```text
//!   check: Strict, Permissive, AuditOnly ──► rule: what is wrong ──► event, audit line, refusal
//!     ▲                                        ▲
//!   list ─► state: settings and file ──────────┘ plugins
//! ```

mod audit;
mod change;
mod check;
mod config;
mod digest;
mod list;
mod mismatch;
mod plugins;
mod policy;
mod print;
mod read;
mod rule;
mod state;
mod write;

pub(crate) use self::{
    change::Changes, check::Checked, print::Print, rule::Candidate, state::open,
};
pub use self::{
    config::{AllowConfig, AuditConfig},
    digest::Sha256,
    list::{AllowList, AllowStats},
    mismatch::HashMismatch,
    plugins::{AllowedPlugin, AllowedPlugins, Constraints},
    policy::Policy,
};
