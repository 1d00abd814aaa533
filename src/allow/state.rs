//! What an allow-list goes by, and the file that it comes from.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::{Arc, atomic::AtomicU64},
};

use rustix::fs::{Mode, OFlags};
use serde_json::Value;

use super::{
    audit::{Audit, Context, Level},
    config::AllowConfig,
    plugins::AllowedPlugins,
    policy::Policy,
    print::Stamp,
    read::{MAX_BYTES, unusable},
};
use crate::error::{Code, Error, Kind};

/// What holds now.
#[derive(Clone)]
pub(super) struct State {
    pub(super) config: Arc<AllowConfig>,
    pub(super) plugins: Option<Arc<AllowedPlugins>>,
    pub(super) audit: Option<Audit>,
    /// Of the file when it was last looked at; `None` if there was none.
    pub(super) stamp: Option<Stamp>,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) attempts: AtomicU64,
    pub(super) authorized: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) hash_mismatches: AtomicU64,
    pub(super) reloads: AtomicU64,
    pub(super) failed_reloads: AtomicU64,
    pub(super) audit_lost: Arc<AtomicU64>,
}

impl State {
    pub(super) fn load(
        config: AllowConfig,
        before: Option<&Self>,
        counts: &Counts,
    ) -> Result<Self, Error> {
        config.validate()?;
        let (plugins, stamp) = if config.file.is_empty() {
            (before.and_then(|before| before.plugins.clone()), None)
        } else {
            let (plugins, stamp) = read(&config.file).map_err(|(error, _)| error)?;
            (Some(plugins), Some(stamp))
        };
        let known = before.filter(|before| before.config.audit == config.audit);
        let audit = match known {
            Some(known) => known.audit.clone(),
            None if config.audit.file.is_empty() => None,
            None => Some(Audit::open(&config.audit, counts.audit_lost.clone())?),
        };
        let state = Self { config: Arc::new(config), plugins, audit, stamp };
        if state.stamp.is_some() {
            state.tell_read();
        }
        Ok(state)
    }

    pub(super) fn policy(&self) -> Policy {
        let of_file = || self.plugins.as_ref().and_then(|plugins| plugins.default_policy);
        self.config.policy.or_else(of_file).unwrap_or_default()
    }

    pub(super) fn tell_read(&self) {
        let Some(plugins) = &self.plugins else { return };
        let count = plugins.plugins.len();
        let version = plugins.version.escape_debug().to_string();
        tracing::info!(
            target: "tower_upstream::allow", version, updated_at = ?plugins.updated_at, plugins = count,
            "read the list of allowed plugins"
        );
        let context = [("plugins", Value::from(count)), ("version", version.into())];
        self.note_change(Level::Info, "whitelist_reloaded", context.into());
    }

    pub(super) fn note_change(&self, level: Level, event: &'static str, context: Context) {
        if self.config.audit.log_config_changes {
            self.note(level, event, context);
        }
    }

    pub(super) fn note(&self, level: Level, event: &'static str, context: Context) {
        if let Some(audit) = &self.audit {
            audit.note(level, event, context);
        }
    }
}

/// Reads a file, and tells which it was; that also if it is of no use.
pub(super) fn read(path: &str) -> Result<(Arc<AllowedPlugins>, Stamp), (Error, Option<Stamp>)> {
    let mut stamp = None;
    let result = read_text(path, &mut stamp);
    let list = result.and_then(|text| AllowedPlugins::parse(&text));
    match (list, stamp) {
        (Ok(list), Some(stamp)) => Ok((Arc::new(list), stamp)),
        (Err(error), stamp) => Err((error, stamp)),
        (Ok(_), None) => Err((unusable("it is no file"), None)),
    }
}

fn read_text(path: &str, stamp: &mut Option<Stamp>) -> Result<String, Error> {
    let cannot = |error: io::Error| {
        Error::not_sent(Kind::InvalidConfig)
            .coded(Some(Code::SECURITY_1805))
            .message(format!("cannot read the list of allowed plugins `{}`", path.escape_debug()))
            .caused_by(error)
    };
    let file = open(Path::new(path)).map_err(cannot)?;
    let found = file.metadata().map_err(cannot)?;
    *stamp = Some(Stamp::of(&found));
    if !found.is_file() {
        return Err(unusable("it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    String::from_utf8(bytes).map_err(|_| unusable("it is no UTF-8"))
}

/// Opens a file to read it, without waiting for what is none.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}
