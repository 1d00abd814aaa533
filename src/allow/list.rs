use std::{
    fmt,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
};

use serde_json::Value;
use tokio::sync::watch;

use super::{
    audit::{Context, Level},
    config::AllowConfig,
    plugins::AllowedPlugins,
    print::Stamp,
    state::{Counts, State, read},
};
use crate::{error::Error, sync::lock};

/// A list of the programs that may run as plugins, checked before each start of one.
///
/// Pass it to [`ProcessTransport::with_allow_list`](crate::transport::ProcessTransport::with_allow_list).
/// Clones share the list.
///
/// # What is checked
/// The name of the plugin: the metadata `plugin` of its [`Endpoint`](crate::Endpoint), otherwise its key.
/// Then each key of its [`AllowedPlugin`](super::AllowedPlugin), and those for all. The SHA-256 is that of the
/// file that is executed: it is opened once, hashed, and executed by its descriptor, so one that takes
/// its place at the path does not run. One that is written to meanwhile is not run, or killed before it is
/// sent a call. Links are followed: what counts is the file that they lead to, and neither path may be a
/// forbidden one. A hard link is the file itself.
///
/// A script with `#!` is checked by its own hash. What runs it is not checked, and reads it once more: keep
/// scripts where no other user can write. Arguments are not checked either, so do not allow a program such as
/// `python3`, which runs what they name.
///
/// # Decisions
/// | policy | all is well | not on the list, or something is wrong |
/// |---|---|---|
/// | [`Strict`](crate::allow::Policy::Strict) | starts | not started: calls are refused |
/// | [`Permissive`](crate::allow::Policy::Permissive) | starts | starts |
/// | [`AuditOnly`](crate::allow::Policy::AuditOnly) | starts, unchecked | starts, unchecked |
///
/// Each is logged with the target `tower_upstream::allow`, and written to the
/// [audit file](super::AuditConfig). Of metadata nothing is logged but what the list names.
///
/// # When the file changes
/// It is looked at before each start, and each second while a program is refused; it is read again if it has
/// changed. One with mistakes is logged, and the list stays as it was. Programs that run are left alone. Those
/// that were refused are checked again at once after any change.
///
/// # The audit file
/// A thread writes it, so a slow disk holds up nothing. Lines over 1,024 that wait are lost, and so are
/// those for which the disk has no room; both are counted by [`AllowStats::audit_lost`], and the first is
/// logged. Decisions stay as they are. Each line has the members that Go writes, and a `chain`: the SHA-256 of
/// the `chain` before and of the line up to it, so that a line that is missing or was changed shows.
///
/// # Example
/// ```
/// use tower_upstream::{
///     allow::{AllowList, AllowedPlugin, AllowedPlugins, Sha256},
///     transport::ProcessTransport,
/// };
///
/// let mut plugins = AllowedPlugins::default();
/// let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".parse::<Sha256>()?;
/// plugins.plugins.insert("tax".into(), AllowedPlugin::new(hash));
/// let transport =
///     ProcessTransport::<u64, u64>::new().with_allow_list(AllowList::new(plugins));
/// # let _ = transport;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct AllowList(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    counts: Counts,
    /// How often the state has changed.
    version: watch::Sender<u64>,
}

/// Counts of an [`AllowList`].
///
/// # Example
/// ```
/// use tower_upstream::allow::{AllowList, AllowStats, AllowedPlugins};
/// assert_eq!(AllowList::new(AllowedPlugins::default()).stats(), AllowStats::default());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AllowStats {
    /// Programs that were to be started.
    pub attempts: u64,
    /// Those with which nothing was wrong.
    pub authorized: u64,
    /// Those with which something was, also where the policy let them start.
    pub rejected: u64,
    /// Those among them with another hash.
    pub hash_mismatches: u64,
    /// How often the file was read again.
    pub reloads: u64,
    /// How often it could not be.
    pub failed_reloads: u64,
    /// Lines that are missing in the audit file.
    pub audit_lost: u64,
}

impl AllowList {
    /// Creates a list of its own, with the default settings.
    pub fn new(plugins: AllowedPlugins) -> Self {
        let config = Arc::new(AllowConfig::default());
        let plugins = Some(Arc::new(plugins));
        Self::of(State { config, plugins, audit: None, stamp: None }, Counts::default())
    }

    /// Creates a list from a file, which is read at once.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), which names all mistakes at once: of the
    /// settings; of the file, with the code `SECURITY_1802`, or `SECURITY_1805` if it cannot be read; with
    /// `SECURITY_1806` if the audit file cannot be opened.
    ///
    /// ```
    /// use tower_upstream::allow::{AllowConfig, AllowList};
    /// let error = AllowList::from_file(AllowConfig::new("/nowhere")).unwrap_err();
    /// assert_eq!(error.code().as_str(), "SECURITY_1805");
    /// ```
    pub fn from_file(config: AllowConfig) -> Result<Self, Error> {
        let counts = Counts::default();
        let state = State::load(config, None, &counts)?;
        Ok(Self::of(state, counts))
    }

    fn of(state: State, counts: Counts) -> Self {
        let version = watch::Sender::new(0);
        Self(Arc::new(Shared { state: Mutex::new(state), counts, version }))
    }

    /// Returns the settings in use.
    ///
    /// ```
    /// use tower_upstream::allow::{AllowConfig, AllowList, AllowedPlugins};
    /// let list = AllowList::new(AllowedPlugins::default());
    /// assert_eq!(list.config(), AllowConfig::default());
    /// ```
    pub fn config(&self) -> AllowConfig {
        AllowConfig::clone(&self.state().config)
    }

    /// Returns the plugins that are allowed now.
    ///
    /// ```
    /// use tower_upstream::allow::{AllowList, AllowedPlugins};
    /// assert!(AllowList::new(AllowedPlugins::default()).plugins().plugins.is_empty());
    /// ```
    pub fn plugins(&self) -> Arc<AllowedPlugins> {
        self.state().plugins.unwrap_or_default()
    }

    /// Replaces the settings, for all clones, and reads the file. Programs that run are left alone.
    ///
    /// Without a file in the settings, the plugins stay as they are. Reads files, and so blocks shortly.
    ///
    /// # Errors
    /// Those of [`from_file`](Self::from_file). All then stays as it was.
    ///
    /// ```
    /// use tower_upstream::allow::{AllowList, AllowedPlugins, Policy};
    /// let list = AllowList::new(AllowedPlugins::default());
    /// list.update(list.config().with_policy(Policy::Permissive))?;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn update(&self, config: AllowConfig) -> Result<(), Error> {
        let before = self.state();
        let state = State::load(config, Some(&before), &self.0.counts)?;
        *lock(&self.0.state) = state.clone();
        self.tell_change();
        tracing::info!(target: "tower_upstream::allow", "the settings of the allow-list have changed");
        state.note_change(Level::Info, "config_updated", Context::new());
        Ok(())
    }

    /// Replaces the plugins, for all clones, until the file changes if there is one.
    ///
    /// ```
    /// use tower_upstream::allow::{AllowList, AllowedPlugins};
    /// AllowList::new(AllowedPlugins::default()).replace(AllowedPlugins::default());
    /// ```
    pub fn replace(&self, plugins: AllowedPlugins) {
        lock(&self.0.state).plugins = Some(Arc::new(plugins));
        self.tell_change();
        self.state().note_change(Level::Info, "config_updated", Context::new());
    }

    /// Reads the file again, also if it has not changed. Blocks shortly.
    ///
    /// # Errors
    /// Those of [`from_file`](Self::from_file). The list then stays as it was.
    ///
    /// ```
    /// use tower_upstream::allow::{AllowList, AllowedPlugins};
    /// AllowList::new(AllowedPlugins::default()).reload()?; // without a file: nothing
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn reload(&self) -> Result<(), Error> {
        let config = self.state().config;
        if config.file.is_empty() {
            return Ok(());
        }
        let read = read(&config.file);
        let mut state = lock(&self.0.state);
        // Other settings came meanwhile, with a list of their own.
        if !Arc::ptr_eq(&state.config, &config) {
            return Ok(());
        }
        let error = match read {
            Ok((plugins, stamp)) => {
                (state.plugins, state.stamp) = (Some(plugins), Some(stamp));
                None
            }
            // It is not tried again until it changes.
            Err((error, stamp)) => {
                state.stamp = stamp;
                Some(error)
            }
        };
        let state = state.clone();
        match error {
            None => {
                self.tell_change();
                self.0.counts.reloads.fetch_add(1, Relaxed);
                state.tell_read();
                Ok(())
            }
            Some(error) => {
                self.0.counts.failed_reloads.fetch_add(1, Relaxed);
                tracing::error!(
                    target: "tower_upstream::allow", %error,
                    "the list of allowed plugins stays as it was"
                );
                let context = Context::from([("error", Value::from(error.to_string()))]);
                state.note_change(Level::Critical, "whitelist_reload_failed", context);
                Err(error)
            }
        }
    }

    /// Returns what happened so far.
    pub fn stats(&self) -> AllowStats {
        let counts = &self.0.counts;
        AllowStats {
            attempts: counts.attempts.load(Relaxed),
            authorized: counts.authorized.load(Relaxed),
            rejected: counts.rejected.load(Relaxed),
            hash_mismatches: counts.hash_mismatches.load(Relaxed),
            reloads: counts.reloads.load(Relaxed),
            failed_reloads: counts.failed_reloads.load(Relaxed),
            audit_lost: counts.audit_lost.load(Relaxed),
        }
    }

    /// What holds now, with a file that was read again if it has changed. Reads files.
    pub(super) fn fresh(&self) -> State {
        let state = self.state();
        if state.config.watch && !state.config.file.is_empty() {
            let found = std::fs::metadata(&state.config.file).ok();
            if found.map(|found| Stamp::of(&found)) != state.stamp {
                // It was told.
                let _ = self.reload();
            }
        }
        self.state()
    }

    fn state(&self) -> State {
        lock(&self.0.state).clone()
    }

    fn tell_change(&self) {
        self.0.version.send_modify(|version| *version += 1);
    }

    pub(super) fn version(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.0.counts
    }
}

impl fmt::Debug for AllowList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("AllowList")
            .field("policy", &state.policy())
            .field("plugins", &state.plugins.map(|list| list.plugins.len()))
            .field("config", &state.config)
            .field("stats", &self.stats())
            .finish()
    }
}
