use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of how the output of a plugin's process, beside its answers, is logged.
///
/// It is always read, so the plugin never waits for it, and logged by `tracing` with the target
/// `tower_upstream::plugin`, at the level `INFO`, and with the fields `plugin` (the key of the endpoint) and
/// `stream`. Control characters are replaced. A part of [`ProcessConfig`](super::ProcessConfig). In a file, the
/// names of the Go plugin manager are read too.
///
/// # Example
/// ```
/// use tower_upstream::transport::{OutputConfig, ProcessConfig};
///
/// let output = OutputConfig::default().with_stdout(false).with_max_line_bytes(16 << 10);
/// assert!(ProcessConfig::default().with_output(output).validate().is_ok());
///
/// let of_go = r#"{"sync_stdout": false, "buffer_size": 16384}"#;
/// assert_eq!(serde_json::from_str::<OutputConfig>(of_go)?.max_line_bytes, 16 << 10);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OutputConfig {
    /// Whether lines of stdout that are no answers are logged. `sync_stdout` in Go. Default: true.
    #[serde(alias = "sync_stdout")]
    pub stdout: bool,
    /// Whether stderr is logged. `sync_stderr` in Go. Default: true.
    #[serde(alias = "sync_stderr")]
    pub stderr: bool,
    /// Most bytes of an event. A longer line is split. `buffer_size` in Go. Default: 4,096.
    #[serde(alias = "buffer_size")]
    pub max_line_bytes: usize,
    /// Whether an event is a line of stderr. Otherwise it is what was read at once. Default: true.
    pub line_buffered: bool,
    /// Longest time for which the start of a line waits for its end; then it is logged as it is.
    ///
    /// Default: 0, which is no limit.
    #[serde(with = "crate::duration::serde")]
    pub flush_interval: Duration,
    /// Whether the text of an event begins with `prefix_text` and the stream, such as `[tax]:stderr`, as Go
    /// writes it, beside the fields that name both. `prefix_output` in Go. Default: false.
    #[serde(alias = "prefix_output")]
    pub prefix: bool,
    /// Text of that prefix. `output_prefix` or `log_prefix` in Go. Default: empty, which is the key of the
    /// endpoint in brackets.
    #[serde(alias = "output_prefix", alias = "log_prefix")]
    pub prefix_text: String,
    /// Whether the text of an event has the time in UTC, such as `[2025-09-20 10:00:00.123]`, also where the
    /// subscriber adds none. `timestamp_output` in Go. Default: false.
    #[serde(alias = "timestamp_output")]
    pub timestamps: bool,
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self {
            stdout: true,
            stderr: true,
            max_line_bytes: 4_096,
            line_buffered: true,
            flush_interval: Duration::ZERO,
            prefix: false,
            prefix_text: String::new(),
            timestamps: false,
        }
    }
}

impl OutputConfig {
    /// Sets [`stdout`](Self::stdout).
    #[must_use]
    pub const fn with_stdout(mut self, is_logged: bool) -> Self {
        self.stdout = is_logged;
        self
    }

    /// Sets [`stderr`](Self::stderr).
    #[must_use]
    pub const fn with_stderr(mut self, is_logged: bool) -> Self {
        self.stderr = is_logged;
        self
    }

    /// Sets [`max_line_bytes`](Self::max_line_bytes).
    #[must_use]
    pub const fn with_max_line_bytes(mut self, most: usize) -> Self {
        self.max_line_bytes = most;
        self
    }

    /// Sets [`line_buffered`](Self::line_buffered).
    #[must_use]
    pub const fn with_line_buffered(mut self, is_by_line: bool) -> Self {
        self.line_buffered = is_by_line;
        self
    }

    /// Sets [`flush_interval`](Self::flush_interval).
    #[must_use]
    pub const fn with_flush_interval(mut self, duration: Duration) -> Self {
        self.flush_interval = duration;
        self
    }

    /// Sets [`prefix_text`](Self::prefix_text), and [`prefix`](Self::prefix) to true.
    #[must_use]
    pub fn with_prefix(mut self, text: impl Into<String>) -> Self {
        (self.prefix, self.prefix_text) = (true, text.into());
        self
    }

    /// Sets [`timestamps`](Self::timestamps).
    #[must_use]
    pub const fn with_timestamps(mut self, is_told: bool) -> Self {
        self.timestamps = is_told;
        self
    }
}
