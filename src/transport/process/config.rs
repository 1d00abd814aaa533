use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::output::OutputConfig;
use crate::{
    auth::Secret,
    backoff::{Backoff, Jitter},
    error::{Error, Kind},
    plugin::Handshake,
    time, wire,
};

/// Settings of a [`ProcessTransport`](super::ProcessTransport).
///
/// In a file, durations are text such as `"1m30s"`, or nanoseconds.
///
/// # Bounds
/// [`validate`](Self::validate) names every value that is out of range. A transport clamps it: a duration
/// or size of zero becomes the default, and a duration is at most thirty years.
///
/// # Example
/// ```
/// use tower_upstream::transport::ProcessConfig;
///
/// let config = ProcessConfig::default()
///     .with_args(["--rates", "/etc/rates.json"])
///     .with_env("LANG", "C.UTF-8")
///     .with_inherit_env(["PATH"]);
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ProcessConfig {
    /// Longest time of one call, with the time for which it waits for the plugin.
    ///
    /// The deadline of a call may end it earlier. The plugin is told the shorter of both. Default: 30 s.
    #[serde(with = "crate::duration::serde")]
    pub request_timeout: Duration,
    /// Arguments of the program, each as it is: there is no shell. Default: none.
    pub args: Vec<String>,
    /// Variables of its environment. Default: none.
    #[serde(skip_serializing)]
    pub env: BTreeMap<String, Secret>,
    /// Names of variables of this process's environment that the program gets too; `*` is all of them.
    ///
    /// Those of `env` and of the `handshake` come first. Default: none.
    pub inherit_env: Vec<String>,
    /// Directory in which the program runs. Default: empty, which is that of this process.
    pub work_dir: String,
    /// Variables that tell the program that it is a plugin. `handshake_config` in Go.
    #[serde(alias = "handshake_config")]
    pub handshake: Handshake,
    /// Whether several calls are sent at once. Default: if the plugin announces it.
    pub multiplex: Multiplex,
    /// Most calls at once, with those that wait for the plugin.
    ///
    /// At the limit the service is not ready, so a balancer takes another member. Default: 1,024.
    pub max_calls: usize,
    /// Most bytes of an answer. More is an error, and is skipped up to the end of the line. Default: 16 MiB.
    pub max_line_bytes: usize,
    /// How what the plugin says beside its answers is logged. `stream_sync` in Go.
    #[serde(alias = "stream_sync", alias = "stream_sync_config")]
    pub output: OutputConfig,
    /// Longest time that a plugin which takes one call at a time may work on one that was given up.
    ///
    /// Then its process is ended and started again. Until then no other call is sent. Default: 30 s.
    #[serde(with = "crate::duration::serde")]
    pub hang_timeout: Duration,
    /// Time that the plugin has to end after the end of its stdin, and again after SIGTERM. Then it is
    /// killed. Default: 5 s.
    #[serde(with = "crate::duration::serde")]
    pub stop_grace: Duration,
    /// Wait before the program is started again. It doubles up to `max_restart_delay`.
    ///
    /// One that had lived for 10 s, or had answered all calls that it had read, or is the first that ends
    /// early, is started again at once.
    /// Default: 100 ms.
    #[serde(with = "crate::duration::serde")]
    pub restart_delay: Duration,
    /// Longest such wait. Default: 30 s.
    #[serde(with = "crate::duration::serde")]
    pub max_restart_delay: Duration,
    /// Most bytes of memory that the process may map. Default: 0, which is no limit.
    pub max_memory_bytes: u64,
    /// Most files that the process may have open at once. Default: 0, which is the limit of this process.
    pub max_open_files: u64,
    /// Most seconds of processor time of the process, which is killed then. Default: 0, which is no limit.
    pub max_cpu_seconds: u64,
}

/// Whether several calls are sent to a plugin at once.
///
/// ```
/// use tower_upstream::transport::{Multiplex, ProcessConfig};
/// assert_eq!(ProcessConfig::default().multiplex, Multiplex::Announced);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Multiplex {
    /// If its description lists the capability [`MULTIPLEX`](crate::plugin::MULTIPLEX). It is asked for it
    /// ahead of the first call, by the method `info`.
    #[default]
    Announced,
    /// Always.
    Always,
    /// Never: one call after another. The plugin is not asked for its description, and is sent nothing but
    /// calls, as by Go.
    Never,
}

impl Default for ProcessConfig {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            args: Vec::new(),
            env: BTreeMap::new(),
            inherit_env: Vec::new(),
            work_dir: String::new(),
            handshake: Handshake::default(),
            multiplex: Multiplex::default(),
            max_calls: 1_024,
            max_line_bytes: wire::MAX_BODY,
            output: OutputConfig::default(),
            hang_timeout: Duration::from_secs(30),
            stop_grace: Duration::from_secs(5),
            restart_delay: Duration::from_millis(100),
            max_restart_delay: Duration::from_secs(30),
            max_memory_bytes: 0,
            max_open_files: 0,
            max_cpu_seconds: 0,
        }
    }
}

impl ProcessConfig {
    /// Sets [`request_timeout`](Self::request_timeout).
    #[must_use]
    pub const fn with_request_timeout(mut self, duration: Duration) -> Self {
        self.request_timeout = duration;
        self
    }

    /// Sets [`args`](Self::args).
    #[must_use]
    pub fn with_args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a variable to [`env`](Self::env), or replaces its value.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets [`inherit_env`](Self::inherit_env).
    #[must_use]
    pub fn with_inherit_env(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.inherit_env = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets [`work_dir`](Self::work_dir).
    #[must_use]
    pub fn with_work_dir(mut self, path: impl Into<String>) -> Self {
        self.work_dir = path.into();
        self
    }

    /// Sets [`handshake`](Self::handshake).
    #[must_use]
    pub fn with_handshake(mut self, handshake: Handshake) -> Self {
        self.handshake = handshake;
        self
    }

    /// Sets [`multiplex`](Self::multiplex).
    #[must_use]
    pub const fn with_multiplex(mut self, multiplex: Multiplex) -> Self {
        self.multiplex = multiplex;
        self
    }

    /// Sets [`max_calls`](Self::max_calls).
    #[must_use]
    pub const fn with_max_calls(mut self, most: usize) -> Self {
        self.max_calls = most;
        self
    }

    /// Sets [`max_line_bytes`](Self::max_line_bytes).
    #[must_use]
    pub const fn with_max_line_bytes(mut self, most: usize) -> Self {
        self.max_line_bytes = most;
        self
    }

    /// Sets [`output`](Self::output).
    #[must_use]
    pub fn with_output(mut self, output: OutputConfig) -> Self {
        self.output = output;
        self
    }

    /// Sets [`hang_timeout`](Self::hang_timeout).
    #[must_use]
    pub const fn with_hang_timeout(mut self, duration: Duration) -> Self {
        self.hang_timeout = duration;
        self
    }

    /// Sets [`stop_grace`](Self::stop_grace).
    #[must_use]
    pub const fn with_stop_grace(mut self, duration: Duration) -> Self {
        self.stop_grace = duration;
        self
    }

    /// Sets [`restart_delay`](Self::restart_delay).
    #[must_use]
    pub const fn with_restart_delay(mut self, duration: Duration) -> Self {
        self.restart_delay = duration;
        self
    }

    /// Sets [`max_restart_delay`](Self::max_restart_delay).
    #[must_use]
    pub const fn with_max_restart_delay(mut self, duration: Duration) -> Self {
        self.max_restart_delay = duration;
        self
    }

    /// Sets [`max_memory_bytes`](Self::max_memory_bytes).
    #[must_use]
    pub const fn with_max_memory_bytes(mut self, most: u64) -> Self {
        self.max_memory_bytes = most;
        self
    }

    /// Sets [`max_open_files`](Self::max_open_files).
    #[must_use]
    pub const fn with_max_open_files(mut self, most: u64) -> Self {
        self.max_open_files = most;
        self
    }

    /// Sets [`max_cpu_seconds`](Self::max_cpu_seconds).
    #[must_use]
    pub const fn with_max_cpu_seconds(mut self, most: u64) -> Self {
        self.max_cpu_seconds = most;
        self
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), which names all mistakes at once. A
    /// transport clamps them instead.
    pub fn validate(&self) -> Result<(), Error> {
        let zeros = [
            ("request_timeout", self.request_timeout.is_zero()),
            ("max_calls", self.max_calls == 0),
            ("max_line_bytes", self.max_line_bytes == 0),
            ("output.max_line_bytes", self.output.max_line_bytes == 0),
            ("hang_timeout", self.hang_timeout.is_zero()),
            ("stop_grace", self.stop_grace.is_zero()),
        ];
        let zeros = zeros.into_iter().filter(|(_, is_zero)| *is_zero);
        let zeros = zeros.map(|(name, _)| format!("`{name}` is zero, but must be more"));
        let delays = self.delays();
        let delays = delays.mistakes(["restart_delay", "max_restart_delay"]);
        let texts = self.args.iter().map(|arg| ("args", arg.contains('\0'))).chain(
            self.env.iter().map(|(name, value)| {
                let is_name = !name.is_empty() && !name.contains(['=', '\0']);
                ("env", !is_name || value.expose().contains('\0'))
            }),
        );
        let texts = texts.chain([("work_dir", self.work_dir.contains('\0'))]);
        let texts = texts
            .filter(|(_, is_wrong)| *is_wrong)
            .map(|(name, _)| format!("`{name}` holds what no program can get"));
        let handshake = self.handshake.validate().err().map(|error| error.what().to_owned());
        let handshake = handshake.iter().flat_map(|text| {
            let text = text.strip_prefix("handshake: ").unwrap_or(text);
            text.split("; ").map(|said| match said.strip_prefix('`') {
                Some(rest) => format!("`handshake.{rest}"),
                None => format!("`handshake`: {said}"),
            })
        });
        let mistakes: Vec<_> = zeros.chain(delays).chain(texts).chain(handshake).collect();
        if mistakes.is_empty() {
            return Ok(());
        }
        let message = format!("process: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(message))
    }

    pub(super) fn delays(&self) -> Backoff {
        Backoff {
            first: self.restart_delay,
            multiplier: 2.0,
            max: self.max_restart_delay,
            jitter: Jitter::Equal,
        }
    }

    pub(super) fn inherits_all(&self) -> bool {
        self.inherit_env.iter().any(|name| name == "*")
    }

    pub(super) fn clamped(mut self) -> Self {
        let default = Self::default();
        for (duration, default) in [
            (&mut self.request_timeout, default.request_timeout),
            (&mut self.hang_timeout, default.hang_timeout),
            (&mut self.stop_grace, default.stop_grace),
        ] {
            *duration = if duration.is_zero() { default } else { (*duration).min(time::FAR) };
        }
        for (size, default) in [
            (&mut self.max_calls, default.max_calls),
            (&mut self.max_line_bytes, default.max_line_bytes),
            (&mut self.output.max_line_bytes, default.output.max_line_bytes),
        ] {
            *size = if *size == 0 { default } else { *size };
        }
        self.output.flush_interval = self.output.flush_interval.min(time::FAR);
        let delays = self.delays().clamped();
        (self.restart_delay, self.max_restart_delay) = (delays.first, delays.max);
        self
    }
}
