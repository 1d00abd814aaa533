//! The check of a program that is about to run, of which each outcome is told.

use std::{fs::File, io, sync::atomic::Ordering::Relaxed, time::Duration};

use serde_json::Value;

use super::{
    audit::{Context, Level},
    digest::Sha256,
    list::AllowList,
    mismatch::HashMismatch,
    plugins::AllowedPlugin,
    policy::Policy,
    print::Stamp,
    rule::{Candidate, TOO_LARGE, Violation, look, max_size},
    state::State,
};
use crate::error::{Code, Error, Kind};

/// Longest time in which a program is hashed.
const MAX_HASHING: Duration = Duration::from_secs(30);
const UNREADABLE: &str = "file_not_readable";
const NO_HASH: &str = "hash_failed";
const CHANGED: &str = "file_changed";

/// A program that may run, as it was when it was hashed.
#[derive(Debug)]
pub(crate) struct Checked(Option<(File, Stamp)>);

impl Checked {
    /// Whether the file has not been written to since. It must have been started by then.
    pub(crate) fn confirm(&self) -> Result<(), Error> {
        let Self(Some((file, stamp))) = self else { return Ok(()) };
        if file.metadata().is_ok_and(|found| Stamp::of(&found) == *stamp) {
            return Ok(());
        }
        Err(refusal(Code::SECURITY_1801, "the program was written to while it was started"))
    }
}

fn refusal(code: Code, message: impl Into<Box<str>>) -> Error {
    Error::refused(Kind::InvalidConfig).coded(Some(code)).message(message)
}

impl AllowList {
    /// Checks a program, which `open` opens to be read. Reads all of it, and so blocks.
    ///
    /// An error is a refusal of ours: nothing was sent, and it is no evidence against the endpoint.
    pub(crate) fn check(
        &self,
        program: &Candidate<'_>,
        open: impl FnOnce() -> io::Result<File>,
    ) -> Result<Checked, Error> {
        let state = self.fresh();
        let counts = self.counts();
        counts.attempts.fetch_add(1, Relaxed);
        let policy = state.policy();
        let (violations, measured) = match policy {
            Policy::AuditOnly => (Vec::new(), None),
            Policy::Strict | Policy::Permissive => judge(&state, program, open),
        };
        let is_authorized = violations.is_empty();
        let mismatch = measured.as_ref().and_then(Measured::mismatch);
        if mismatch.is_some() {
            counts.hash_mismatches.fetch_add(1, Relaxed);
        }
        let count = if is_authorized { &counts.authorized } else { &counts.rejected };
        count.fetch_add(1, Relaxed);
        let hash = measured.as_ref().map(|measured| measured.hash);
        tell(&state, program, &violations, hash);
        match violations.first() {
            Some(first) if policy == Policy::Strict => {
                let code = match (mismatch, first.kind) {
                    (Some(_), _) => Code::RPC_2004,
                    (None, NO_HASH) => Code::SECURITY_1803,
                    (None, UNREADABLE) => Code::SECURITY_1805,
                    (None, _) => Code::SECURITY_1801,
                };
                let error = refusal(code, words(program, &violations));
                Err(mismatch.map_or(error.clone(), |mismatch| error.caused_by(mismatch)))
            }
            _ if policy == Policy::Strict => {
                Ok(Checked(measured.map(|measured| (measured.file, measured.stamp))))
            }
            _ => Ok(Checked(None)),
        }
    }
}

/// A program that was read.
struct Measured {
    file: File,
    stamp: Stamp,
    hash: Sha256,
    expected: Sha256,
}

impl Measured {
    fn mismatch(&self) -> Option<HashMismatch> {
        let Self { expected, hash: actual, .. } = *self;
        (expected != actual).then_some(HashMismatch { expected, actual })
    }
}

fn judge(
    state: &State,
    program: &Candidate<'_>,
    open: impl FnOnce() -> io::Result<File>,
) -> (Vec<Violation>, Option<Measured>) {
    let Some(plugins) = &state.plugins else {
        return (vec![Violation::new("whitelist_not_loaded", "", "")], None);
    };
    let (entry, mut found) = match look(plugins, &state.config, program) {
        Ok(found) => found,
        Err(violation) => return (vec![violation], None),
    };
    // It is not worth the time of reading it.
    if found.iter().any(|violation| violation.kind == TOO_LARGE) {
        return (found, None);
    }
    let most = max_size(entry, plugins, &state.config);
    match measure(entry, most, open) {
        Ok(measured) => {
            found.extend(measured.mismatch().map(Violation::from));
            (found, Some(measured))
        }
        Err(violation) => {
            found.push(violation);
            (found, None)
        }
    }
}

fn measure(
    entry: &AllowedPlugin,
    most: u64,
    open: impl FnOnce() -> io::Result<File>,
) -> Result<Measured, Violation> {
    let failed = |kind| move |error: io::Error| Violation::new(kind, "", error.to_string());
    let file = open().map_err(failed(UNREADABLE))?;
    let stamp = |file: &File| file.metadata().map(|found| Stamp::of(&found));
    let before = stamp(&file).map_err(failed(NO_HASH))?;
    let hash = Sha256::of_reader(&file, most, MAX_HASHING).map_err(failed(NO_HASH))?;
    if stamp(&file).map_err(failed(NO_HASH))? != before {
        return Err(Violation::new(CHANGED, "", "it was written to while it was hashed"));
    }
    Ok(Measured { file, stamp: before, hash, expected: entry.hash })
}

/// What is wrong, in words.
fn words(program: &Candidate<'_>, violations: &[Violation]) -> String {
    let said = |text: &str| text.chars().take(200).collect::<String>().escape_debug().to_string();
    let all = violations.iter().map(|Violation { kind, expected, actual }| {
        match (said(expected), said(actual)) {
            (expected, actual) if expected.is_empty() && actual.is_empty() => (*kind).to_owned(),
            (expected, actual) if expected.is_empty() => format!("{kind} ({actual})"),
            (expected, actual) => format!("{kind} (expected: {expected}, actual: {actual})"),
        }
    });
    let all: Vec<_> = all.collect();
    format!("the allow-list refuses the plugin `{}`: {}", said(program.plugin), all.join("; "))
}

fn tell(state: &State, program: &Candidate<'_>, violations: &[Violation], hash: Option<Sha256>) {
    let (is_authorized, policy) = (violations.is_empty(), state.policy().as_str());
    let path = program.path.escape_debug().to_string();
    let hash = hash.map(|hash| hash.to_string());
    let plugin = program.plugin.escape_debug().to_string();
    if is_authorized {
        tracing::info!(
            target: "tower_upstream::allow", plugin, policy, path, hash, "the allow-list lets a plugin start"
        );
    } else {
        let problem = words(program, violations);
        tracing::warn!(target: "tower_upstream::allow", plugin, policy, path, hash, "{problem}");
    }
    let audit = &state.config.audit;
    let (level, event, is_wanted) = if is_authorized {
        (Level::Info, "plugin_authorized", audit.log_authorized)
    } else {
        (Level::Security, "plugin_rejected", audit.log_unauthorized)
    };
    if !is_wanted {
        return;
    }
    let mut context = Context::from([
        // As in Go: whether it may run.
        ("authorized", Value::from(is_authorized || policy != Policy::Strict.as_str())),
        ("plugin_name", program.plugin.into()),
        ("plugin_type", program.purpose.unwrap_or("exec").into()),
        ("policy", policy.into()),
        ("violations", violations.len().into()),
    ]);
    if audit.include_metadata {
        let kinds: Vec<_> = violations.iter().map(|violation| violation.kind).collect();
        context.insert("endpoint", program.address.into());
        context.insert("file_path", program.path.into());
        context.insert("hash", hash.into());
        context.insert("reasons", kinds.into());
    }
    state.note(level, event, context);
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::allow::{AllowedPlugins, state};

    #[test]
    fn a_program_that_is_written_to_after_it_was_hashed_is_not_confirmed() {
        let path = std::env::temp_dir().join(format!("tu-check-{}", std::process::id()));
        std::fs::write(&path, "abc").unwrap();
        let mut plugins = AllowedPlugins::default();
        plugins.plugins.insert("tax".to_owned(), AllowedPlugin::new(Sha256::of("abc")));
        let program = Candidate {
            plugin: "tax",
            purpose: None,
            version: None,
            address: "exec:/opt/tax",
            path: "/opt/tax",
            real_path: None,
            size: 3,
        };
        let list = AllowList::new(plugins);
        let checked = list.check(&program, || state::open(&path)).unwrap();
        assert!(checked.confirm().is_ok());
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"d").unwrap();
        let error = checked.confirm().unwrap_err();
        assert_eq!((error.code(), error.is_refused()), (Code::SECURITY_1801, true));
        let missing = || state::open(&path.with_extension("missing"));
        assert_eq!(list.check(&program, missing).unwrap_err().code(), Code::SECURITY_1805);
        let folder = || state::open(&std::env::temp_dir());
        assert_eq!(list.check(&program, folder).unwrap_err().code(), Code::SECURITY_1803);
        std::fs::remove_file(path).unwrap();
    }
}
